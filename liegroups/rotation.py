"""The base class of the groups of rotations."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from liegroups.facts import once
from liegroups.group import LieGroup


class RotationGroup(LieGroup):
    """SO(n), the n × n orthogonal matrices of determinant one, for one n."""

    @property
    @once
    def dim(self) -> int:
        return self.matrix_size * (self.matrix_size - 1) // 2

    @property
    def is_compact(self) -> bool:
        return True

    @property
    def is_orthogonal(self) -> bool:
        return True

    @property
    @once
    def is_abelian(self) -> bool:
        return self.matrix_size <= 2

    @property
    @once
    def basis_labels(self) -> tuple[str, ...]:
        return tuple(f"r{i}{j}" for i, j in combinations(range(1, self.matrix_size + 1), 2))

    def algebra_basis(self) -> Tensor:
        """Generators of the coordinate planes i < j, each turning axis i towards axis j."""
        n = self.matrix_size
        basis = torch.zeros(self.dim, n, n, dtype=torch.float64)
        for k, (i, j) in enumerate(combinations(range(n), 2)):
            basis[k, j, i], basis[k, i, j] = 1, -1
        return basis

    def inverse(self, g: Tensor) -> Tensor:
        self.check_element(g)
        return g.mT

    def project(self, x: Tensor) -> Tensor:
        """The nearest rotation in the Frobenius norm (Kabsch 1976), by singular values."""
        self.check_element(x)
        u, _, vh = torch.linalg.svd(x)
        flip = torch.ones_like(x[..., 0])
        flip[..., -1] = torch.linalg.det(u @ vh)
        return (u * flip[..., None, :]) @ vh
