"""Rotations of space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import TypeAlias

import torch
from torch import Tensor

from liegroups.numerics import double_arctangent, stumpff, where
from liegroups.rotation import RotationGroup
from liegroups.slices import in_slices

Vector: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""The components of vectors, each ``(*batch,)``: tensors of their own, which are fast to read."""


@dataclass(frozen=True)
class SO3(RotationGroup):
    """SO(3), rotations of space; coordinates are the rotation vector (rx, ry, rz) in rad.

    The rotation vector points along the axis and is as long as the angle, by the right-hand
    rule. ``log`` returns angles in [0, π]; at π, where both ±axis are right, it returns one.

    Example:
        >>> import torch
        >>> group = SO3()
        >>> g = group.exp(torch.tensor([0.0, 0.0, torch.pi / 2]))
        >>> (g @ torch.tensor([1.0, 0.0, 0.0])).round(decimals=5).tolist()
        [0.0, 1.0, 0.0]
    """

    @property
    def matrix_size(self) -> int:
        return 3

    @property
    def basis_labels(self) -> tuple[str, ...]:
        return ("rx", "ry", "rz")

    def algebra_basis(self) -> Tensor:
        return cross_matrix(torch.eye(3, dtype=torch.float64))

    def hat(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return cross_matrix(a)

    def vee(self, x: Tensor) -> Tensor:
        self.check_element(x)
        return skew_part(x) / 2

    @in_slices(1)
    def exp(self, a: Tensor) -> Tensor:
        """Rodrigues' formula, R = 1 + c₁ [a]ₓ + c₂ [a]ₓ² with Stumpff functions of |a|²."""
        self.check_tangent(a)
        x, y, z = a.unbind(-1)
        _, c1, c2, _ = stumpff(x * x + y * y + z * z)
        return matrix(rodrigues((x, y, z), c1, c2))

    @in_slices(2)
    def log(self, g: Tensor) -> Tensor:
        """Rotation vector, through the quaternion that is largest in magnitude.

        No arc cosine of a trace: that loses half the digits near 0 and π.
        """
        self.check_element(g)
        return torch.stack(rotation_vector(entries(g)), -1)

    def adjoint(self, g: Tensor) -> Tensor:
        """Ad(R) = R in these coordinates."""
        self.check_element(g)
        return g

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Haar measure: unit quaternions uniform on the sphere S³ (Shoemake 1992)."""
        q = torch.randn((*shape, 4), generator=generator, dtype=dtype, device=device)
        return quaternion_to_matrix(q / q.norm(dim=-1, keepdim=True))


def cross_matrix(a: Tensor) -> Tensor:
    """The skew matrix [a]ₓ ``(*batch, 3, 3)`` with [a]ₓ b = a × b, for ``a`` ``(*batch, 3)``."""
    x, y, z = a.unbind(-1)
    zero = torch.zeros_like(x)
    return matrix((zero, -z, y, z, zero, -x, -y, x, zero))


def skew_part(x: Tensor) -> Tensor:
    """The vector ``(*batch, 3)`` with [v]ₓ = X - Xᵀ."""
    _, xy, xz, yx, _, yz, zx, zy, _ = entries(x)
    return torch.stack((zy - yz, xz - zx, yx - xy), -1)


def cross(a: Vector, b: Vector) -> Vector:
    """The cross product a × b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def rodrigues(a: Vector, linear: Tensor, quadratic: Tensor | float) -> tuple[Tensor, ...]:
    """The nine entries, row by row, of 1 + p [a]ₓ + q [a]ₓ², for coefficients p and q."""
    x, y, z = a
    lx, ly, lz = linear * x, linear * y, linear * z
    qx, qy, qz = quadratic * x, quadratic * y, quadratic * z
    xx, yy, zz = qx * x, qy * y, qz * z
    xy, yz, zx = qx * y, qy * z, qz * x
    return (
        1 - yy - zz,
        xy - lz,
        zx + ly,
        xy + lz,
        1 - xx - zz,
        yz - lx,
        zx - ly,
        yz + lx,
        1 - xx - yy,
    )


def rotation_vector(r: Sequence[Tensor]) -> Vector:
    """The components of the logarithm of rotations, from their nine entries, row by row."""
    w, x, y, z = scaled_quaternion(r)
    factor = double_arctangent(x * x + y * y + z * z, w)
    return factor * x, factor * y, factor * z


def scaled_quaternion(r: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A quaternion of some positive norm for each rotation, with real part at least zero.

    The entries of R are the products of the entries of its unit quaternion, so R gives the rows
    of 4 q qᵀ without a division or a root; the row with the largest diagonal is 4 q_k q with
    |q_k| ≥ 1/2 (Shepperd 1978), well away from zero for every rotation.

    Args:
        r: The nine entries of rotations, row by row, each ``(*batch,)``.

    Returns:
        The real and the three imaginary parts, each ``(*batch,)``.
    """
    xx, xy, xz, yx, yy, yz, zx, zy, zz = r
    wx, wy, wz = zy - yz, xz - zx, yx - xy
    xy, yz, zx = xy + yx, yz + zy, zx + xz
    ww = 1 + xx + yy + zz
    xx, yy, zz = 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz
    w_largest = ((ww >= xx) & (ww >= yy) & (ww >= zz)).to(ww.dtype)
    x_largest = ((xx >= yy) & (xx >= zz)).to(ww.dtype)
    y_largest = (yy >= zz).to(ww.dtype)

    def choose(w: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return where(w_largest, w, where(x_largest, x, where(y_largest, y, z)))

    w = choose(ww, wx, wy, wz)
    sign = 1 - 2 * (w < 0).to(w.dtype)
    x, y, z = choose(wx, xx, xy, zx), choose(wy, xy, yy, yz), choose(wz, zx, yz, zz)
    return sign * w, sign * x, sign * y, sign * z


def quaternion_to_matrix(q: Tensor) -> Tensor:
    """Rotations ``(*batch, 3, 3)`` of unit quaternions ``(*batch, 4)``, real part first."""
    w, x, y, z = q.unbind(-1)
    return matrix(rodrigues((x, y, z), 2 * w, 2))


def entries(g: Tensor) -> tuple[Tensor, ...]:
    """The entries of matrices ``(*batch, m, m)``, row by row, each ``(*batch,)``."""
    return g.flatten(-2).unbind(-1)


def matrix(entries: Sequence[Tensor]) -> Tensor:
    """Matrices ``(*batch, m, m)`` from their entries, row by row."""
    m = isqrt(len(entries))
    return torch.stack(tuple(entries), -1).unflatten(-1, (m, m))
