"""The base class of invariants of pairs of lifted points."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from liegroups.lifting import Lifted
from liegroups.sees import Seeing, Sees
from liegroups.spaces import HomogeneousSpace


class Invariant(Seeing, ABC):
    """A map from pairs of lifted points to features that the group leaves unchanged."""

    @property
    @abstractmethod
    def sees(self) -> Sees:
        """The points alone, or the elements over them; a class attribute will do.

        An invariant of the points alone is exact however the points were lifted.
        """

    @abstractmethod
    def dim(self, space: HomogeneousSpace) -> int:
        """Number of features a pair.

        Raises:
            ValueError: If the space does not have this invariant.
        """

    @abstractmethod
    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        """Evaluate the invariant.

        Args:
            space: The space of the points.
            target: The targets gᵢ, batch shape broadcastable with that of ``source``.
            source: The sources gⱼ.

        Returns:
            Features ``(*pairs, dim)``.
        """

    def head_mask(self, space: HomogeneousSpace, heads: int) -> Tensor:
        """Booleans ``(heads, dim)``, True where an attention head sees a feature."""
        return torch.ones(heads, self.dim(space), dtype=torch.bool)
