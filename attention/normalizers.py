"""Normalizers: how logits become the weights of the sum over a fibre."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from attention.neighborhoods import Neighborhood
from liegroups.checks import check_number


class Normalizer(ABC):
    """Turns logits ``(heads, *pairs)`` into weights of the same shape, zero off the fibres.

    Over an empty fibre they are arbitrary but finite.
    """

    @abstractmethod
    def __call__(self, neighborhood: Neighborhood, logits: Tensor) -> Tensor:
        """Weights of the pairs."""


@dataclass(frozen=True)
class Softmax(Normalizer):
    """Positive weights that sum to one over each fibre (Vaswani et al. 2017)."""

    def __call__(self, neighborhood: Neighborhood, logits: Tensor) -> Tensor:
        return neighborhood.softmax(logits)


@dataclass(frozen=True)
class Count(Normalizer):
    """The logits themselves, divided by the number of neighbors.

    The normalizer of LieTransformer on QM9 and dynamics, and of LieConv.
    """

    def __call__(self, neighborhood: Neighborhood, logits: Tensor) -> Tensor:
        return neighborhood.apply_mask(logits) / neighborhood.count(logits)


@dataclass(frozen=True)
class Exponential(Normalizer):
    """exp l divided by the number of neighbors: a softmax that is not made to sum to one.

    The largest logit is not taken out first, which softmax can do and this cannot; logits above
    ``limit`` count as ``limit``, with derivative zero, so that nothing overflows in half precision.

    Args:
        limit: Largest logit.

    Raises:
        ValueError: If ``limit`` is not positive, or its exponential does not fit half precision.
    """

    limit: float = 10.0

    def __post_init__(self) -> None:
        check_number("Exponential.limit", self.limit, above=0, most=11)

    def __call__(self, neighborhood: Neighborhood, logits: Tensor) -> Tensor:
        weights = logits.clamp(max=self.limit).exp()
        return neighborhood.apply_mask(weights) / neighborhood.count(logits)


@dataclass(frozen=True)
class Linear(Normalizer):
    """The logits themselves.

    Where logits are inner products and every point is a neighbor, the sum over the sources can be
    done before that over the channels, in time and memory linear in the number of points
    (Katharopoulos et al. 2020); ``backend="auto"`` does so.
    """

    def __call__(self, neighborhood: Neighborhood, logits: Tensor) -> Tensor:
        return neighborhood.apply_mask(logits)


@dataclass(frozen=True)
class Sigmoid(Normalizer):
    """σ(l - log n) for n neighbors: weights that do not compete.

    At logits of zero they are 1 / (n + 1), near the 1 / n of the softmax.

    Reference:
        Ramapuram et al. 2025, Theory, Analysis, and Best Practices for Sigmoid Self-Attention.
    """

    def __call__(self, neighborhood: Neighborhood, logits: Tensor) -> Tensor:
        shifted = logits - neighborhood.count(logits).log()
        return neighborhood.apply_mask(shifted.sigmoid())
