"""The sparse layout: a list of edges, summed by scatter operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from attention.neighborhoods.base import Neighborhood
from attention.neighborhoods.filtering import Slices
from attention.neighborhoods.scatter import Package, scatter_max, scatter_sum


@dataclass(frozen=True, eq=False)
class SparseNeighborhood(Neighborhood):
    """Pairs ``(edges,)``, each from a source to a target of the same cloud.

    Points are numbered through the whole batch: point n of cloud b is b · points + n.

    Attributes:
        target: Numbers of the targets, ``(edges,)``, of integer type.
        source: Numbers of the sources, ``(edges,)``, of integer type.
        targets: Number of targets in the whole batch.
        cutoff: Weights of the pairs, ``(edges,)``; None when all are 1.
        scatter: The package that sums: ``torch`` or ``torch_scatter``.
    """

    target: Tensor
    source: Tensor
    targets: int
    cutoff: Tensor | None = None
    scatter: Package = "torch"

    def between_lifts(self, lifts: int) -> SparseNeighborhood:
        own = torch.arange(lifts, device=self.target.device)
        target = self.target[:, None, None] * lifts + own[:, None]
        source = self.source[:, None, None] * lifts + own
        target, source = torch.broadcast_tensors(target, source)
        return replace(
            self,
            target=target.flatten(),
            source=source.flatten(),
            targets=self.targets * lifts,
            cutoff=None if self.cutoff is None else self.cutoff.repeat_interleave(lifts**2),
        )

    def pull_targets(self, x: Tensor, axis: int = 0) -> Tensor:
        return x.flatten(axis, axis + 1).index_select(axis, self.target)

    def pull_sources(self, x: Tensor, axis: int = 0) -> Tensor:
        return x.flatten(axis, axis + 1).index_select(axis, self.source)

    def sum_over_fibres(self, messages: Tensor, batch: int) -> Tensor:
        received = scatter_sum(messages, self.target, self.targets, self.scatter)
        return received.unflatten(1, (batch, -1))

    def reduce(self, values: Tensor, how: Literal["sum", "max"]) -> Tensor:
        scatter = scatter_sum if how == "sum" else scatter_max
        reduced = scatter(values, self.target, self.targets, self.scatter)
        return reduced.index_select(1, self.target)

    def slices(self, features: Tensor, batch: int) -> tuple[int, Slices]:
        return self.targets // batch, self._slices

    def _slices(self, size: int) -> Iterator[_Edges]:
        ends = zip(self.target.split(size), self.source.split(size), strict=True)
        for number, (target, source) in enumerate(ends):
            yield _Edges(slice(number * size, (number + 1) * size), target, source)


@dataclass(frozen=True)
class _Edges:
    """Some edges, from sources to targets."""

    edges: slice
    target: Tensor
    source: Tensor

    @property
    def size(self) -> int:
        return len(self.target)

    def of_pairs(self, x: Tensor) -> Tensor:
        return x[:, self.edges]

    def multiply_targets(self, messages: Tensor, x: Tensor) -> None:
        messages.mul_(x.flatten(0, 1).index_select(0, self.target))

    def multiply_sources(self, messages: Tensor, x: Tensor) -> None:
        messages.mul_(x.flatten(0, 1).index_select(0, self.source))

    def outer(self, target: Tensor, source: Tensor, messages: Tensor) -> None:
        torch.index_select(target.flatten(0, 1), 0, self.target, out=messages)
        self.multiply_sources(messages, source)

    def add_to_targets(self, messages: Tensor, total: Tensor) -> None:
        total.view(-1, messages.shape[1]).index_add_(0, self.target, messages)

    def add_to_sources(self, messages: Tensor, total: Tensor) -> None:
        total.view(-1, messages.shape[1]).index_add_(0, self.source, messages)

    def push_harmonics(self, messages: Tensor, harmonics: Tensor, total: Tensor) -> None:
        products = harmonics.T[..., None] * messages[:, None]
        total.view(-1, *products.shape[1:]).index_add_(0, self.target, products)

    def pull_harmonics(self, x: Tensor, harmonics: Tensor, messages: Tensor) -> None:
        own = x.flatten(0, 1).index_select(0, self.target)
        torch.bmm(harmonics.T[:, None], own, out=messages[:, None])

    def inner_harmonics(self, x: Tensor, messages: Tensor) -> Tensor:
        own = x.flatten(0, 1).index_select(0, self.target)
        return (own @ messages[..., None])[..., 0].T


def given_edges(edges: Tensor, mask: Tensor | None, batch: int, points: int) -> SparseNeighborhood:
    """The neighborhood of edges that the user lists.

    Args:
        edges: Integers ``(2, edges)``, sources above targets; point n of cloud b is number
            b · ``points`` + n.
        mask: Booleans ``(batch, points)``, True for points that exist; None when all do.
        batch: Number of clouds.
        points: Number of points of a cloud, with those that do not exist.

    Raises:
        ValueError: If the edges have the wrong shape or type, name points that do not exist, or
            lead from one cloud to another.
    """
    if edges.ndim != 2 or len(edges) != 2 or edges.dtype != torch.int64:
        raise ValueError(
            f"edges must be int64 of shape (2, edges); got {edges.dtype} of shape "
            f"{tuple(edges.shape)}."
        )
    source, target = edges
    if not torch.compiler.is_compiling() and edges.numel():
        if edges.min() < 0 or edges.max() >= batch * points:
            raise ValueError(
                f"edges must name points from 0 to {batch * points - 1}; got {edges.min()} to "
                f"{edges.max()}."
            )
        if (source // points != target // points).any():
            first = int((source // points != target // points).nonzero()[0])
            raise ValueError(
                f"edges must stay within a cloud of {points} points; edge {first} leads from "
                f"{source[first]} to {target[first]}."
            )
        if mask is not None and not mask.flatten()[edges].all():
            raise ValueError("edges must name points that exist; some are masked.")
    return SparseNeighborhood(target, source, batch * points)
