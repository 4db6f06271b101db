"""Neighborhoods: the fibres over each target point, and the arrows of the integral transform.

Pair tensors carry their channels, or heads, first and the pairs last, ``(channels, *pairs)``, so
that what works on pairs does not depend on how a neighborhood lays them out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups import Lifted


@dataclass(frozen=True)
class DenseNeighborhood:
    """Every target with every source of its cloud, a mask saying which sources exist.

    Pairs are laid out ``(batch, targets, sources)``. A target whose fibre is empty receives
    zeros.

    Attributes:
        mask: Booleans broadcastable to ``(batch, targets, sources)``, True for pairs that exist;
            None when all do.
    """

    mask: Tensor | None = None

    def pairs(self, lifted: Lifted) -> tuple[Lifted, Lifted]:
        """The two ends of all pairs, as views that broadcast to ``(batch, targets, sources)``."""
        element, point = lifted
        return (
            Lifted(element[:, :, None], point[:, :, None]),
            Lifted(element[:, None], point[:, None]),
        )

    def inner(self, target: Tensor, source: Tensor) -> Tensor:
        """Pull both back to the pairs and contract their channels.

        Args:
            target: ``(heads, batch, targets, channels)``.
            source: ``(heads, batch, sources, channels)``.

        Returns:
            Inner products ``(heads, batch, targets, sources)``.
        """
        return target @ source.mT

    def outer_sum(self, target: Tensor, source: Tensor) -> Tensor:
        """Pull both back to the pairs and add.

        Args:
            target: ``(heads, batch, targets)``.
            source: ``(heads, batch, sources)``.

        Returns:
            Sums ``(heads, batch, targets, sources)``.
        """
        return target[..., :, None] + source[..., None, :]

    def softmax(self, logits: Tensor) -> Tensor:
        """Softmax over each fibre, ``(heads, batch, targets, sources)``.

        Over an empty fibre it is arbitrary but finite; ``push_forward`` sums nothing there.
        """
        if self.mask is None:
            return logits.softmax(-1)
        return logits.masked_fill(~self.mask, torch.finfo(logits.dtype).min).softmax(-1)

    def restrict(self, values: Tensor) -> Tensor:
        """Set the values at pairs that do not exist to zero."""
        return values if self.mask is None else values.masked_fill(~self.mask, 0)

    def count(self, logits: Tensor) -> Tensor:
        """Number of sources in each fibre, at least one, broadcastable to ``logits``."""
        if self.mask is None:
            return logits.new_tensor(logits.shape[-1])
        return self.mask.sum(-1, keepdim=True).clamp(min=1).to(logits.dtype)

    def push_forward(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sum the weighted values of the sources over each fibre.

        Args:
            weights: ``(heads, batch, targets, sources)``, zero off the fibres that are not empty.
            values: ``(heads, batch, sources, channels)``.

        Returns:
            ``(heads, batch, targets, channels)``, zeros for targets with an empty fibre.
        """
        received = weights @ values
        if self.mask is None:
            return received
        return received.masked_fill(~self.mask.any(-1, keepdim=True), 0)


def all_pairs(mask: Tensor | None) -> DenseNeighborhood:
    """The neighborhood of every point of a cloud, itself among them.

    Args:
        mask: Booleans ``(batch, points)``, True for points that exist; None when all do.
    """
    return DenseNeighborhood(None if mask is None else mask[:, None, :])
