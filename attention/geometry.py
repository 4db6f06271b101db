"""What the pairs of a network are to its kernels: their space, their invariant, their fibres."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attention.neighborhoods import DenseNeighborhood, Neighborhood
from liegroups import HomogeneousSpace, Invariant, Lifted

_WORTH_PACKING = 0.9  # Share that exists, above which copying it costs more.


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
        self._packed: tuple[Tensor, Tensor | None] | None = None
        self._rows: Tensor | None = None
        self._rows_known = False

    @property
    def invariants(self) -> Tensor:
        """The invariants of the pairs, ``(invariants, *pairs)``, computed on first use."""
        if self._invariants is None:
            space, invariant = self.geometry.space, self.geometry.invariant
            ends = self.neighborhood.pairs(self.target, self.source)
            with full_precision(self.target.point):
                self._invariants = invariant(space, *ends).movedim(-1, 0).contiguous()
        return self._invariants

    def locate(self, location: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a function of invariants ``(invariants, n)`` to all pairs.

        On a CPU, pairs that do not exist, or whose target nobody asks for, are left out where there
        are many of them: their value is zero.

        Args:
            location: Gives ``(heads, n)``.

        Returns:
            Values ``(heads, *pairs)``.
        """
        if self._packed is None:
            self._packed = self._pack()
        invariants, index = self._packed
        if index is None:
            return location(invariants)
        pairs = self.invariants.shape[1:]
        values = location(invariants)
        everywhere = values.new_zeros(len(values), pairs.numel())
        return everywhere.index_copy(1, index, values).unflatten(1, pairs)

    def at_targets(self, function: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
        """Apply a pointwise function to the features of the targets.

        On a CPU, targets that nobody asks for are left out where there are many of them: they get
        zeros.

        Args:
            function: Gives ``(n, channels)`` of ``(n, width)``.
            features: ``(batch, targets, width)``.

        Returns:
            ``(batch, targets, channels)``.
        """
        if not self._rows_known:
            self._rows, self._rows_known = self._find_rows(), True
        if self._rows is None:
            return function(features)
        rows = function(features.flatten(0, 1).index_select(0, self._rows))
        everywhere = rows.new_zeros(features.shape[:2].numel(), rows.shape[1])
        return everywhere.index_copy(0, self._rows, rows).unflatten(0, features.shape[:2])

    def _find_rows(self) -> Tensor | None:
        """The numbers of the targets that count; None where it does not pay to pick them."""
        neighborhood = self.neighborhood
        if not isinstance(neighborhood, DenseNeighborhood) or neighborhood.targets is None:
            return None
        return _numbers(neighborhood.targets.expand(self.target.point.shape[:2]))

    def _pack(self) -> tuple[Tensor, Tensor | None]:
        """The invariants of the pairs that exist, with their numbers; of all without a number."""
        neighborhood, invariants = self.neighborhood, self.invariants
        if not isinstance(neighborhood, DenseNeighborhood) or neighborhood.mask is None:
            return invariants, None
        exists = neighborhood.mask
        if neighborhood.targets is not None:
            exists = exists & neighborhood.targets[..., None]
        index = _numbers(exists.expand(invariants.shape[1:]))
        if index is None:
            return invariants, None
        return invariants.flatten(1).index_select(1, index), index

    @property
    def points_require_grad(self) -> bool:
        """Whether derivatives with respect to the points will be asked for."""
        return any(x.requires_grad for end in (self.target, self.source) for x in end)


def full_precision(points: Tensor) -> AbstractContextManager[Any]:
    """Within it, autocast leaves matrix products as they are.

    Half precision is enough for features, but not for group elements and what is made of them: a
    rotation that is rounded to 8 bits is none.
    """
    device = points.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _numbers(exists: Tensor) -> Tensor | None:
    """The numbers of the elements that are True; None where it does not pay to pick those."""
    if torch.compiler.is_compiling() or exists.device.type != "cpu":
        return None  # Their number depends on data, which a compiler and a GPU would wait for.
    if exists.sum() > _WORTH_PACKING * exists.numel():
        return None
    return exists.flatten().nonzero()[:, 0]
