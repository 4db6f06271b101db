"""The sparse layout: a list of edges, summed by scatter operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from attention.neighborhoods.base import Neighborhood
from attention.neighborhoods.scatter import Package, scatter_max, scatter_sum
from liegroups import Lifted


@dataclass(frozen=True, eq=False)
class SparseNeighborhood(Neighborhood):
    """Pairs ``(edges,)``, each from a source to a target of the same cloud.

    Points are numbered through the whole batch: point n of cloud b is b · points + n.

    Attributes:
        target: Numbers of the targets, ``(edges,)``, of integer type.
        source: Numbers of the sources, ``(edges,)``, of integer type.
        targets: Number of targets in the whole batch.
        cutoff: Weights of the pairs, ``(edges,)``; None when all are 1.
        scatter: What sums along the fibres: ``torch``, or the package ``torch_scatter``.
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

    def pairs(self, target: Lifted, source: Lifted) -> tuple[Lifted, Lifted]:
        return (
            Lifted(*map(self.pull_targets, target)),
            Lifted(*map(self.pull_sources, source)),
        )

    def pull_targets(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1).index_select(0, self.target)

    def pull_sources(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1).index_select(0, self.source)

    def sum_over_fibres(self, messages: Tensor, batch: int) -> Tensor:
        received = scatter_sum(messages, self.target, self.targets, self.scatter)
        return received.unflatten(1, (batch, -1))

    def inner(self, target: Tensor, source: Tensor) -> Tensor:
        return torch.linalg.vecdot(self._at_targets(target), self._at_sources(source))

    def outer_sum(self, target: Tensor, source: Tensor) -> Tensor:
        return self._at_targets(target) + self._at_sources(source)

    def contract(self, target: Tensor, features: Tensor) -> Tensor:
        return torch.linalg.vecdot(self._at_targets(target), features.T)

    def restrict(self, values: Tensor) -> Tensor:
        return values if self.cutoff is None else values * self.cutoff

    def softmax(self, logits: Tensor) -> Tensor:
        largest = self._over_fibres(scatter_max, logits.detach())
        weighted = self.restrict((logits - largest).exp())
        total = self._over_fibres(scatter_sum, weighted)
        weights = weighted / total.clamp(min=torch.finfo(logits.dtype).tiny)
        return self.restrict(weights)

    def count(self, logits: Tensor) -> Tensor:
        ones = self.restrict(logits.new_ones(1, len(self.target)))
        return self._over_fibres(scatter_sum, ones).clamp(min=1)

    def push_forward(self, weights: Tensor, values: Tensor) -> Tensor:
        messages = weights[..., None] * self._at_sources(values)
        return self.sum_over_fibres(messages, values.shape[1])

    def _over_fibres(self, reduce: Callable[..., Tensor], values: Tensor) -> Tensor:
        """Reduce ``(heads, edges)`` over each fibre, and pull the result back to the edges."""
        reduced = reduce(values, self.target, self.targets, self.scatter)
        return reduced.index_select(1, self.target)

    def _at_targets(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2).index_select(1, self.target)

    def _at_sources(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2).index_select(1, self.source)


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
