"""The trivial group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.checks import DIMENSION, check_count
from liegroups.group import LieGroup


@dataclass(frozen=True)
class Trivial(LieGroup):
    """The group whose only element is the n × n identity matrix.

    Its algebra is zero-dimensional, so tangents have shape ``(*batch, 0)``. It is the stabilizer
    of a point under translations.

    Args:
        n: Size of the matrices.
    """

    n: int

    def __post_init__(self) -> None:
        check_count("Trivial.n", self.n, most=10 * DIMENSION)  # Also of products.

    @property
    def dim(self) -> int:
        return 0

    @property
    def matrix_size(self) -> int:
        return self.n

    @property
    def basis_labels(self) -> tuple[str, ...]:
        return ()

    @property
    def is_compact(self) -> bool:
        return True

    @property
    def is_orthogonal(self) -> bool:
        return True

    @property
    def is_abelian(self) -> bool:
        return True

    @property
    def is_trivial(self) -> bool:
        return True

    def algebra_basis(self) -> Tensor:
        return torch.zeros(0, self.n, self.n, dtype=torch.float64)

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return self.identity(a).expand(*a.shape[:-1], self.n, self.n)

    def log(self, g: Tensor) -> Tensor:
        self.check_element(g)
        return g.new_zeros(*g.shape[:-2], 0)

    def inverse(self, g: Tensor) -> Tensor:
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
        """The identity, which is all there is; nothing is drawn from ``generator``."""
        return torch.eye(self.n, dtype=dtype, device=device).expand(*shape, self.n, self.n)
