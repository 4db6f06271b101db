"""The pairs of lifted points of a network, with their space and their invariants."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from attention.neighborhoods import Neighborhood
from liegroups import HomogeneousSpace, Invariant, Lifted, Sampler
from liegroups.compiling import constant_when_compiled
from liegroups.deprecation import RenamedMethods, renamed

_WORTH_PACKING = 0.9  # Share that exists, above which copying it costs more.


@dataclass(frozen=True)
class Geometry:
    """A space and the invariant of its pairs: what a kernel is made for.

    Attributes:
        space: The space of the points.
        invariant: The function of a pair that kernels see.
        lift: Chooses the elements over each point, where that is known.
        features: Number of features of a pair that a network learns to make of the invariant, and
            shows to its kernels in its place; None where they see the invariant itself.
    """

    space: HomogeneousSpace
    invariant: Invariant
    lift: Sampler | None = None
    features: int | None = None

    def head_mask(self, heads: int) -> Tensor:
        """Booleans ``(heads, invariants)``, True where a head sees a feature of a pair."""
        if self.features is not None:
            return torch.ones(heads, self.features, dtype=torch.bool)
        return self.invariant.head_mask(self.space, heads)


class Pairs(RenamedMethods):
    """The pairs of a batch of targets with their neighbors, and their invariants.

    Args:
        geometry: The space and the invariant.
        neighborhood: The pairs that exist.
        target: The targets, elements and points ``(batch, targets, ...)``.
        source: The sources, elements and points ``(batch, sources, ...)``; the targets when
            absent.
        invariants: The invariants of the pairs, where they are known already.
        basis: Makes the features of the pairs that kernels see of the invariants,
            ``(invariants, *pairs)`` to ``(features, *pairs)``; None where those are the features.
    """

    renamed_methods = {"locate": "map_invariants", "at_targets": "map_targets"}  # noqa: RUF012

    def __init__(
        self,
        geometry: Geometry,
        neighborhood: Neighborhood,
        target: Lifted,
        source: Lifted | None = None,
        invariants: Tensor | None = None,
        basis: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.geometry = geometry
        self.basis = basis
        self.neighborhood = neighborhood
        self.target = target
        self.source = target if source is None else source
        self._invariants = invariants
        self._numbers: tuple[Tensor | None, Tensor | None] | None = None
        self._packed: Tensor | None = None

    @property
    def invariants(self) -> Tensor:
        """What kernels see of the pairs, ``(invariants, *pairs)``, computed on first use."""
        if self._invariants is None:
            space, invariant = self.geometry.space, self.geometry.invariant
            pulled = self.neighborhood.pull_back(self.target, self.source)
            with full_precision(self.target.point):
                self._invariants = invariant(space, *pulled).movedim(-1, 0).contiguous()
            if self.basis is not None:
                self._invariants = self.basis(self._invariants)
        return self._invariants

    def map_invariants(self, location: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a function of invariants ``(invariants, n)`` to all pairs.

        On a CPU, pairs that do not exist, or whose target does not count, are left out where there
        are many of them: their value is zero.

        Args:
            location: Gives ``(heads, n)``.

        Returns:
            Values ``(heads, *pairs)``.
        """
        numbers, _ = self._numbers or self._find_numbers()
        if numbers is None:
            return location(self.invariants)
        if self._packed is None:
            self._packed = self.invariants.flatten(1).index_select(1, numbers)
        values = location(self._packed)
        pairs = self.invariants.shape[1:]
        everywhere = values.new_zeros(len(values), pairs.numel())
        return everywhere.index_copy(1, numbers, values).unflatten(1, pairs)

    def map_targets(self, function: Callable[[Tensor], Tensor], features: Tensor) -> Tensor:
        """Apply a pointwise function to the features of the targets.

        On a CPU, targets that do not count are left out where there are many of them: they get
        zeros.

        Args:
            function: Gives ``(n, channels)`` of ``(n, width)``.
            features: ``(batch, targets, width)``.

        Returns:
            ``(batch, targets, channels)``.
        """
        _, numbers = self._numbers or self._find_numbers()
        if numbers is None:
            return function(features)
        values = function(features.flatten(0, 1).index_select(0, numbers))
        everywhere = values.new_zeros(features.shape[:2].numel(), values.shape[1])
        return everywhere.index_copy(0, numbers, values).unflatten(0, features.shape[:2])

    def _find_numbers(self) -> tuple[Tensor | None, Tensor | None]:
        """The numbers of the pairs and of the targets that count, kept for all layers.

        None where it does not pay to pick them.
        """
        exists, counted = self.neighborhood.mask, self.neighborhood.counted_targets
        batch, targets = self.target.point.shape[:2]
        of_targets = None if counted is None else _true_numbers(counted, (batch, targets))
        of_pairs = None
        if exists is not None:
            if counted is not None:
                exists = exists & counted[..., None]
            of_pairs = _true_numbers(exists, (batch, targets, self.source.point.shape[1]))
        self._numbers = of_pairs, of_targets
        return self._numbers

    @property
    def points_require_grad(self) -> bool:
        """Whether the points require gradients."""
        return any(x.requires_grad for end in (self.target, self.source) for x in end)


def full_precision(points: Tensor) -> AbstractContextManager[Any]:
    """Within it, autocast leaves matrix products as they are.

    Half precision is enough for features, but not for group elements and what is made of them: a
    rotation that is rounded to 8 bits is none.
    """
    device = points.device.type
    if _has_autocast(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


@constant_when_compiled  # Not every torch that we support can trace it.
def _has_autocast(device: str) -> bool:
    return torch.amp.is_autocast_available(device)


def _true_numbers(which: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """The numbers of the elements that are True; None where it does not pay to pick those.

    Args:
        which: Booleans, broadcastable to ``shape``.
        shape: The shape of the elements that are numbered.
    """
    if torch.compiler.is_compiling() or which.device.type != "cpu":
        return None  # Their number depends on data, which a compiler and a GPU would wait for.
    which = which.expand(shape)
    if which.sum() > _WORTH_PACKING * which.numel():
        return None
    return which.flatten().nonzero()[:, 0]


if TYPE_CHECKING:
    Fibres = Pairs
else:
    __getattr__ = renamed(__name__, {"Fibres": "Pairs"})
