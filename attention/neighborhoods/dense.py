"""The dense layout: every target with every source of its cloud, and a mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attention.neighborhoods.base import Neighborhood
from liegroups import Lifted


@dataclass(frozen=True, eq=False)
class DenseNeighborhood(Neighborhood):
    """Pairs ``(batch, targets, sources)``, a mask saying which of them exist.

    Attributes:
        mask: Booleans broadcastable to ``(batch, targets, sources)``, True for pairs that exist;
            None when all do.
        cutoff: Weights of the pairs, ``(batch, targets, sources)``; None when all are 1.
        targets: Booleans ``(batch, targets)``, False for targets that nobody asks for, whose
            result may be anything finite; None when all count.
    """

    mask: Tensor | None = None
    cutoff: Tensor | None = None
    targets: Tensor | None = None

    @property
    def is_of_whole_clouds(self) -> bool:
        """Whether every target has every point of its cloud that exists, all with weight 1."""
        return self.cutoff is None and (self.mask is None or self.mask.shape[-2] == 1)

    def between_lifts(self, lifts: int) -> DenseNeighborhood:
        mask, cutoff = (
            None if x is None else _repeated(x, lifts) for x in (self.mask, self.cutoff)
        )
        targets = None if self.targets is None else self.targets.repeat_interleave(lifts, -1)
        return DenseNeighborhood(mask, cutoff, targets)

    def pairs(self, target: Lifted, source: Lifted) -> tuple[Lifted, Lifted]:
        return (
            Lifted(target.element[:, :, None], target.point[:, :, None]),
            Lifted(source.element[:, None], source.point[:, None]),
        )

    def pull_targets(self, x: Tensor) -> Tensor:
        return x[:, :, None].expand(-1, -1, x.shape[1], -1)

    def pull_sources(self, x: Tensor) -> Tensor:
        return x[:, None].expand(-1, x.shape[1], -1, -1)

    def sum_over_fibres(self, messages: Tensor, batch: int) -> Tensor:
        return messages.sum(-2)

    def inner(self, target: Tensor, source: Tensor) -> Tensor:
        return target @ source.mT

    def outer_sum(self, target: Tensor, source: Tensor) -> Tensor:
        return target[..., :, None] + source[..., None, :]

    def contract(self, target: Tensor, features: Tensor) -> Tensor:
        return torch.einsum("hbnc,cbnm->hbnm", target, features)

    def restrict(self, values: Tensor) -> Tensor:
        if self.mask is not None:
            values = values.masked_fill(~self.mask, 0)
        return values if self.cutoff is None else values * self.cutoff

    def softmax(self, logits: Tensor) -> Tensor:
        if self.mask is not None:
            logits = logits.masked_fill(~self.mask, torch.finfo(logits.dtype).min)
        if self.cutoff is None:
            return logits.softmax(-1)
        shifted = logits - logits.detach().amax(-1, keepdim=True)
        weighted = self.restrict(shifted.exp())
        # Below the smallest normal number there is no telling an empty fibre from a fading one.
        total = weighted.sum(-1, keepdim=True).clamp(min=torch.finfo(logits.dtype).tiny)
        return weighted / total * self.cutoff

    def count(self, logits: Tensor) -> Tensor:
        if self.cutoff is not None:
            return self.restrict(torch.ones_like(self.cutoff)).sum(-1, keepdim=True).clamp(min=1)
        if self.mask is None:
            return logits.new_tensor(logits.shape[-1])
        return self.mask.sum(-1, keepdim=True).clamp(min=1).to(logits.dtype)

    def push_forward(self, weights: Tensor, values: Tensor) -> Tensor:
        received = weights @ values
        if self.mask is None:
            return received
        return received.masked_fill(~self.mask.any(-1, keepdim=True), 0)


def _repeated(x: Tensor, lifts: int) -> Tensor:
    """Pairs ``(batch, targets or 1, sources)``, each end repeated for its lifts."""
    x = x.repeat_interleave(lifts, -1)
    return x if x.shape[-2] == 1 else x.repeat_interleave(lifts, -2)
