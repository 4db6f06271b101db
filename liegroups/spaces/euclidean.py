"""Euclidean space under translations and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.group import LieGroup
from liegroups.spaces.base import HomogeneousSpace


@dataclass(frozen=True)
class EuclideanSpace(HomogeneousSpace):
    """Rⁿ under x ↦ Ax + b, for T(n), SE(n) and every other group Rⁿ ⋊ H.

    The base point is the origin, its stabilizer is H, the section is the translation by x.

    Args:
        group: The group that acts.
    """

    group: AffineGroup

    @property
    def point_dim(self) -> int:
        return self.group.space_dim

    @property
    def stabilizer(self) -> LieGroup:
        return self.group.linear

    @property
    def is_isometric(self) -> bool:
        return self.group.linear.is_orthogonal

    @property
    def section_cocycle_is_constant(self) -> bool:
        return True

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        self.check_points(x)
        a, b = self.group.split(g)
        return (a @ x[..., None])[..., 0] + b

    def section(self, x: Tensor) -> Tensor:
        self.check_points(x)
        return self.group.join(self.group.linear.identity(x), x)

    def representative(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape)

    def embed(self, h: Tensor) -> Tensor:
        return self.group.join(h, h.new_zeros(self.group.space_dim))
