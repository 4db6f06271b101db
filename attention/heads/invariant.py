"""One invariant output for the whole cloud."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from attention.geometry import Geometry, Pairs
from attention.heads.base import Head, Pooling


class InvariantHead(Head):
    """One output for the whole cloud, from features pooled over points and lifts.

    A perceptron on each point, a mean over the points, a perceptron on the result. For the other
    two poolings both perceptrons are applied to each point, and what they give is pooled.

    Args:
        width: Number of features a point.
        out_features: Number of outputs.
        geometry: The space of the points and the invariant of their pairs.
        pooling: ``mean`` for intensive quantities; ``softmax`` for those that may belong to a
            few of the points, such as the energy of an orbital: a mean with weights that each
            output learns; ``sum`` for extensive ones, which runs over the points and averages
            over the elements above each.

    Raises:
        ValueError: If ``pooling`` is another.
    """

    is_per_point = False

    def __init__(
        self,
        width: int,
        out_features: int,
        geometry: Geometry,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__(width, out_features, geometry)
        if pooling not in get_args(Pooling):
            known = ", ".join(get_args(Pooling))
            raise ValueError(f"pooling is one of {known}; got {pooling!r}.")
        self.pooling: Pooling = pooling
        self.pointwise = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU())
        self.pooled = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, out_features)
        )
        self.score = nn.Linear(width, out_features) if pooling == "softmax" else None

    def forward(self, features: Tensor, pairs: Pairs, mask: Tensor | None, lifts: int) -> Tensor:
        """Outputs ``(batch, out_features)``."""
        hidden = self.pointwise(features)
        if mask is not None:
            hidden = hidden.masked_fill(~mask[..., None], 0)
        total = hidden.sum(1)
        if self.pooling == "mean":
            count = features.shape[1] if mask is None else mask.sum(1, keepdim=True).clamp(min=1)
            return self.pooled(total / count)
        # A sum is extensive only if the last map is applied to every point, before summing.
        pooled: Tensor = self.pooled(hidden)
        if self.score is not None:
            score = self.score(hidden)
            if mask is not None:
                score = score.masked_fill(~mask[..., None], torch.finfo(score.dtype).min)
            return (pooled * score.softmax(1)).sum(1)
        if mask is not None:
            pooled = pooled.masked_fill(~mask[..., None], 0)
        return pooled.sum(1) / lifts
