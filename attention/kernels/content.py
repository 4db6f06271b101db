"""Content: what the features of the two ends say to each other."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from einops import rearrange
from torch import Tensor, nn

from attention.neighborhood import DenseNeighborhood


class Content(nn.Module, ABC):
    """Logits from the features of both ends; implementations compose into a kernel.

    Args:
        width: Number of features a point.
        heads: Number of heads.
    """

    @abstractmethod
    def forward(self, neighborhood: DenseNeighborhood, features: Tensor) -> Tensor:
        """Logits ``(heads, *pairs)`` of features ``(batch, points, width)``."""


class DotProduct(Content):
    """⟨Qfᵢ, Kfⱼ⟩ / √d, with d channels a head (Vaswani et al. 2017, equation 1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)

    def forward(self, neighborhood: DenseNeighborhood, features: Tensor) -> Tensor:
        scale = (self.query.out_features // self.heads) ** -0.5
        query = split_heads(self.query(features) * scale, self.heads)
        key = split_heads(self.key(features), self.heads)
        return neighborhood.inner(query, key)


class ConcatenatedLinear(Content):
    """aᵀ[Qfᵢ, Kfⱼ] with one vector a for each head (additive attention, Bahdanau et al. 2015).

    A linear form of a concatenation is a sum of two, one for each end, so no pair of features
    is ever stored.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        size = width // heads
        self.vectors = nn.Parameter(torch.randn(2, heads, 1, 1, size) * size**-0.5)

    def forward(self, neighborhood: DenseNeighborhood, features: Tensor) -> Tensor:
        query = split_heads(self.query(features), self.heads)
        key = split_heads(self.key(features), self.heads)
        return neighborhood.outer_sum(
            (query * self.vectors[0]).sum(-1), (key * self.vectors[1]).sum(-1)
        )


def split_heads(features: Tensor, heads: int) -> Tensor:
    """``(batch, points, heads · channels)`` as ``(heads, batch, points, channels)``."""
    return rearrange(features, "b n (h c) -> h b n c", h=heads)
