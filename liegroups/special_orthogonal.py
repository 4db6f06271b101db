"""Rotations of Rⁿ, for any n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.checks import DIMENSION, check_count
from liegroups.group import LieGroup
from liegroups.numerics import half_cotangent_deficit, matrix_exp
from liegroups.rotation import RotationGroup
from liegroups.so2 import SO2
from liegroups.so3 import SO3
from liegroups.trivial import Trivial


def SO(n: int) -> LieGroup:
    """Make the group of rotations of Rⁿ.

    Args:
        n: Dimension of the space.

    Returns:
        ``SO2()`` and ``SO3()`` with their closed forms, `SpecialOrthogonal` from n = 4 on, and
        ``Trivial(1)`` for n = 1.

    Raises:
        ValueError: If ``n`` is less than one.

    Example:
        >>> SO(3) == SO3(), SO(5).dim
        (True, 10)
    """
    check_count("SO.n", n, most=DIMENSION)
    match n:
        case 1:
            return Trivial(1)
        case 2:
            return SO2()
        case 3:
            return SO3()
    return SpecialOrthogonal(n)


@dataclass(frozen=True)
class SpecialOrthogonal(RotationGroup):
    """SO(n), rotations of Rⁿ for n ≥ 4; `SO` makes those of every n.

    Coordinates r12, r13, …, r23, …: the generator rij turns axis i towards axis j, in rad.
    ``exp`` is the matrix exponential. ``log`` returns angles in [0, π] for each plane; where a
    plane turns by π both signs are right, and it returns one.

    Args:
        n: Dimension of the space.

    Raises:
        ValueError: If ``n`` is less than four.

    Example:
        >>> import torch
        >>> group = SpecialOrthogonal(4)
        >>> g = group.exp(torch.tensor([torch.pi / 2, 0, 0, 0, 0, 0]))
        >>> (g @ torch.tensor([1.0, 0.0, 0.0, 0.0])).round(decimals=5).tolist()
        [0.0, 1.0, 0.0, 0.0]
    """

    n: int

    def __post_init__(self) -> None:
        check_count("SpecialOrthogonal.n", self.n, 4, DIMENSION)

    @property
    def matrix_size(self) -> int:
        return self.n

    def vee(self, x: Tensor) -> Tensor:
        self.check_element(x)
        row, column = torch.triu_indices(self.n, self.n, 1, device=x.device)
        return (x[..., column, row] - x[..., row, column]) / 2

    def log(self, g: Tensor) -> Tensor:
        """Principal logarithm, computed in float64 from the planes of the rotation.

        See `rotation_log` for how it stays right at repeated angles and near half turns.
        """
        self.check_element(g)
        return self.vee(rotation_log(g))

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Haar measure: `haar_orthogonal` with the first column negated in reflections."""
        q = haar_orthogonal(self.n, shape, generator, dtype, device)
        sign = torch.linalg.det(q).sign()[..., None]
        return torch.cat((sign[..., None] * q[..., :1], q[..., 1:]), -1)


def haar_orthogonal(
    n: int,
    shape: Sequence[int],
    generator: torch.Generator | None,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
) -> Tensor:
    """Orthogonal matrices ``(*shape, n, n)`` from Haar measure on O(n).

    The orthogonal factor of a Gaussian matrix, made unique by a positive diagonal of the
    triangular one: without this it would not be Haar.

    Reference:
        F. Mezzadri, How to generate random matrices from the classical compact groups (2007).
    """
    x = torch.randn((*shape, n, n), generator=generator, dtype=dtype, device=device)
    q, r = torch.linalg.qr(x)
    diagonal = r.diagonal(dim1=-2, dim2=-1)
    return q * torch.where(diagonal < 0, -1, 1).to(q.dtype)[..., None, :]


def rotation_log(g: Tensor) -> Tensor:
    """Skew logarithm of rotations of any size, with its first two derivatives.

    The planes and angles come from two decompositions that are not differentiated. Newton's
    method on exp(a) = g then repairs the last digits and gives the derivatives: each of its two
    steps makes one more derivative right. Its linear part, the inverse differential
    ψ(ad a) = φ(ad a)⁻¹ of the exponential map, is diagonal in the eigenvectors of a, where
    ψ(ix) = (x/2) cot(x/2) + ix/2 for a difference x of two angles; it grows beyond all bounds
    where x is a full turn, that is for two planes that both turn by π, and is cut off there.

    Args:
        g: Rotations ``(*batch, n, n)``.

    Returns:
        Skew matrices ``(*batch, n, n)``; NaN where ``g`` is not finite.
    """
    finite = g.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    eye = torch.eye(g.shape[-1], dtype=torch.float64, device=g.device)
    x = torch.where(finite, g.double(), eye)
    constant = x.detach()
    eps = torch.finfo(g.dtype).eps
    a = _planes(constant, eps)
    angles, u = torch.linalg.eigh(torch.complex(torch.zeros_like(a), -a))
    difference = angles[..., :, None] - angles[..., None, :]
    square = difference * difference
    cotangent = (1 - square * half_cotangent_deficit(square)).clamp(min=-(eps**-0.5))
    psi = torch.complex(cotangent, difference / 2)

    def newton(a: Tensor, x: Tensor) -> Tensor:
        pose = matrix_exp(-a) @ x
        rest = u.mH @ (pose - pose.mT).to(u.dtype) @ u / 2
        return a + (u @ (psi * rest) @ u.mH).real

    a = newton(newton(newton(a, constant), x), x)
    return torch.where(finite, a, torch.nan).to(g.dtype)


def _planes(g: Tensor, eps: float) -> Tensor:
    """Skew logarithm J diag(θ) of rotations, to half the digits or more, without derivatives.

    The symmetric part of g has the eigenvalues cos θ, each twice; in its eigenvectors the skew
    part is K = J diag(sin θ), so that θ = atan2(sin θ, cos θ), and the result is K diag(θ / sin θ).
    Beyond right angles, where the sine may vanish before the angle, J is the polar factor of K.
    """
    cosine, q = torch.linalg.eigh((g + g.mT) / 2)
    k = q.mT @ (g - g.mT) @ q / 2
    # The parts commute: what couples different angles is rounding, and would mislead J where
    # the sine vanishes.
    k = torch.where((cosine[..., :, None] - cosine[..., None, :]).abs() < 0.5, k, 0)
    # At half turns J is free; eigenvalues ascend, so these vectors come first, and in pairs.
    n = g.shape[-1]
    first = torch.arange(0, n - 1, 2, device=g.device)
    pairs = torch.zeros(n, n, dtype=g.dtype, device=g.device)
    pairs[first + 1, first] = 4 * eps
    pairs = torch.where(cosine[..., None, :] < 0, torch.where(k < 0, -pairs, pairs), 0)
    k = k + pairs - pairs.mT
    sine = torch.linalg.vector_norm(k, dim=-2)
    angle = torch.atan2(sine, cosine)
    ratio = torch.where(sine > 0, angle / torch.where(sine > 0, sine, 1), 1)
    left, _, right = torch.linalg.svd(k)
    acute, obtuse = k * ratio[..., None, :], left @ right * angle[..., None, :]
    a = q @ torch.where(cosine[..., None, :] > 0, acute, obtuse) @ q.mT
    return (a - a.mT) / 2
