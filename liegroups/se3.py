"""Rigid motions of space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.numerics import half_cotangent_deficit, stumpff
from liegroups.so3 import SO3, cross, entries, matrix, rodrigues, rotation_vector


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
        x, y, z, rx, ry, rz = a.unbind(-1)
        _, c1, c2, c3 = stumpff(rx * rx + ry * ry + rz * rz)
        xx, xy, xz, yx, yy, yz, zx, zy, zz = rodrigues((rx, ry, rz), c1, c2)
        u, v, w = cross((rx, ry, rz), (x, y, z))
        along = c3 * (rx * x + ry * y + rz * z)
        tx = c1 * x + c2 * u + along * rx
        ty = c1 * y + c2 * v + along * ry
        tz = c1 * z + c2 * w + along * rz
        zero, one = torch.zeros_like(x), torch.ones_like(x)
        last = (zero, zero, zero, one)
        return matrix((xx, xy, xz, tx, yx, yy, yz, ty, zx, zy, zz, tz, *last))

    def log(self, g: Tensor) -> Tensor:
        """Coordinates (V⁻¹t, φ), V⁻¹ = 1 - ½[φ]ₓ + D(|φ|²)[φ]ₓ², D = `half_cotangent_deficit`."""
        self.check_element(g)
        xx, xy, xz, tx, yx, yy, yz, ty, zx, zy, zz, tz, *_ = entries(g)
        rx, ry, rz = phi = rotation_vector((xx, xy, xz, yx, yy, yz, zx, zy, zz))
        deficit = half_cotangent_deficit(rx * rx + ry * ry + rz * rz)
        u, v, w = once = cross(phi, (tx, ty, tz))
        uu, vv, ww = cross(phi, once)
        rho = tx - u / 2 + deficit * uu, ty - v / 2 + deficit * vv, tz - w / 2 + deficit * ww
        return torch.stack((*rho, *phi), -1)
