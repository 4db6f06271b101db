"""Rigid motions of space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.numerics import half_cotangent_deficit, stumpff
from liegroups.so3 import SO3, rodrigues


@dataclass(frozen=True)
class SE3(AffineGroup):
    """SE(3), rotations and translations of space.

    Coordinates (x, y, z, rx, ry, rz): the translational velocity in the body's frame, then the
    rotation vector in rad.

    Example:
        >>> import torch
        >>> group = SE3()
        >>> a = torch.tensor([1.0, 2.0, 3.0, 0.1, 0.2, 0.3])
        >>> [round(x, 4) for x in group.log(group.exp(a)).tolist()]
        [1.0, 2.0, 3.0, 0.1, 0.2, 0.3]
    """

    @property
    def linear(self) -> SO3:
        return SO3()

    def exp(self, a: Tensor) -> Tensor:
        """Elements (R, Vρ), V = c₁ 1 + c₂ [φ]ₓ + c₃ φφᵀ (Stumpff functions of |φ|²)."""
        self.check_tangent(a)
        rho, phi = a[..., :3], a[..., 3:]
        c0, c1, c2, c3 = stumpff((phi * phi).sum(-1))
        cross = torch.linalg.cross(phi, rho, dim=-1)
        along = (phi * rho).sum(-1, keepdim=True) * phi
        translation = c1[..., None] * rho + c2[..., None] * cross + c3[..., None] * along
        return self.join(rodrigues(phi, c0, c1, c2), translation)

    def log(self, g: Tensor) -> Tensor:
        """Coordinates (V⁻¹t, φ), V⁻¹ = 1 - ½[φ]ₓ + D(|φ|²)[φ]ₓ², D = `half_cotangent_deficit`."""
        a, b = self.split(g)
        phi = self.linear.log(a)
        deficit = half_cotangent_deficit((phi * phi).sum(-1, keepdim=True))
        cross = torch.linalg.cross(phi, b, dim=-1)
        rho = b - cross / 2 + deficit * torch.linalg.cross(phi, cross, dim=-1)
        return torch.cat((rho, phi), -1)
