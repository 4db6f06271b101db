"""Real 2 × 2 matrices of determinant one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from liegroups.group import LieGroup
from liegroups.numerics import circular, inverse_sine_quotient
from liegroups.so2 import planar_rotation

# Matrices as near to -1 as this many roundings of one count as -1.
_HALF_TURN = 256


@dataclass(frozen=True)
class SL2(LieGroup):
    """SL(2), the real 2 × 2 matrices of determinant one.

    Coordinates (r, s, t) of the algebra matrix [[s, t - r], [t + r, -s]]: the rotation in rad,
    the squeeze along the axes, the squeeze along the diagonals. With δ = r² - s² - t², its
    determinant, exp(X) = cos(√δ) 1 + (sin(√δ)/√δ) X, and cosh and sinh of √-δ for δ < 0.

    ``exp`` is not onto: elements of trace below -2, and those of trace -2 other than -1, have
    no logarithm. ``in_range_of_exp`` tells them, and ``log`` returns NaN there. At -1, which
    has many, it is half a turn.

    Reference:
        B. Hall, Lie Groups, Lie Algebras, and Representations (2015), exercises 2.9 and 3.22.

    Example:
        >>> import torch
        >>> group = SL2()
        >>> [round(x, 4) for x in group.exp(torch.tensor([0.0, 1.0, 0.0])).diagonal().tolist()]
        [2.7183, 0.3679]
        >>> group.in_range_of_exp(torch.diag(torch.tensor([-2.0, -0.5]))).item()
        False
    """

    @property
    def dim(self) -> int:
        return 3

    @property
    def matrix_size(self) -> int:
        return 2

    @property
    def basis_labels(self) -> tuple[str, ...]:
        return ("r", "s", "t")

    @property
    def is_compact(self) -> bool:
        return False

    @property
    def is_abelian(self) -> bool:
        return False

    def algebra_basis(self) -> Tensor:
        return torch.tensor(
            [[[0, -1], [1, 0]], [[1, 0], [0, -1]], [[0, 1], [1, 0]]], dtype=torch.float64
        )

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        r, s, t = a.unbind(-1)
        # As products of sums: r² - t² would cancel near the light cone.
        cosine, sine = circular((r - t) * (r + t) - s * s)
        return cosine[..., None, None] * self.identity(a) + sine[..., None, None] * self.hat(a)

    def log(self, g: Tensor) -> Tensor:
        """The traceless logarithm, through half the trace; NaN where there is none."""
        self.check_element(g)
        return self.vee(unimodular_log(g))

    def in_range_of_exp(self, g: Tensor) -> Tensor:
        return self.log(g.detach()).isfinite().all(-1)

    def inverse(self, g: Tensor) -> Tensor:
        """The adjugate, [[d, -b], [-c, a]], over the determinant, unless that is all rounding."""
        self.check_element(g)
        (a, b), (c, d) = (row.unbind(-1) for row in g.unbind(-2))
        adjugate = torch.stack((d, -b, -c, a), -1).unflatten(-1, (2, 2))
        return adjugate / (a * d - b * c).clamp(0.5, 2)[..., None, None]

    def project(self, x: Tensor) -> Tensor:
        """The nearest matrix of determinant one, by Newton's method along the normal.

        The gradient of the determinant at x is its cofactor matrix, which is as long as x.
        """
        self.check_element(x)
        for _ in range(4):
            (a, b), (c, d) = (row.unbind(-1) for row in x.unbind(-2))
            step = (a * d - b * c - 1) / (x * x).sum((-1, -2)).clamp(min=1)
            cofactors = torch.stack((d, -c, -b, a), -1).unflatten(-1, (2, 2))
            x = x - step[..., None, None] * cofactors
        return x

    def contains(self, g: Tensor, tolerance: float | None = None) -> Tensor:
        """Whether the determinant is one.

        Args:
            g: Matrices ``(*batch, 2, 2)``.
            tolerance: Largest error of the determinant; by default the square root of the
                machine epsilon, or a few roundings of the products of the entries.

        Returns:
            Booleans ``(*batch,)``; False where an entry is not finite.
        """
        self.check_element(g)
        eps = torch.finfo(g.dtype).eps
        finite = g.isfinite().all(-1).all(-1)
        safe = torch.where(finite[..., None, None], g, self.identity(g)).double()
        error = (torch.linalg.det(safe) - 1).abs()
        if tolerance is not None:
            return finite & (error <= tolerance)
        rounding = 64 * eps * safe.abs().amax((-1, -2)) ** 2
        return finite & (error <= rounding.clamp(min=eps**0.5))

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """A proposal that reaches the whole group: a uniform rotation times a normal squeeze.

        The group is not compact, so no Haar probability exists.
        """
        turn = torch.rand(tuple(shape), generator=generator, dtype=dtype, device=device)
        squeeze = torch.randn((*shape, 2), generator=generator, dtype=dtype, device=device)
        a = torch.cat((torch.zeros_like(squeeze[..., :1]), squeeze), -1)
        return planar_rotation(2 * pi * turn) @ self.exp(a)


def unimodular_log(g: Tensor) -> Tensor:
    """Traceless logarithm of 2 × 2 matrices of determinant one; NaN where there is none.

    With c half the trace and Y = g - c 1, the logarithm is f Y, where f = √δ / sin(√δ) at the
    δ with cos(√δ) = c. Its sine squared is q = det Y = 1 - c²: the first loses no digits near ±1,
    the second none far out.

    Args:
        g: Matrices ``(*batch, 2, 2)``.

    Returns:
        Matrices ``(*batch, 2, 2)``.
    """
    eye = torch.eye(2, dtype=g.dtype, device=g.device)
    (first, upper), (lower, last) = (row.unbind(-1) for row in g.unbind(-2))
    c, squeeze = (first + last) / 2, (first - last) / 2
    # The trace vanishes exactly: near -1 the quotient magnifies what is left of it.
    y = torch.stack((squeeze, upper, lower, -squeeze), -1).unflatten(-1, (2, 2))
    largest = y.detach().abs().amax((-1, -2))
    q = torch.where(largest < 1, -squeeze * squeeze - upper * lower, (1 - c) * (1 + c))

    # Around -1 rounding decides on Y, so half a turn unless Y is clearly one of another plane.
    near = (c < 0) & (largest <= _HALF_TURN * torch.finfo(g.dtype).eps)
    unclear = near & (64 * q <= largest * largest)
    outside = (c <= 0) & (q <= 0) & ~near
    special = unclear | outside
    factor = inverse_sine_quotient(torch.where(special, 0, q), torch.where(special, 1, c))
    half_turn = torch.stack((-eye[1], eye[0])) * pi
    value = torch.where(unclear[..., None, None], half_turn, factor[..., None, None] * y)
    return torch.where(outside[..., None, None], torch.nan, value)
