"""Invertible matrices of positive determinant, and the affine maps that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.checks import DIMENSION, check_count
from liegroups.facts import once
from liegroups.group import LieGroup
from liegroups.numerics import matrix_exp
from liegroups.sl2 import unimodular_log
from liegroups.special_orthogonal import SO


@dataclass(frozen=True)
class GeneralLinear(LieGroup):
    """GL⁺(n), the n × n matrices of positive determinant: the linear parts of Aff(n).

    Coordinates are the entries of the algebra matrix, row by row. ``exp`` is not onto: a matrix
    has a real logarithm if and only if its Jordan blocks of each negative eigenvalue come in
    pairs of the same size (Culver 1966). So diag(-1, -2) has none, and -1 has many. ``log``
    returns NaN where there is none.

    Args:
        n: Dimension of the space.

    Raises:
        ValueError: If ``n`` is less than one.

    Reference:
        W. Culver, On the existence and uniqueness of the real logarithm of a matrix (1966).

    Example:
        >>> import torch
        >>> group = GeneralLinear(2)
        >>> g = torch.stack((-torch.eye(2), torch.diag(torch.tensor([-1.0, -2.0]))))
        >>> group.in_range_of_exp(g).tolist()
        [True, False]
    """

    n: int

    def __post_init__(self) -> None:
        check_count("GeneralLinear.n", self.n, most=DIMENSION)

    @property
    def dim(self) -> int:
        return self.n**2

    @property
    def matrix_size(self) -> int:
        return self.n

    @property
    @once
    def basis_labels(self) -> tuple[str, ...]:
        indices = range(1, self.n + 1)
        return tuple(f"a{i}{j}" for i in indices for j in indices)

    @property
    def is_compact(self) -> bool:
        return False

    @property
    def is_abelian(self) -> bool:
        return self.n == 1

    def algebra_basis(self) -> Tensor:
        return torch.eye(self.dim, dtype=torch.float64).reshape(self.dim, self.n, self.n)

    def hat(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return a.unflatten(-1, (self.n, self.n))

    def vee(self, x: Tensor) -> Tensor:
        self.check_element(x)
        return x.flatten(-2)

    def log(self, g: Tensor) -> Tensor:
        """Principal logarithm; NaN where there is none.

        In the plane ½ log(det g) 1 and the closed form of SL(2); else the default.
        """
        if self.n != 2:
            return super().log(g)
        self.check_element(g)
        determinant = torch.linalg.det(g)
        positive = determinant > 0
        safe = torch.where(positive, determinant, 1)
        traceless = unimodular_log(g / safe.sqrt()[..., None, None])
        value = traceless + safe.log()[..., None, None] / 2 * self.identity(g)
        return torch.where(positive[..., None], self.vee(value), torch.nan)

    def in_range_of_exp(self, g: Tensor) -> Tensor:
        return self.log(g.detach()).isfinite().all(-1)

    def project(self, x: Tensor) -> Tensor:
        """The matrices themselves: those of positive determinant are an open set."""
        self.check_element(x)
        return x

    def contains(self, g: Tensor, tolerance: float | None = None) -> Tensor:
        """Whether matrices are finite and have a positive determinant.

        A determinant that is negative by no more than the tolerance, relative to the product of
        the lengths of the rows, counts as positive: one that is small may be rounded to there.
        """
        self.check_element(g)
        if tolerance is None:
            tolerance = torch.finfo(g.dtype).eps ** 0.5
        finite = g.isfinite().all(-1).all(-1)
        safe = torch.where(finite[..., None, None], g, self.identity(g))
        length = safe.abs().amax(-1, keepdim=True)
        rows = safe / torch.where(length > 0, length, 1)
        return finite & (length > 0).all(-1).all(-1) & (torch.linalg.det(rows) > -tolerance)

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """A proposal that reaches the whole group: R exp(S), with R a Haar rotation.

        S is symmetric with normal entries of variance 1/4. The group is not compact, so no Haar
        probability exists.
        """
        r = SO(self.n).sample(shape, generator=generator, dtype=dtype, device=device)
        x = torch.randn((*shape, self.n, self.n), generator=generator, dtype=dtype, device=device)
        return r @ matrix_exp((x + x.mT) / 4)


@dataclass(frozen=True)
class Aff2(AffineGroup):
    """Aff(2), the maps x ↦ Ax + b of the plane with det A > 0.

    Coordinates (x, y, a11, a12, a21, a22): the entries b, then A, of the algebra matrix
    [[A, b], [0, 0]]. ``exp`` is not onto, as for `GeneralLinear`: maps whose linear part has two
    different negative eigenvalues, or one without two eigenvectors, have no logarithm.
    ``in_range_of_exp`` tells them, and ``log`` returns NaN there.

    Example:
        >>> import torch
        >>> a = torch.tensor([1.0, 2.0, 0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
        >>> torch.allclose(Aff2().log(Aff2().exp(a)), a)
        True
    """

    @property
    @once
    def linear(self) -> GeneralLinear:
        return GeneralLinear(2)


@dataclass(frozen=True)
class Aff3(AffineGroup):
    """Aff(3), the maps x ↦ Ax + b of space with det A > 0.

    Coordinates (x, y, z, a11, a12, …, a33): the entries b, then A, of the algebra matrix
    [[A, b], [0, 0]]. ``exp`` is not onto, as for `GeneralLinear`: maps whose linear part has two
    different negative eigenvalues, or one without two eigenvectors, have no logarithm.
    ``in_range_of_exp`` tells them, and ``log`` returns NaN there.

    Example:
        >>> import torch
        >>> a = torch.linspace(-0.5, 0.5, 12, dtype=torch.float64)
        >>> torch.allclose(Aff3().log(Aff3().exp(a)), a)
        True
    """

    @property
    @once
    def linear(self) -> GeneralLinear:
        return GeneralLinear(3)
