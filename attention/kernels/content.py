"""Content: what the features of the two ends say to each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from attention.neighborhoods import Neighborhood
from liegroups import HomogeneousSpace, Lifted, Sees
from liegroups.checks import check_count
from liegroups.sees import Seeing


class Ends(NamedTuple):
    """What the points bring to their pairs, before they are pulled back.

    Attributes:
        target: As target, a few tensors ``(heads, batch, points, channels)``.
        source: As source, the same.
    """

    target: tuple[Tensor, ...] = ()
    source: tuple[Tensor, ...] = ()


class Content(Seeing, nn.Module, ABC):
    """Logits from the features of both ends; implementations compose into a kernel.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        space: The space of the points.

    Attributes:
        is_inner_product: Whether the logits are the inner products of ``Ends.target[0]`` and
            ``Ends.source[0]``, which fused implementations compute without storing them.
        sees: The elements over the points, where ``ends`` looks at them; else nothing.
    """

    is_inner_product: bool = False
    sees: Sees = Sees.NOTHING

    def __init__(self, width: int, heads: int, space: HomogeneousSpace) -> None:
        super().__init__()
        self.heads = heads

    @abstractmethod
    def ends(self, features: Tensor, lifted: Lifted) -> Ends:
        """What each point brings.

        Args:
            features: ``(batch, points, width)``.
            lifted: Elements and points ``(batch, points, ...)``.
        """

    @abstractmethod
    def forward(self, neighborhood: Neighborhood, ends: Ends) -> Tensor:
        """Logits ``(heads, *pairs)``, a new tensor."""


class DotProduct(Content):
    """⟨Qfᵢ, Kfⱼ⟩ / √d, with d channels a head (Vaswani et al. 2017, equation 1).

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        space: The space of the points.
    """

    is_inner_product = True

    def __init__(self, width: int, heads: int, space: HomogeneousSpace) -> None:
        super().__init__(width, heads, space)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)

    def ends(self, features: Tensor, lifted: Lifted) -> Ends:
        scale = (self.query.out_features // self.heads) ** -0.5
        query = split_heads(self.query(features) * scale, self.heads)
        key = split_heads(self.key(features), self.heads)
        return Ends((query,), (key,))

    def forward(self, neighborhood: Neighborhood, ends: Ends) -> Tensor:
        return neighborhood.inner(ends.target[0], ends.source[0])


class ConcatenatedLinear(Content):
    """aᵀ[Qfᵢ, Kfⱼ] with one vector a for each head (additive attention, Bahdanau et al. 2015).

    A linear form of a concatenation is a sum of two, one for each end, so no pair of features
    is ever stored.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        space: The space of the points.
        hidden: Number of channels of a further linear map W of the concatenation, for logits
            aᵀW[Qfᵢ, Kfⱼ]; none when absent. It adds no function, only parameters to learn by.

    Raises:
        ValueError: If ``hidden`` is less than one.
    """

    def __init__(
        self, width: int, heads: int, space: HomogeneousSpace, hidden: int | None = None
    ) -> None:
        super().__init__(width, heads, space)
        if hidden is not None:
            check_count("ConcatenatedLinear.hidden", hidden)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        size = width // heads
        if hidden is None:
            self.vectors = nn.Parameter(torch.randn(2, heads, size) * size**-0.5)
            self.further = None
        else:
            self.vectors = nn.Parameter(torch.randn(heads, hidden) * hidden**-0.5)
            self.further = nn.Parameter(torch.randn(2, heads, hidden, size) * size**-0.5)

    def ends(self, features: Tensor, lifted: Lifted) -> Ends:
        query = split_heads(self.query(features), self.heads)
        key = split_heads(self.key(features), self.heads)
        for_query, for_key = self._forms()[:, :, None, :, None]
        return Ends((query @ for_query,), (key @ for_key,))

    def forward(self, neighborhood: Neighborhood, ends: Ends) -> Tensor:
        return neighborhood.outer_sum(ends.target[0][..., 0], ends.source[0][..., 0])

    def _forms(self) -> Tensor:
        """Both halves of the linear forms of the concatenations, ``(2, heads, channels)``."""
        if self.further is None:
            return self.vectors
        return torch.einsum("hk,ehkc->ehc", self.vectors, self.further)


def split_heads(features: Tensor, heads: int) -> Tensor:
    """``(batch, points, heads · channels)`` as ``(heads, batch, points, channels)``."""
    return rearrange(features, "b n (h c) -> h b n c", h=heads)


def merge_heads(features: Tensor) -> Tensor:
    """``(heads, batch, points, channels)`` as ``(batch, points, heads · channels)``."""
    return rearrange(features, "h b n c -> b n (h c)")
