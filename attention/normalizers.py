"""Normalizers: how logits become the weights of the sum over a fibre."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from attention.neighborhood import DenseNeighborhood


class Normalizer(ABC):
    """Turns logits ``(heads, *pairs)`` into weights of the same shape, zero off the fibres.

    Over an empty fibre they are arbitrary but finite.
    """

    @abstractmethod
    def __call__(self, neighborhood: DenseNeighborhood, logits: Tensor) -> Tensor:
        """Weights of the pairs."""


@dataclass(frozen=True)
class Softmax(Normalizer):
    """Positive weights that sum to one over each fibre (Vaswani et al. 2017)."""

    def __call__(self, neighborhood: DenseNeighborhood, logits: Tensor) -> Tensor:
        return neighborhood.softmax(logits)


@dataclass(frozen=True)
class Count(Normalizer):
    """The logits themselves, divided by the number of neighbors.

    The normalizer of LieTransformer on QM9 and dynamics, and of LieConv.
    """

    def __call__(self, neighborhood: DenseNeighborhood, logits: Tensor) -> Tensor:
        return neighborhood.restrict(logits) / neighborhood.count(logits)
