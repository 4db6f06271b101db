"""The dense layout: every target with every source of its cloud, and a mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Literal

import torch
from torch import Tensor

from attention.neighborhoods.base import Neighborhood
from attention.neighborhoods.filtering import Slices


@dataclass(frozen=True, eq=False)
class DenseNeighborhood(Neighborhood):
    """Pairs ``(batch, targets, sources)``, a mask saying which of them exist.

    Attributes:
        mask: Booleans broadcastable to ``(batch, targets, sources)``, True for pairs that exist;
            None when all do.
        cutoff: Weights of the pairs, ``(batch, targets, sources)``; None when all are 1.
        targets: Booleans ``(batch, targets)``, True for targets whose result counts; that of the
            others may be anything finite. None when all count.
    """

    mask: Tensor | None = None
    cutoff: Tensor | None = None
    targets: Tensor | None = None

    @property
    def is_of_whole_clouds(self) -> bool:
        """Whether every target has every point of its cloud that exists, all with weight 1."""
        return self.cutoff is None and (self.mask is None or self.mask.shape[-2] == 1)

    @property
    def counted_targets(self) -> Tensor | None:
        return self.targets

    def between_lifts(self, lifts: int) -> DenseNeighborhood:
        return DenseNeighborhood(
            None if self.mask is None else _repeated(self.mask, lifts),
            None if self.cutoff is None else _repeated(self.cutoff, lifts),
            None if self.targets is None else self.targets.repeat_interleave(lifts, -1),
        )

    def pull_targets(self, x: Tensor, axis: int = 0) -> Tensor:
        return x.unsqueeze(axis + 2)

    def pull_sources(self, x: Tensor, axis: int = 0) -> Tensor:
        return x.unsqueeze(axis + 1)

    def sum_over_fibres(self, messages: Tensor, batch: int) -> Tensor:
        return messages.sum(-2)

    def reduce(self, values: Tensor, how: Literal["sum", "max"]) -> Tensor:
        return values.sum(-1, keepdim=True) if how == "sum" else values.amax(-1, keepdim=True)

    # ---- for speed: matrix products, which store no channels of pairs ------------------------

    def inner(self, target: Tensor, source: Tensor) -> Tensor:
        return target @ source.mT

    def contract(self, target: Tensor, features: Tensor) -> Tensor:
        return torch.einsum("hbnc,cbnm->hbnm", target, features)

    def softmax(self, logits: Tensor) -> Tensor:
        if self.cutoff is not None:
            return super().softmax(logits)
        if self.mask is not None:
            logits = logits.masked_fill(~self.mask, torch.finfo(logits.dtype).min)
        return logits.softmax(-1)

    def push_forward(self, weights: Tensor, values: Tensor) -> Tensor:
        received = weights @ values
        if self.mask is None:
            return received
        return received.masked_fill(~self.mask.any(-1, keepdim=True), 0)

    def convolve(
        self, weights: Tensor, features: Tensor, coefficients: Tensor, values: Tensor
    ) -> Tensor:
        received = super().convolve(weights, features, coefficients, values)
        if self.mask is None:
            return received
        return received.masked_fill(~self.mask.any(-1, keepdim=True), 0)

    def convolve_harmonics(
        self,
        harmonics: Tensor,
        weights: Tensor,
        features: Tensor,
        coefficients: Tensor,
        values: Tensor,
    ) -> Tensor:
        received = super().convolve_harmonics(harmonics, weights, features, coefficients, values)
        if self.mask is None:
            return received
        return received.masked_fill(~self.mask.any(-1)[..., None, None], 0)

    def slices(self, features: Tensor, batch: int) -> tuple[int, Slices]:
        _, targets, sources = features.shape[1:]
        return targets, partial(_slices, (batch, targets, sources))


@dataclass(frozen=True)
class _Block:
    """The pairs of some targets of some clouds: rows of one cloud, or all of several."""

    clouds: slice
    targets: slice
    shape: tuple[int, int, int]

    @property
    def size(self) -> int:
        return prod(self.shape)

    def of_pairs(self, x: Tensor) -> Tensor:
        return x[:, self.clouds, self.targets].view(len(x), -1)

    def multiply_targets(self, messages: Tensor, x: Tensor) -> None:
        self._pairs(messages).mul_(x[self.clouds, self.targets, None])

    def multiply_sources(self, messages: Tensor, x: Tensor) -> None:
        self._pairs(messages).mul_(x[self.clouds, None])

    def outer(self, target: Tensor, source: Tensor, messages: Tensor) -> None:
        targets, sources = target[self.clouds, self.targets, None], source[self.clouds, None]
        torch.mul(targets, sources, out=self._pairs(messages))

    def add_to_targets(self, messages: Tensor, total: Tensor) -> None:
        total[self.clouds, self.targets] += self._pairs(messages).sum(2)

    def add_to_sources(self, messages: Tensor, total: Tensor) -> None:
        total[self.clouds] += self._pairs(messages).sum(1)

    def push_harmonics(self, messages: Tensor, harmonics: Tensor, total: Tensor) -> None:
        own = total[self.clouds, self.targets]
        rows = self._rows(harmonics) @ self._rows_of(messages)
        own += rows.view(own.shape)

    def pull_harmonics(self, x: Tensor, harmonics: Tensor, messages: Tensor) -> None:
        own = x[self.clouds, self.targets].flatten(0, 1)
        torch.bmm(self._rows(harmonics).mT, own, out=self._rows_of(messages))

    def inner_harmonics(self, x: Tensor, messages: Tensor) -> Tensor:
        own = x[self.clouds, self.targets].flatten(0, 1)  # (clouds · targets, components, width)
        return (own @ self._rows_of(messages).mT).movedim(1, 0).flatten(1)

    def _pairs(self, messages: Tensor) -> Tensor:
        return messages.view(*self.shape, messages.shape[-1])

    def _rows_of(self, messages: Tensor) -> Tensor:
        clouds, targets, sources = self.shape
        return messages.view(clouds * targets, sources, -1)

    def _rows(self, harmonics: Tensor) -> Tensor:
        clouds, targets, sources = self.shape
        return harmonics.view(-1, clouds * targets, sources).movedim(0, 1).contiguous()


def _slices(shape: tuple[int, int, int], size: int) -> Iterator[_Block]:
    """Blocks of pairs ``(batch, targets, sources)``, of at most ``size`` or of one target."""
    batch, targets, sources = shape
    rows = min(targets, max(1, size // max(1, sources)))
    clouds = max(1, size // max(1, targets * sources)) if rows == targets else 1
    for b in range(0, batch, clouds):
        for n in range(0, targets, rows):
            c, r = min(b + clouds, batch), min(n + rows, targets)
            yield _Block(slice(b, c), slice(n, r), (c - b, r - n, sources))


def _repeated(x: Tensor, lifts: int) -> Tensor:
    """Pairs ``(batch, targets or 1, sources)``, each end repeated for its lifts."""
    x = x.repeat_interleave(lifts, -1)
    return x if x.shape[-2] == 1 else x.repeat_interleave(lifts, -2)
