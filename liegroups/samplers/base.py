"""What every sampler of lifts has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from liegroups.compiling import constant_when_compiled
from liegroups.equivariance import Equivariance
from liegroups.group import LieGroup
from liegroups.spaces import HomogeneousSpace
from liegroups.trivial import Trivial


class Sampler(ABC):
    """A rule that chooses the elements over each point of a cloud."""

    @abstractmethod
    def equivariance(self, space: HomogeneousSpace) -> Equivariance:
        """What the lift by this sampler can promise on a space."""

    @abstractmethod
    def count_on(self, space: HomogeneousSpace) -> int:
        """Number of elements over each point."""

    @abstractmethod
    def __call__(
        self,
        space: HomogeneousSpace,
        points: Tensor,
        *,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Tensor:
        """Choose elements h that fix the representatives of the orbits of the points.

        Args:
            space: The space of the points.
            points: Clouds ``(*batch, points, point_dim)``.
            mask: Booleans ``(*batch, points)``, True for points that exist; all when absent. The
                elements over a point never depend on those that do not.
            generator: Source of randomness; torch's own when absent.
            fixed: Draw nothing: use a table that depends only on a point's place in its cloud,
                so that the same input gives the same output, alone or in a batch.

        Returns:
            Elements of the group, broadcastable to ``(*batch, points, count, m, m)``.
        """


def has_one_lift(space: HomogeneousSpace) -> bool:
    """Whether only one element lies over each point, so that every lift is exact."""
    return is_trivial(space.stabilizer) and not space.has_singular_orbits


def is_trivial(group: LieGroup) -> bool:
    """Whether the identity is the only element."""
    if isinstance(group, Trivial) or group.dim > 0:
        return isinstance(group, Trivial)
    return _only_the_identity(group)


@constant_when_compiled
def _only_the_identity(group: LieGroup) -> bool:
    """Whether 64 samples of a discrete group are all the identity: a second element would show."""
    g = group.sample((64,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return bool((g - group.identity(g)).abs().amax() < 1e-9)
