"""Rigid motions of space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.facts import once
from liegroups.numerics import half_cotangent_deficit, stumpff
from liegroups.slices import in_slices
from liegroups.so3 import SO3, Vector, cross, entries, matrix, rodrigues, rotation_vector


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
    @once
    def linear(self) -> SO3:
        return SO3()

    @in_slices(1)
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

    @in_slices(2)
    def log(self, g: Tensor) -> Tensor:
        """Coordinates (V⁻¹t, φ), V⁻¹ = 1 - ½[φ]ₓ + D(|φ|²)[φ]ₓ², D = `half_cotangent_deficit`."""
        self.check_element(g)
        xx, xy, xz, tx, yx, yy, yz, ty, zx, zy, zz, tz, *_ = entries(g)
        return torch.stack(_log((xx, xy, xz, yx, yy, yz, zx, zy, zz), (tx, ty, tz)), -1)

    def relative_log(self, g: Tensor, h: Tensor) -> Tensor:
        """Coordinates of log(g⁻¹h), of all pairs by entries: no matrix of a pair is made."""
        self.check_element(g)
        self.check_element(h)
        # A pair reads the entries of its ends many times; once they are dense, that is fast.
        a = [entry.contiguous() for entry in entries(g)]
        b = [entry.contiguous() for entry in entries(h)]
        x, y, z = (a[0], a[4], a[8]), (a[1], a[5], a[9]), (a[2], a[6], a[10])
        columns = (b[0], b[4], b[8]), (b[1], b[5], b[9]), (b[2], b[6], b[10])
        rotation = [_dot(axis, column) for axis in (x, y, z) for column in columns]
        shift = (b[3] - a[3], b[7] - a[7], b[11] - a[11])
        translation = _dot(x, shift), _dot(y, shift), _dot(z, shift)
        return torch.stack(_log(rotation, translation)).movedim(0, -1)


def _log(rotation: Sequence[Tensor], translation: Vector) -> tuple[Tensor, ...]:
    """The six coordinates of motions, from nine entries of rotations and three of translations."""
    tx, ty, tz = translation
    rx, ry, rz = phi = rotation_vector(rotation)
    deficit = half_cotangent_deficit(rx * rx + ry * ry + rz * rz)
    u, v, w = once = cross(phi, translation)
    uu, vv, ww = cross(phi, once)
    rho = tx - u / 2 + deficit * uu, ty - v / 2 + deficit * vv, tz - w / 2 + deficit * ww
    return *rho, *phi


def _dot(a: Vector, b: Vector) -> Tensor:
    return torch.addcmul(torch.addcmul(a[0] * b[0], a[1], b[1]), a[2], b[2])
