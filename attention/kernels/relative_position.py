"""The relative position kernel of Transformer-XL, whose queries meet the positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attention.geometry import Geometry, Pairs
from attention.kernels.base import Kernel
from attention.kernels.content import Projections, split_heads
from liegroups import Lifted


class RelativePosition(Kernel):
    """(⟨Qfᵢ + u, Kfⱼ⟩ + ⟨Qfᵢ + v, W Iᵢⱼ⟩) / √d, with learned u, v and W for each head.

    The position of a neighbor, through its invariants I, is weighed by what the target asks
    for. ``liegroups.RadialBasis`` takes the place of the sinusoids of the original.

    ⟨q, W I⟩ is ⟨Wᵀq, I⟩, so that no pair of channels is ever stored.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space and the invariant.

    Reference:
        Dai et al. 2019, Transformer-XL, section 3.3.
    """

    head_mask: Tensor

    def __init__(self, width: int, heads: int, geometry: Geometry) -> None:
        super().__init__(width, heads, geometry)
        self.heads = heads
        head_mask = geometry.head_mask(heads)
        self.register_buffer("head_mask", head_mask[:, None, None], persistent=False)
        channels = width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.position = nn.Parameter(
            torch.randn(heads, 1, channels, head_mask.shape[1]) * head_mask.shape[1] ** -0.5
        )
        self.content_bias = nn.Parameter(torch.zeros(heads, 1, 1, channels))
        self.position_bias = nn.Parameter(torch.zeros(heads, 1, 1, channels))

    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        scale = self.content_bias.shape[-1] ** -0.5
        query = split_heads(self.query(features), self.heads)
        key = split_heads(self.key(features), self.heads)
        wanted = (query + self.position_bias) @ (self.position * self.head_mask)
        return Projections(((query + self.content_bias) * scale, wanted * scale), (key,))

    def forward(self, pairs: Pairs, projections: Projections) -> Tensor:
        content = pairs.neighborhood.inner(projections.queries[0], projections.keys[0])
        return content + pairs.neighborhood.contract(projections.queries[1], pairs.invariants)
