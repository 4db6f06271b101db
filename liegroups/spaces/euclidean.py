"""Euclidean space under translations and what goes with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.facts import once
from liegroups.group import HomogeneousSpace, LieGroup


@dataclass(frozen=True)
class EuclideanSpace(HomogeneousSpace):
    """Rⁿ under x ↦ Ax + b, for T(n), SE(n), E(n), Sim(n), Aff(n) and every other Rⁿ ⋊ H.

    The base point is the origin, its stabilizer is H, the section is the translation by x.

    Args:
        group: The group that acts.
    """

    group: AffineGroup

    @property
    @once
    def point_dim(self) -> int:
        return self.group.space_dim

    @property
    @once
    def stabilizer(self) -> LieGroup:
        return self.group.linear

    @property
    @once
    def is_isometric(self) -> bool:
        return self.group.linear.is_orthogonal

    @property
    def section_cocycle_is_constant(self) -> bool:
        return True

    @property
    @once
    def linear(self) -> LieGroup:
        return self.group.linear

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

    def cocycle(self, g: Tensor, x: Tensor) -> Tensor:
        """The linear part of g, for every x."""
        batch = torch.broadcast_shapes(g.shape[:-2], x.shape[:-1])
        n = self.group.space_dim
        return self.embed(self.group.split(g)[0].expand(*batch, n, n))

    def embed_linear(self, a: Tensor) -> Tensor:
        return self.embed(a)

    def vectors(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The vectors from the mean of the cloud to its points."""
        self.check_points(x)
        return (x - masked_mean(x, mask))[..., None, :]


AffineGroup.acts_on = EuclideanSpace


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean ``(*batch, 1, n)`` over the points of clouds, 0 where there is none.

    Args:
        x: Clouds ``(*batch, points, n)``.
        mask: Booleans ``(*batch, points)``, True for points that exist; all when absent.
    """
    if mask is None:
        return x.sum(-2, keepdim=True) / max(1, x.shape[-2])
    total = x.masked_fill(~mask[..., None], 0).sum(-2, keepdim=True)
    return total / mask.sum(-1).clamp(min=1)[..., None, None]
