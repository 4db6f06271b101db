"""The Heisenberg group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.group import LieGroup


@dataclass(frozen=True)
class Heisenberg(LieGroup):
    """The Heisenberg group, upper triangular 3 × 3 matrices with ones on the diagonal.

    Coordinates (x, y, z) of the algebra matrix [[0, x, z], [0, 0, y], [0, 0, 0]]; the bracket of
    x and y is z, the center. The algebra is nilpotent, so exp(x, y, z) is the polynomial
    [[1, x, z + xy/2], [0, 1, y], [0, 0, 1]], one to one and onto.

    Reference:
        B. Hall, Lie Groups, Lie Algebras, and Representations (2015), sections 1.2.7 and 3.6.

    Example:
        >>> import torch
        >>> Heisenberg().exp(torch.tensor([1.0, 2.0, 3.0])).tolist()
        [[1.0, 1.0, 4.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]]
    """

    @property
    def dim(self) -> int:
        return 3

    @property
    def matrix_size(self) -> int:
        return 3

    @property
    def basis_labels(self) -> tuple[str, ...]:
        return ("x", "y", "z")

    @property
    def is_compact(self) -> bool:
        return False

    @property
    def is_abelian(self) -> bool:
        return False

    def algebra_basis(self) -> Tensor:
        basis = torch.zeros(3, 3, 3, dtype=torch.float64)
        basis[0, 0, 1] = basis[1, 1, 2] = basis[2, 0, 2] = 1
        return basis

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        x, y, z = a.unbind(-1)
        return _unitriangular(x, y, z + x * y / 2)

    def log(self, g: Tensor) -> Tensor:
        self.check_element(g)
        x, y, corner = g[..., 0, 1], g[..., 1, 2], g[..., 0, 2]
        return torch.stack((x, y, corner - x * y / 2), -1)

    def inverse(self, g: Tensor) -> Tensor:
        self.check_element(g)
        x, y, corner = g[..., 0, 1], g[..., 1, 2], g[..., 0, 2]
        return _unitriangular(-x, -y, x * y - corner)

    def project(self, x: Tensor) -> Tensor:
        """The matrix with the three entries above the diagonal."""
        self.check_element(x)
        return _unitriangular(x[..., 0, 1], x[..., 1, 2], x[..., 0, 2])

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """A proposal, as no Haar probability exists: standard normal entries."""
        x = torch.randn((*shape, 3), generator=generator, dtype=dtype, device=device)
        return _unitriangular(*x.unbind(-1))


def _unitriangular(x: Tensor, y: Tensor, corner: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return torch.stack((one, x, corner, zero, one, y, zero, zero, one), -1).unflatten(-1, (3, 3))
