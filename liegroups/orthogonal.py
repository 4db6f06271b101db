"""Rotations and reflections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.checks import DIMENSION, check_count
from liegroups.facts import once
from liegroups.group import LieGroup
from liegroups.special_euclidean import SE
from liegroups.special_orthogonal import SO, haar_orthogonal


@dataclass(frozen=True)
class O(LieGroup):  # noqa: E742  (the field's name)
    """O(n), the n × n orthogonal matrices: rotations and reflections of Rⁿ.

    Coordinates as in ``SO(n)``. The group has two pieces, and ``exp`` reaches the rotations;
    elements of determinant -1 have no logarithm: ``in_range_of_exp`` is False and ``log`` is NaN
    there. O(1) is {1, -1}.

    Args:
        n: Dimension of the space.

    Raises:
        ValueError: If ``n`` is less than one.

    Example:
        >>> import torch
        >>> O(3).in_range_of_exp(torch.stack((torch.eye(3), -torch.eye(3)))).tolist()
        [True, False]
    """

    n: int

    def __post_init__(self) -> None:
        check_count("O.n", self.n, most=DIMENSION)

    @property
    @once
    def identity_component(self) -> LieGroup:
        """SO(n), the elements that ``exp`` reaches."""
        return SO(self.n)

    @property
    @once
    def dim(self) -> int:
        return self.n * (self.n - 1) // 2

    @property
    def matrix_size(self) -> int:
        return self.n

    @property
    @once
    def basis_labels(self) -> tuple[str, ...]:
        return self.identity_component.basis_labels

    @property
    def is_compact(self) -> bool:
        return True

    @property
    def is_abelian(self) -> bool:
        return self.n == 1

    @property
    def is_orthogonal(self) -> bool:
        return True

    def algebra_basis(self) -> Tensor:
        return self.identity_component.algebra_basis()

    def hat(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return self.identity_component.hat(a)

    def vee(self, x: Tensor) -> Tensor:
        self.check_element(x)
        return self.identity_component.vee(x)

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return self.identity_component.exp(a)

    def log(self, g: Tensor) -> Tensor:
        """That of SO(n); NaN for reflections."""
        inside = self.in_range_of_exp(g)
        rotation = torch.where(inside[..., None, None], g, self.identity(g))
        return torch.where(inside[..., None], self.identity_component.log(rotation), torch.nan)

    def in_range_of_exp(self, g: Tensor) -> Tensor:
        """Whether the determinant is positive."""
        self.check_element(g)
        return torch.linalg.det(g) > 0

    def inverse(self, g: Tensor) -> Tensor:
        self.check_element(g)
        return g.mT

    def project(self, x: Tensor) -> Tensor:
        """The nearest orthogonal matrix in the Frobenius norm, by singular values."""
        self.check_element(x)
        u, _, vh = torch.linalg.svd(x)
        return u @ vh

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Haar measure: half of the draws are reflections."""
        return haar_orthogonal(self.n, shape, generator, dtype, device)


@dataclass(frozen=True)
class E(AffineGroup):
    """E(n), the rigid motions of Rⁿ and their mirror images.

    Coordinates as in ``SE(n)``. The group has two pieces, and ``exp`` reaches the motions
    without a reflection; the others have no logarithm: ``in_range_of_exp`` is False and ``log``
    is NaN there.

    Args:
        n: Dimension of the space.

    Raises:
        ValueError: If ``n`` is less than one.

    Example:
        >>> E(3).dim, E(3).basis_labels
        (6, ('x', 'y', 'z', 'rx', 'ry', 'rz'))
    """

    n: int

    def __post_init__(self) -> None:
        check_count("E.n", self.n, most=DIMENSION)

    @property
    @once
    def linear(self) -> O:
        return O(self.n)

    @property
    @once
    def identity_component(self) -> AffineGroup:
        """SE(n), the elements that ``exp`` reaches."""
        return SE(self.n)

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return self.identity_component.exp(a)

    def log(self, g: Tensor) -> Tensor:
        """That of SE(n); NaN where there is a reflection."""
        inside = self.in_range_of_exp(g)
        motion = torch.where(inside[..., None, None], g, self.identity(g))
        return torch.where(inside[..., None], self.identity_component.log(motion), torch.nan)
