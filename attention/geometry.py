"""What the pairs of a network are to its kernels: their space, their invariant, their fibres."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from attention.neighborhoods import Neighborhood
from liegroups import HomogeneousSpace, Invariant, Lifted


@dataclass(frozen=True)
class Geometry:
    """A space and the invariant of its pairs: what a kernel is made for.

    Attributes:
        space: The space of the points.
        invariant: What kernels see of a pair.
    """

    space: HomogeneousSpace
    invariant: Invariant

    def head_mask(self, heads: int) -> Tensor:
        """Which of the heads see which features, booleans ``(heads, invariants)``."""
        return self.invariant.head_mask(self.space, heads)


class Fibres:
    """The pairs over a batch of targets, with their invariants.

    Args:
        geometry: The space and the invariant.
        neighborhood: Which pairs there are.
        target: The targets, elements and points ``(batch, targets, ...)``.
        source: The sources, elements and points ``(batch, sources, ...)``; the targets when
            absent.
        invariants: The invariants of the pairs, where they are known already.
    """

    def __init__(
        self,
        geometry: Geometry,
        neighborhood: Neighborhood,
        target: Lifted,
        source: Lifted | None = None,
        invariants: Tensor | None = None,
    ) -> None:
        self.geometry = geometry
        self.neighborhood = neighborhood
        self.target = target
        self.source = target if source is None else source
        self._invariants = invariants

    @property
    def invariants(self) -> Tensor:
        """The invariants of the pairs, ``(invariants, *pairs)``, computed on first use."""
        if self._invariants is None:
            space, invariant = self.geometry.space, self.geometry.invariant
            ends = self.neighborhood.pairs(self.target, self.source)
            self._invariants = invariant(space, *ends).movedim(-1, 0).contiguous()
        return self._invariants

    @property
    def points_require_grad(self) -> bool:
        """Whether derivatives with respect to the points will be asked for."""
        return any(x.requires_grad for end in (self.target, self.source) for x in end)
