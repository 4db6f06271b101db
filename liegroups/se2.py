"""Rigid motions of the plane."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.facts import once
from liegroups.numerics import half_cotangent_deficit, stumpff
from liegroups.so2 import SO2, planar_rotation


@dataclass(frozen=True)
class SE2(AffineGroup):
    """SE(2), rotations and translations of the plane.

    Coordinates (x, y, r): the translational velocity in the body's frame, then the angle in rad.

    Example:
        >>> import torch
        >>> group = SE2()
        >>> g = group.exp(torch.tensor([1.0, 2.0, 0.5]))
        >>> group.log(g).round(decimals=5).tolist()
        [1.0, 2.0, 0.5]
    """

    @property
    @once
    def linear(self) -> SO2:
        return SO2()

    def exp(self, a: Tensor) -> Tensor:
        """Elements (R, Vρ), V = c₁ 1 + θ c₂ J with Stumpff functions of θ² and J = 90°."""
        self.check_tangent(a)
        x, y, angle = a.unbind(-1)
        _, c1, c2, _ = stumpff(angle * angle)
        turn = angle * c2
        translation = torch.stack((c1 * x - turn * y, turn * x + c1 * y), -1)
        return self.join(planar_rotation(angle), translation)

    def log(self, g: Tensor) -> Tensor:
        """Coordinates (V⁻¹t, θ), V⁻¹ = (θ/2) cot(θ/2) 1 - (θ/2) J, θ in [-π, π]."""
        a, b = self.split(g)
        angle = self.linear.log(a)[..., 0]
        squared = angle * angle
        diagonal, half = 1 - squared * half_cotangent_deficit(squared), angle / 2
        x, y = b.unbind(-1)
        return torch.stack((diagonal * x + half * y, diagonal * y - half * x, angle), -1)
