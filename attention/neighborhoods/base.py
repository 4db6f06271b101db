"""The pairs of a neighborhood, and what can be done with them in every layout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from attention.neighborhoods.filtering import Slices, sum_filtered, sum_filtered_harmonics
from liegroups import Lifted
from liegroups.compiling import has_no_values
from liegroups.deprecation import RenamedMethods


class Neighborhood(RenamedMethods, ABC):
    """The neighbors of each target, and the arrows of the integral transform along the pairs.

    The pairs of a target with its neighbors are the fibre over it.

    Pair tensors carry their channels, or heads, first and the pairs last, ``(channels, *pairs)``,
    so that code for pairs does not depend on their layout. A layout implements the gathering at
    the targets and the sources of its pairs and the reduction over the fibres; all else is derived
    from these, and is overridden only for speed.

    Attributes:
        mask: Booleans broadcastable to ``(*pairs)``, True for pairs that exist; None when all do.
        cutoff: Weights of the pairs, ``(*pairs)``, from 0 to 1: how much of each pair belongs to
            the fibre; None when all of it does.
    """

    renamed_methods = {"pairs": "pull_back", "restrict": "apply_mask"}  # noqa: RUF012

    mask: Tensor | None = None
    cutoff: Tensor | None = None

    # ---- must implement ----------------------------------------------------------------------

    @abstractmethod
    def between_lifts(self, lifts: int) -> Neighborhood:
        """The neighborhood of lifted points in which the lifts of neighbors are neighbors.

        The lifts of a point stand side by side.
        """

    @abstractmethod
    def pull_targets(self, x: Tensor, axis: int = 0) -> Tensor:
        """Gather the values of the targets at their pairs.

        Args:
            x: ``(*leading, batch, targets, *channels)``.
            axis: Number of leading axes.

        Returns:
            Values broadcastable to ``(*leading, *pairs, *channels)``.
        """

    @abstractmethod
    def pull_sources(self, x: Tensor, axis: int = 0) -> Tensor:
        """Gather the values of the sources at their pairs, as ``pull_targets`` does."""

    @abstractmethod
    def sum_over_fibres(self, messages: Tensor, batch: int) -> Tensor:
        """Sum the messages of the pairs over each fibre.

        Args:
            messages: ``(heads, *pairs, channels)``, zero off the fibres.
            batch: Number of clouds.

        Returns:
            ``(heads, batch, targets, channels)``.
        """

    @abstractmethod
    def reduce(self, values: Tensor, how: Literal["sum", "max"]) -> Tensor:
        """The sum or the largest of the values over the fibre of each pair.

        Args:
            values: ``(heads, *pairs)``.
            how: The one to take.

        Returns:
            Sums or maxima, broadcastable to ``values``.
        """

    # ---- derived -----------------------------------------------------------------------------

    @property
    def counted_targets(self) -> Tensor | None:
        """Booleans ``(batch, targets)``, True for targets whose result counts; None if all do."""
        return None

    def pull_back(self, target: Lifted, source: Lifted) -> tuple[Lifted, Lifted]:
        """Gather both points of all pairs, batch shape broadcastable to ``(*pairs)``.

        Args:
            target: Elements and points ``(batch, targets, ...)``.
            source: Elements and points ``(batch, sources, ...)``.
        """
        return (
            Lifted(self.pull_targets(target.element), self.pull_targets(target.point)),
            Lifted(self.pull_sources(source.element), self.pull_sources(source.point)),
        )

    def inner(self, target: Tensor, source: Tensor) -> Tensor:
        """Pull both back to the pairs and contract their channels.

        Args:
            target: ``(heads, batch, targets, channels)``.
            source: ``(heads, batch, sources, channels)``.

        Returns:
            Inner products ``(heads, *pairs)``, a new tensor.
        """
        return torch.linalg.vecdot(self.pull_targets(target, 1), self.pull_sources(source, 1))

    def outer_sum(self, target: Tensor, source: Tensor) -> Tensor:
        """Pull both back to the pairs and add.

        Args:
            target: ``(heads, batch, targets)``.
            source: ``(heads, batch, sources)``.

        Returns:
            Sums ``(heads, *pairs)``, a new tensor.
        """
        return self.pull_targets(target, 1) + self.pull_sources(source, 1)

    def contract(self, target: Tensor, features: Tensor) -> Tensor:
        """Pull the targets back to the pairs and contract them with features of the pairs.

        Args:
            target: ``(heads, batch, targets, channels)``.
            features: ``(channels, *pairs)``.

        Returns:
            Inner products ``(heads, *pairs)``, a new tensor.
        """
        return torch.linalg.vecdot(self.pull_targets(target, 1), features.movedim(0, -1))

    def apply_mask(self, values: Tensor) -> Tensor:
        """Multiply ``(heads, *pairs)`` by the cut-off, with zeros at pairs that do not exist."""
        if self.mask is not None:
            values = values.masked_fill(~self.mask, 0)
        return values if self.cutoff is None else values * self.cutoff

    def softmax(self, logits: Tensor) -> Tensor:
        """Softmax of ``(heads, *pairs)`` over each fibre.

        With a cut-off w it is wⱼ · wⱼ exp lⱼ / Σ wₖ exp lₖ: the inner weights let the sum change
        smoothly when a source comes or goes, the outer ones the result when the last one goes.
        Over an empty fibre it is arbitrary but finite; ``push_forward`` sums nothing there.
        """
        if self.mask is not None:
            logits = logits.masked_fill(~self.mask, torch.finfo(logits.dtype).min)
        weighted = self.apply_mask((logits - self.reduce(logits.detach(), "max")).exp())
        # Below the smallest normal number there is no telling an empty fibre from a fading one.
        total = self.reduce(weighted, "sum").clamp(min=torch.finfo(logits.dtype).tiny)
        weights = weighted / total  # Off the fibres they are zero already.
        return weights if self.cutoff is None else weights * self.cutoff

    def count(self, logits: Tensor) -> Tensor:
        """Number of sources in each fibre, at least one, broadcastable to ``logits``.

        With a cut-off every source counts by its weight.
        """
        return self.reduce(self.apply_mask(torch.ones_like(logits[:1])), "sum").clamp(min=1)

    def push_forward(self, weights: Tensor, values: Tensor) -> Tensor:
        """Sum the weighted values of the sources over each fibre.

        Args:
            weights: ``(heads, *pairs)``, zero off the fibres that are not empty.
            values: ``(heads, batch, sources, channels)``.

        Returns:
            ``(heads, batch, targets, channels)``, zeros for targets with an empty fibre.
        """
        messages = weights[..., None] * self.pull_sources(values, 1)
        return self.sum_over_fibres(messages, values.shape[1])

    def convolve(
        self, weights: Tensor, features: Tensor, coefficients: Tensor, values: Tensor
    ) -> Tensor:
        """Sum over each fibre the values, weighed by heads and filtered by channels.

        Each value is multiplied, channel by channel, by a filter of the pair: a linear form of
        the features of the pair for each channel.

        Args:
            weights: ``(heads, *pairs)``, zero off the fibres that are not empty; or
                ``(1, *pairs)`` where the heads have the same.
            features: ``(features, *pairs)``.
            coefficients: ``(features, heads · channels)``.
            values: ``(heads, batch, sources, channels)``.

        Returns:
            ``(heads, batch, targets, channels)``, zeros for targets with an empty fibre.
        """
        by_heads, features = self._folded(weights, features, values)
        merged = values.movedim(0, -2).flatten(-2)
        coefficients = coefficients.to(values.dtype)
        found = None if has_no_values() else self.slices(features, values.shape[1])
        if found is None:
            received = self._sum_filtered(by_heads, features, coefficients, merged)
        else:
            targets, slices = found
            received = sum_filtered(
                self._sum_filtered, slices, targets, by_heads, features, coefficients, merged
            )
        return received.unflatten(-1, (len(values), -1)).movedim(-2, 0)

    def convolve_harmonics(
        self,
        harmonics: Tensor,
        weights: Tensor,
        features: Tensor,
        coefficients: Tensor,
        values: Tensor,
    ) -> Tensor:
        """Do as ``convolve`` does for each of several functions that multiply the messages.

        Args:
            harmonics: The functions of the pairs, ``(components, *pairs)``.
            weights: ``(heads, *pairs)`` or ``(1, *pairs)``, zero off the fibres.
            features: ``(features, *pairs)``.
            coefficients: ``(features, heads · channels)``.
            values: ``(heads, batch, sources, channels)``.

        Returns:
            ``(batch, targets, components, heads · channels)``, zeros for targets with an empty
            fibre.
        """
        by_heads, features = self._folded(weights, features, values)
        merged = values.movedim(0, -2).flatten(-2)
        harmonics, coefficients = harmonics.to(values.dtype), coefficients.to(values.dtype)
        found = None if has_no_values() else self.slices(features, values.shape[1])
        if found is None:
            return self._sum_harmonics(harmonics, by_heads, features, coefficients, merged)
        targets, slices = found
        return sum_filtered_harmonics(
            self._sum_harmonics,
            slices,
            targets,
            harmonics,
            by_heads,
            features,
            coefficients,
            merged,
        )

    def slices(self, features: Tensor, batch: int) -> tuple[int, Slices] | None:
        """The number of targets of a cloud, and what gives all pairs, some at a time.

        None for a layout that has no such slices.

        Args:
            features: Of the pairs, ``(features, *pairs)``.
            batch: Number of clouds.
        """
        return None

    @staticmethod
    def _folded(weights: Tensor, features: Tensor, values: Tensor) -> tuple[Tensor | None, Tensor]:
        """Weights of heads, and features, which take the weights that all heads have in common."""
        weights, features = weights.to(values.dtype), features.to(values.dtype)
        return (None, features * weights) if len(weights) == 1 else (weights, features)

    def _sum_filtered(
        self, weights: Tensor | None, features: Tensor, coefficients: Tensor, values: Tensor
    ) -> Tensor:
        messages = self._filtered(weights, features, coefficients, values)
        return self.sum_over_fibres(messages[None], len(values))[0]

    def _sum_harmonics(
        self,
        harmonics: Tensor,
        weights: Tensor | None,
        features: Tensor,
        coefficients: Tensor,
        values: Tensor,
    ) -> Tensor:
        messages = self._filtered(weights, features, coefficients, values)
        products = harmonics[..., None] * messages
        return self.sum_over_fibres(products, len(values)).movedim(0, -2)

    def _filtered(
        self, weights: Tensor | None, features: Tensor, coefficients: Tensor, values: Tensor
    ) -> Tensor:
        """Messages ``(*pairs, width)``, all of them at once."""
        filters = torch.einsum("k...,kc->...c", features, coefficients)
        messages = filters * self.pull_sources(values)
        if weights is not None:
            heads = messages.unflatten(-1, (len(weights), -1))
            messages = (heads * weights.movedim(0, -1)[..., None]).flatten(-2)
        return messages
