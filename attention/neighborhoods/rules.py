"""Rules that choose neighbors: all points, those within a radius, the nearest, some of those.

A rule sees the cloud through an invariant alone, so neighborhoods move along when the group acts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from attention.neighborhoods.base import Neighborhood
from attention.neighborhoods.dense import DenseNeighborhood
from attention.neighborhoods.scatter import Package, check_scatter
from attention.neighborhoods.sparse import SparseNeighborhood
from liegroups import (
    Distance,
    Envelope,
    HomogeneousSpace,
    Invariant,
    Lifted,
    PolynomialEnvelope,
    Sees,
)
from liegroups.checks import check_count, check_length, check_seed
from liegroups.compiling import constant_when_compiled
from liegroups.sees import Seeing

Layout = Literal["dense", "sparse"]

_PAIRS_AT_A_TIME = 2**22
_TABLE_ROWS = 64


class NeighborhoodRule(Seeing, ABC):
    """Chooses the sources of each target, by an invariant.

    A rule that does not see the elements over the points is applied to the points, and a neighbor
    comes with all its lifts; one that does is applied to the lifted points.
    """

    @property
    def sees(self) -> Sees:
        """The parts of a pair that the choice depends on: by default nothing."""
        return Sees.NOTHING

    def check(self, space: HomogeneousSpace) -> None:
        """Raise ValueError unless the space has the invariant that the rule measures by."""

    @abstractmethod
    def __call__(
        self,
        space: HomogeneousSpace,
        lifted: Lifted,
        mask: Tensor | None,
        *,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Neighborhood:
        """Choose.

        Args:
            space: The space of the points.
            lifted: Elements and points ``(batch, points, ...)``.
            mask: Booleans ``(batch, points)``, True for points that exist; None when all do.
            generator: Source of randomness; torch's own when absent.
            fixed: Draw nothing: the same input gives the same choice, alone or in a batch.
        """


@dataclass(frozen=True)
class AllPairs(NeighborhoodRule):
    """Every point of the cloud.

    Args:
        loops: Whether a point is its own neighbor.
    """

    loops: bool = True

    def __call__(
        self,
        space: HomogeneousSpace,
        lifted: Lifted,
        mask: Tensor | None,
        *,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> DenseNeighborhood:
        pairs = None if mask is None else mask[:, None, :]
        if not self.loops:
            points = lifted.point.shape[1]
            others = ~torch.eye(points, dtype=torch.bool, device=lifted.point.device)
            pairs = others[None] if pairs is None else pairs & others
        return DenseNeighborhood(pairs, targets=mask)


class _ByMetric(NeighborhoodRule):
    """A rule that measures how far apart two points are by an invariant with one feature.

    Attributes:
        metric: The invariant; the smaller, the nearer.
        loops: Whether a point is its own neighbor.
        layout: ``sparse`` for memory linear in the number of pairs that are chosen, ``dense`` for
            a mask over all pairs.
        scatter: The package that sums in the sparse layout: ``torch`` or ``torch_scatter``.
    """

    metric: Invariant
    loops: bool
    layout: Layout
    scatter: Package

    @property
    def sees(self) -> Sees:
        return self.metric.sees

    def check(self, space: HomogeneousSpace) -> None:
        if self.metric.dim(space) != 1:
            raise ValueError(
                f"{type(self).__name__} takes a metric with one feature; {self.metric} has "
                f"{self.metric.dim(space)} on {space}."
            )

    def _blocks(
        self, space: HomogeneousSpace, lifted: Lifted, mask: Tensor | None
    ) -> Iterator[tuple[int, Tensor]]:
        """Distances ``(batch, some targets, points)`` with the number of the first target.

        Sources that are not to be chosen are at an infinite distance. No more is held at a time
        than a block.
        """
        batch, points = lifted.point.shape[:2]
        rows = max(1, _PAIRS_AT_A_TIME // max(1, batch * points))
        source = Lifted(lifted.element[:, None], lifted.point[:, None])
        number = torch.arange(points, device=lifted.point.device)
        for start in range(0, points, rows):
            own = slice(start, start + rows)
            target = Lifted(lifted.element[:, own, None], lifted.point[:, own, None])
            distance = self.metric(space, target, source)[..., 0]
            if mask is not None:
                distance = distance.masked_fill(~mask[:, None, :], torch.inf)
            if not self.loops:
                distance = distance.masked_fill(number[own, None] == number, torch.inf)
            yield start, distance


@dataclass(frozen=True)
class Radius(_ByMetric):
    """The points nearer than a radius.

    With a cut-off the weight of a pair falls smoothly to zero at the radius, so that nothing
    jumps when a point crosses it: the output of a network is as smooth in the points as the
    envelope, which for energies and their forces needs two derivatives.

    Args:
        radius: The radius, in the unit of the metric: for ``Distance`` that of the coordinates.
        metric: The distance to measure by, an invariant with one feature.
        cutoff: Makes the weights, an envelope of metric / radius; None for weights of one.
        loops: Whether a point is its own neighbor.
        layout: ``sparse``, or ``dense``. The number of pairs of the sparse layout depends on the
            data, which ``torch.compile`` cannot follow; the dense layout compiles.
        scatter: The package that sums in the sparse layout: ``torch`` or ``torch_scatter``.

    Raises:
        ValueError: If ``radius`` is not positive, or ``layout`` is another.
    """

    radius: float
    metric: Invariant = Distance()  # noqa: RUF009 (immutable)
    cutoff: Envelope | None = PolynomialEnvelope()  # noqa: RUF009 (immutable)
    loops: bool = True
    layout: Layout = "sparse"
    scatter: Package = "torch"

    def __post_init__(self) -> None:
        check_length("Radius.radius", self.radius)
        _check_layout(self.layout)
        check_scatter(self.scatter)

    def __call__(
        self,
        space: HomogeneousSpace,
        lifted: Lifted,
        mask: Tensor | None,
        *,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Neighborhood:
        batch, points = lifted.point.shape[:2]
        masks, edges = [], []
        with torch.no_grad():
            for start, distance in self._blocks(space, lifted, mask):
                near = distance < self.radius
                if self.layout == "dense":
                    masks.append(near)
                    continue
                if mask is not None:
                    near = near & mask[:, start : start + near.shape[1], None]
                cloud, target, source = near.nonzero().T
                edges.append(torch.stack((target + start, source)) + cloud * points)
        if self.layout == "dense":
            chosen: DenseNeighborhood | SparseNeighborhood = DenseNeighborhood(torch.cat(masks, 1))
        else:
            target, source = torch.cat(edges, 1)
            chosen = SparseNeighborhood(target, source, batch * points, scatter=self.scatter)
        if self.cutoff is None:
            return chosen
        # A second look at the metric, of the chosen pairs alone and with derivatives.
        reach = self.metric(space, *chosen.pull_back(lifted, lifted))[..., 0] / self.radius
        return replace(chosen, cutoff=self.cutoff(reach * reach))


@dataclass(frozen=True)
class Nearest(_ByMetric):
    """The nearest points, the point itself among them; all where there are fewer.

    The output of a network jumps when one neighbor replaces another; and where two points are
    equally far, as in symmetric molecules, rounding decides between them.

    Args:
        count: Number of neighbors.
        metric: The distance to measure by, an invariant with one feature.
        loops: Whether a point is its own neighbor.
        layout: ``sparse``, or ``dense``.
        scatter: The package that sums in the sparse layout: ``torch`` or ``torch_scatter``.

    Raises:
        ValueError: If ``count`` is less than one, or ``layout`` is another.
    """

    count: int
    metric: Invariant = Distance()  # noqa: RUF009 (immutable)
    loops: bool = True
    layout: Layout = "sparse"
    scatter: Package = "torch"

    def __post_init__(self) -> None:
        check_count(f"{type(self).__name__}.count", self.count)
        _check_layout(self.layout)
        check_scatter(self.scatter)

    def __call__(
        self,
        space: HomogeneousSpace,
        lifted: Lifted,
        mask: Tensor | None,
        *,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Neighborhood:
        return self._laid_out(lifted, *self._nearest(space, lifted, mask, self.count))

    @torch.no_grad()
    def _nearest(
        self, space: HomogeneousSpace, lifted: Lifted, mask: Tensor | None, count: int
    ) -> tuple[Tensor, Tensor]:
        """Numbers of the nearest sources, in order of distance, and whether they are to be chosen.

        Both ``(batch, targets, at most count)``.
        """
        count = min(count, lifted.point.shape[1])
        found = [
            distance.topk(count, largest=False) for _, distance in self._blocks(space, lifted, mask)
        ]
        distance = torch.cat([block.values for block in found], 1)
        return torch.cat([block.indices for block in found], 1), distance.isfinite()

    def _laid_out(self, lifted: Lifted, source: Tensor, chosen: Tensor) -> Neighborhood:
        batch, points, count = source.shape
        if self.layout == "dense":
            mask = torch.zeros(batch, points, points, dtype=torch.bool, device=source.device)
            return DenseNeighborhood(mask.scatter(-1, source, chosen))
        cloud = torch.arange(batch, device=source.device)[:, None, None] * points
        target = torch.arange(batch * points, device=source.device).repeat_interleave(count)
        # The number of edges does not depend on the data: those not chosen have a weight of 0.
        cutoff = chosen.flatten().to(lifted.point.dtype)
        return SparseNeighborhood(
            target, (source + cloud).flatten(), batch * points, cutoff, self.scatter
        )


@dataclass(frozen=True)
class RandomNearest(Nearest):
    """Some of the nearest points, drawn for each point: 25 of the nearest 50, for example.

    In training they are drawn anew in each pass; at evaluation by a table that a seed makes, of
    the rank in distance and the point's place in its cloud. A network then is equivariant as
    before, and to permutations of the points in distribution only.

    Args:
        count: Number of neighbors.
        of: Number of nearest points that they are drawn from.
        metric: The distance to measure by, an invariant with one feature.
        loops: Whether a point may be its own neighbor.
        layout: ``sparse``, or ``dense``.
        scatter: The package that sums in the sparse layout: ``torch`` or ``torch_scatter``.
        seed: Seed of the table for evaluation.

    Raises:
        ValueError: If ``count`` is less than one or more than ``of``, or ``layout`` is another.

    Reference:
        Hutchinson et al. 2021, LieTransformer, section 4.
    """

    of: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("RandomNearest.of", self.of, self.count)
        check_seed("RandomNearest.seed", self.seed)

    def __call__(
        self,
        space: HomogeneousSpace,
        lifted: Lifted,
        mask: Tensor | None,
        *,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Neighborhood:
        source, exists = self._nearest(space, lifted, mask, self.of)
        if fixed:
            _, size, nearest = source.shape
            blocks = 1
            while blocks * _TABLE_ROWS < size:  # A number even where torch.compile has none.
                blocks *= 2
            table = _fixed_keys(self, blocks)
            keys = table[:size, :nearest].to(source.device).expand(exists.shape)
        else:
            keys = torch.rand(exists.shape, generator=generator, device=source.device)
        keys = keys.masked_fill(~exists, torch.inf)
        drawn = keys.topk(min(self.count, keys.shape[-1]), largest=False).indices
        return self._laid_out(lifted, source.gather(-1, drawn), exists.gather(-1, drawn))


@constant_when_compiled
def _fixed_keys(rule: RandomNearest, blocks: int) -> Tensor:
    """The table of keys for evaluation, made in blocks, so that a longer one begins the same."""
    generator = torch.Generator().manual_seed(rule.seed)
    return torch.cat([torch.rand(_TABLE_ROWS, rule.of, generator=generator) for _ in range(blocks)])


def _check_layout(layout: str) -> None:
    if layout not in ("dense", "sparse"):
        raise ValueError(f"layout is 'dense' or 'sparse'; got {layout!r}.")
