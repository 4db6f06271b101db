"""Spaces on which an invariant is tried, to see whether it holds there or refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.group import LieGroup
from liegroups.se2 import SE2
from liegroups.se3 import SE3
from liegroups.so3 import SO3
from liegroups.spaces import ConcentricSpheres, EuclideanSpace, HomogeneousSpace
from liegroups.translation import Translation


@dataclass(frozen=True)
class _Dilations(LieGroup):
    """Positive multiples of the 2 × 2 identity."""

    dim = 1
    matrix_size = 2
    basis_labels = ("s",)
    is_compact = False
    is_abelian = True

    def algebra_basis(self) -> Tensor:
        return torch.eye(2, dtype=torch.float64)[None]

    def log(self, g: Tensor) -> Tensor:
        return g[..., 0, 0, None].log()

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        return self.exp(torch.randn((*shape, 1), generator=generator, dtype=dtype, device=device))


@dataclass(frozen=True)
class _DilationsOfThePlane(AffineGroup):
    """Translations and dilations of the plane, which preserve no distance."""

    @property
    def linear(self) -> LieGroup:
        return _Dilations()


def probe_spaces() -> tuple[HomogeneousSpace, ...]:
    """Spaces of different kinds: isometric or not, one orbit or many, stabilizer or none."""
    return (
        EuclideanSpace(Translation(3)),
        EuclideanSpace(SE2()),
        EuclideanSpace(SE3()),
        ConcentricSpheres(SO3()),
        EuclideanSpace(_DilationsOfThePlane()),
    )
