"""What every layout of the pairs has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from liegroups import Lifted


class Neighborhood(ABC):
    """The fibres over each target, and the arrows of the integral transform along them.

    Pair tensors carry their channels, or heads, first and the pairs last, ``(channels, *pairs)``,
    so that what works on pairs does not depend on how a neighborhood lays them out.

    Attributes:
        cutoff: Weights of the pairs, ``(*pairs)``, from 0 to 1: how much of each pair belongs to
            the fibre; None when all of it does.
    """

    cutoff: Tensor | None

    @abstractmethod
    def between_lifts(self, lifts: int) -> Neighborhood:
        """The neighborhood of lifted points in which the lifts of neighbors are neighbors.

        The lifts of a point stand side by side.
        """

    @abstractmethod
    def pairs(self, target: Lifted, source: Lifted) -> tuple[Lifted, Lifted]:
        """The two ends of all pairs, batch shape broadcastable to ``(*pairs)``.

        Args:
            target: Elements and points ``(batch, targets, ...)``.
            source: Elements and points ``(batch, sources, ...)``.
        """

    @abstractmethod
    def pull_targets(self, x: Tensor) -> Tensor:
        """Features ``(batch, targets, channels)`` at the pairs, ``(*pairs, channels)``."""

    @abstractmethod
    def pull_sources(self, x: Tensor) -> Tensor:
        """Features ``(batch, sources, channels)`` at the pairs, ``(*pairs, channels)``."""

    @abstractmethod
    def sum_over_fibres(self, messages: Tensor, batch: int) -> Tensor:
        """Sum what the pairs carry over each fibre.

        Args:
            messages: ``(heads, *pairs, channels)``, zero off the fibres.
            batch: Number of clouds.

        Returns:
            ``(heads, batch, targets, channels)``.
        """

    @abstractmethod
    def inner(self, target: Tensor, source: Tensor) -> Tensor:
        """Pull both back to the pairs and contract their channels.

        Args:
            target: ``(heads, batch, targets, channels)``.
            source: ``(heads, batch, sources, channels)``.

        Returns:
            Inner products ``(heads, *pairs)``, a new tensor.
        """

    @abstractmethod
    def outer_sum(self, target: Tensor, source: Tensor) -> Tensor:
        """Pull both back to the pairs and add.

        Args:
            target: ``(heads, batch, targets)``.
            source: ``(heads, batch, sources)``.

        Returns:
            Sums ``(heads, *pairs)``, a new tensor.
        """

    @abstractmethod
    def contract(self, target: Tensor, features: Tensor) -> Tensor:
        """Pull the targets back to the pairs and contract them with features of the pairs.

        Args:
            target: ``(heads, batch, targets, channels)``.
            features: ``(channels, *pairs)``.

        Returns:
            Inner products ``(heads, *pairs)``, a new tensor.
        """

    @abstractmethod
    def restrict(self, values: Tensor) -> Tensor:
        """Values ``(heads, *pairs)`` times the cut-off, zero at pairs that do not exist."""

    @abstractmethod
    def softmax(self, logits: Tensor) -> Tensor:
        """Softmax of ``(heads, *pairs)`` over each fibre.

        With a cut-off w it is wⱼ · wⱼ exp lⱼ / Σ wₖ exp lₖ: the inner weights let the sum change
        smoothly when a source comes or goes, the outer ones the result when the last one goes.
        Over an empty fibre it is arbitrary but finite; ``push_forward`` sums nothing there.
        """

    @abstractmethod
    def count(self, logits: Tensor) -> Tensor:
        """Number of sources in each fibre, at least one, broadcastable to ``logits``.

        With a cut-off every source counts by its weight.
        """

    @abstractmethod
    def push_forward(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sum the weighted values of the sources over each fibre.

        Args:
            weights: ``(heads, *pairs)``, zero off the fibres that are not empty.
            values: ``(heads, batch, sources, channels)``.

        Returns:
            ``(heads, batch, targets, channels)``, zeros for targets with an empty fibre.
        """
