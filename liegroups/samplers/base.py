"""The base class of samplers of lifts."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from liegroups.equivariance import Equivariance
from liegroups.spaces import HomogeneousSpace


class Sampler(ABC):
    """A rule that chooses the elements over each point of a cloud."""

    @abstractmethod
    def equivariance(self, space: HomogeneousSpace) -> Equivariance:
        """The kind of equivariance of the lift by this sampler on a space."""

    @abstractmethod
    def count_on(self, space: HomogeneousSpace) -> int:
        """Number of elements over each point."""

    def is_alike_on(self, space: HomogeneousSpace) -> bool:
        """Whether the elements over any two points are the same but for one factor on the left.

        The invariants of pairs of lifts of one point are then those of every other.
        """
        return self.count_on(space) == 1

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
    return space.stabilizer.is_trivial and not space.has_singular_orbits
