"""Rotations of space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.numerics import double_arctangent, stumpff
from liegroups.rotation import RotationGroup


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

    def exp(self, a: Tensor) -> Tensor:
        """Rodrigues' formula, R = c₀ 1 + c₁ [a]ₓ + c₂ a aᵀ with Stumpff functions of |a|²."""
        self.check_tangent(a)
        c0, c1, c2, _ = stumpff((a * a).sum(-1))
        return rodrigues(a, c0, c1, c2)

    def log(self, g: Tensor) -> Tensor:
        """Rotation vector, through the quaternion that is largest in magnitude.

        No arc cosine of a trace: that loses half the digits near 0 and π.
        """
        self.check_element(g)
        w, v = scaled_quaternion(g)
        return double_arctangent((v * v).sum(-1), w)[..., None] * v

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
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))


def skew_part(x: Tensor) -> Tensor:
    """The vector ``(*batch, 3)`` with [v]ₓ = X - Xᵀ."""
    return torch.stack(
        (
            x[..., 2, 1] - x[..., 1, 2],
            x[..., 0, 2] - x[..., 2, 0],
            x[..., 1, 0] - x[..., 0, 1],
        ),
        -1,
    )


def rodrigues(a: Tensor, identity: Tensor, linear: Tensor, quadratic: Tensor) -> Tensor:
    """The matrix p·1 + q·[a]ₓ + r·a aᵀ, for coefficients p, q, r of shape ``(*batch,)``."""
    x, y, z = a.unbind(-1)
    lx, ly, lz = linear * x, linear * y, linear * z
    qx, qy, qz = quadratic * x, quadratic * y, quadratic * z
    xy, yz, zx = qx * y, qy * z, qz * x
    rows = (
        identity + qx * x,
        xy - lz,
        zx + ly,
        xy + lz,
        identity + qy * y,
        yz - lx,
        zx - ly,
        yz + lx,
        identity + qz * z,
    )
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def scaled_quaternion(g: Tensor) -> tuple[Tensor, Tensor]:
    """A quaternion of some positive norm for each rotation, with real part at least zero.

    The entries of R are the products of the entries of its unit quaternion, so R gives the rows
    of 4 q qᵀ without a division or a root; the row with the largest diagonal is 4 q_k q with
    |q_k| ≥ 1/2 (Shepperd 1978), well away from zero for every rotation.

    Args:
        g: Rotations ``(*batch, 3, 3)``.

    Returns:
        Real parts ``(*batch,)`` and imaginary parts ``(*batch, 3)``.
    """
    xx, yy, zz = g[..., 0, 0], g[..., 1, 1], g[..., 2, 2]
    wx, wy, wz = skew_part(g).unbind(-1)
    xy = g[..., 0, 1] + g[..., 1, 0]
    yz = g[..., 1, 2] + g[..., 2, 1]
    zx = g[..., 2, 0] + g[..., 0, 2]
    ww = 1 + xx + yy + zz
    xx, yy, zz = 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz
    w_largest = (ww >= xx) & (ww >= yy) & (ww >= zz)
    x_largest = (xx >= yy) & (xx >= zz)
    y_largest = yy >= zz

    def choose(w: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        return torch.where(w_largest, w, torch.where(x_largest, x, torch.where(y_largest, y, z)))

    real = choose(ww, wx, wy, wz)
    imaginary = torch.stack(
        (choose(wx, xx, xy, zx), choose(wy, xy, yy, yz), choose(wz, zx, yz, zz)), -1
    )
    sign = torch.where(real < 0, -1, 1).to(g.dtype)
    return sign * real, sign[..., None] * imaginary


def quaternion_to_matrix(q: Tensor) -> Tensor:
    """Rotations ``(*batch, 3, 3)`` of unit quaternions ``(*batch, 4)``, real part first."""
    w, v = q[..., 0], q[..., 1:]
    return rodrigues(v, 1 - 2 * (v * v).sum(-1), 2 * w, torch.full_like(w, 2))
