"""Content: logits from the features of target and source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from attention.neighborhoods import Neighborhood
from liegroups import HomogeneousSpace, Lifted, Sees
from liegroups.checks import check_count
from liegroups.deprecation import RenamedMethods, renamed, warn_renamed
from liegroups.sees import Seeing


class Projections(NamedTuple):
    """The projections of the features of points, before they are pulled back to the pairs.

    Attributes:
        queries: Projections of the points as targets, ``(heads, batch, points, channels)`` each.
        keys: Projections of the points as sources, of the same shape.
    """

    queries: tuple[Tensor, ...] = ()
    keys: tuple[Tensor, ...] = ()

    @property
    def target(self) -> tuple[Tensor, ...]:
        """The old name of ``queries``."""
        warn_renamed("Projections.target", "Projections.queries", 2)
        return self.queries

    @property
    def source(self) -> tuple[Tensor, ...]:
        """The old name of ``keys``."""
        warn_renamed("Projections.source", "Projections.keys", 2)
        return self.keys


class Content(Seeing, RenamedMethods, nn.Module, ABC):
    """Logits from the features of target and source; a part of kernels.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        space: The space of the points.

    Attributes:
        is_inner_product: Whether the logits are the inner products of ``queries[0]`` and
            ``keys[0]``, which fused implementations compute without storing them.
        sees: The elements over the points, where ``project`` looks at them; else nothing.
        needs_one_place: Whether the logits are invariant only for pairs of lifts at the same place
            of their fibres, as separable blocks have them.
    """

    renamed_methods = {"ends": "project"}  # noqa: RUF012
    is_inner_product: bool = False
    sees: Sees = Sees.NOTHING
    needs_one_place: bool = False

    def __init__(self, width: int, heads: int, space: HomogeneousSpace) -> None:
        super().__init__()
        self.heads = heads

    @abstractmethod
    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        """Project the features of the points to queries and keys.

        Args:
            features: ``(batch, points, width)``.
            lifted: Elements and points ``(batch, points, ...)``.
        """

    @abstractmethod
    def forward(self, neighborhood: Neighborhood, projections: Projections) -> Tensor:
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

    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        scale = (self.query.out_features // self.heads) ** -0.5
        query = split_heads(self.query(features) * scale, self.heads)
        key = split_heads(self.key(features), self.heads)
        return Projections((query,), (key,))

    def forward(self, neighborhood: Neighborhood, projections: Projections) -> Tensor:
        return neighborhood.inner(projections.queries[0], projections.keys[0])


class ConcatenatedLinear(Content):
    """aᵀ[Qfᵢ, Kfⱼ] with one vector a for each head (additive attention, Bahdanau et al. 2015).

    A linear form of a concatenation is a sum of two, one of the target and one of the source, so
    no pair of features is ever stored.

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

    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        query = split_heads(self.query(features), self.heads)
        key = split_heads(self.key(features), self.heads)
        for_query, for_key = self._forms()[:, :, None, :, None]
        return Projections((query @ for_query,), (key @ for_key,))

    def forward(self, neighborhood: Neighborhood, projections: Projections) -> Tensor:
        return neighborhood.outer_sum(projections.queries[0][..., 0], projections.keys[0][..., 0])

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


if TYPE_CHECKING:
    Ends = Projections
else:
    __getattr__ = renamed(__name__, {"Ends": "Projections"})
