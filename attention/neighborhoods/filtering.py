"""Sums over fibres of values that are multiplied, channel by channel, by a filter of each pair.

The filters of all pairs, a number for each channel, are the largest tensor of a convolution. They
are products of few features of the pairs with coefficients. So the forward pass makes them, uses
them and forgets them, some pairs at a time, in one buffer that fits the processor's cache; the
backward pass makes them again. Where the backward pass is itself to be differentiated it is done in
operations that can be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

_CACHE_ELEMENTS = {"cpu": 2**19}
_ELEMENTS = 2**25  # On other devices, which have no use for small pieces.


class Slice(Protocol):
    """Some of the pairs of a layout, laid flat, and what is done along them."""

    @property
    def size(self) -> int:
        """Number of these pairs, n."""

    def of_pairs(self, x: Tensor) -> Tensor:
        """The part ``(channels, n)`` of these pairs, a view, of ``(channels, *pairs)``."""

    def multiply_targets(self, messages: Tensor, x: Tensor) -> None:
        """Multiply messages ``(n, width)`` by the ``(batch, targets, width)`` that they go to."""

    def multiply_sources(self, messages: Tensor, x: Tensor) -> None:
        """Multiply messages ``(n, width)`` by the ``(batch, sources, width)`` that they are of."""

    def outer(self, target: Tensor, source: Tensor, messages: Tensor) -> None:
        """Overwrite messages ``(n, width)`` with the products of targets and sources."""

    def add_to_targets(self, messages: Tensor, total: Tensor) -> None:
        """Add messages ``(n, width)`` to the ``(batch, targets, width)`` that they go to."""

    def add_to_sources(self, messages: Tensor, total: Tensor) -> None:
        """Add messages ``(n, width)`` to the ``(batch, sources, width)`` that they are of."""

    def push_harmonics(self, messages: Tensor, harmonics: Tensor, total: Tensor) -> None:
        """Add harmonics ``(components, n)`` times messages to their targets.

        Those are ``(batch, targets, components, width)``.
        """

    def pull_harmonics(self, x: Tensor, harmonics: Tensor, messages: Tensor) -> None:
        """Overwrite messages with the contraction of harmonics and targets: what pulls back."""

    def inner_harmonics(self, x: Tensor, messages: Tensor) -> Tensor:
        """Inner products of messages with their targets, ``(components, n)``."""


Plain = Callable[[Tensor | None, Tensor, Tensor, Tensor], Tensor]
Slices = Callable[[int], Iterable[Slice]]


def sum_filtered(
    plain: Plain,
    slices: Slices,
    targets: int,
    weights: Tensor | None,
    features: Tensor,
    coefficients: Tensor,
    values: Tensor,
) -> Tensor:
    """Sum over the fibres, slice by slice.

    Args:
        plain: The same sum, of the last four arguments, in operations that can be differentiated.
        slices: Gives the slices of the pairs, each of at most so many pairs where that can be.
        targets: Number of targets of a cloud.
        weights: ``(heads, *pairs)``, zero off the fibres; None where all are one.
        features: ``(features, *pairs)``.
        coefficients: ``(features, width)``.
        values: ``(batch, sources, width)``.

    Returns:
        ``(batch, targets, width)``.
    """
    weights = None if weights is None else weights.contiguous()
    received: Tensor = _Filtered.apply(
        plain, slices, targets, weights, features.contiguous(), coefficients, values
    )
    return received


class _Filtered(torch.autograd.Function):
    @staticmethod
    def forward(
        plain: Plain,
        slices: Slices,
        targets: int,
        weights: Tensor | None,
        features: Tensor,
        coefficients: Tensor,
        values: Tensor,
    ) -> Tensor:
        batch, _, width = values.shape
        received = values.new_zeros(batch, targets, width)
        buffer = values.new_empty(0)
        for part in slices(_pairs_at_a_time(values)):
            buffer, messages = _room(buffer, part.size, width)
            torch.mm(part.of_pairs(features).T, coefficients, out=messages)
            part.multiply_sources(messages, values)
            if weights is not None:
                _weigh(messages, part.of_pairs(weights))
            part.add_to_targets(messages, received)
        return received

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.plain, ctx.slices, _, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled():
            found = _differentiable(ctx.plain, wanted, ctx.saved_tensors, gradient)
        else:
            weights, features, coefficients, values = ctx.saved_tensors
            inputs = (weights, features, coefficients, values)
            found = _in_place(ctx.slices, wanted, inputs, gradient)
        return None, None, None, *found

    @staticmethod
    def vmap(info: Any, axes: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        """Over batches of all tensors: without buffers, which torch.vmap cannot write to."""
        return torch.func.vmap(inputs[0], axes[3:])(*inputs[3:]), 0


def sum_filtered_harmonics(
    plain: Callable[..., Tensor],
    slices: Slices,
    targets: int,
    harmonics: Tensor,
    weights: Tensor | None,
    features: Tensor,
    coefficients: Tensor,
    values: Tensor,
) -> Tensor:
    """Sum as ``sum_filtered`` does, each message times each of several functions of its pair.

    Args:
        plain: The same sum, of the last five arguments, in operations that can be differentiated.
        slices: Gives the slices of the pairs.
        targets: Number of targets of a cloud.
        harmonics: ``(components, *pairs)``.
        weights: ``(heads, *pairs)``, zero off the fibres; None where all are one.
        features: ``(features, *pairs)``, zero off the fibres where there are no weights.
        coefficients: ``(features, width)``.
        values: ``(batch, sources, width)``.

    Returns:
        ``(batch, targets, components, width)``.
    """
    weights = None if weights is None else weights.contiguous()
    received: Tensor = _FilteredHarmonics.apply(
        *(plain, slices, targets, harmonics.contiguous(), weights, features.contiguous()),
        *(coefficients, values),
    )
    return received


class _FilteredHarmonics(torch.autograd.Function):
    @staticmethod
    def forward(
        plain: Callable[..., Tensor],
        slices: Slices,
        targets: int,
        harmonics: Tensor,
        weights: Tensor | None,
        features: Tensor,
        coefficients: Tensor,
        values: Tensor,
    ) -> Tensor:
        batch, _, width = values.shape
        received = values.new_zeros(batch, targets, len(harmonics), width)
        buffer = values.new_empty(0)
        for part in slices(_pairs_at_a_time(values)):
            buffer, messages = _room(buffer, part.size, width)
            torch.mm(part.of_pairs(features).T, coefficients, out=messages)
            part.multiply_sources(messages, values)
            if weights is not None:
                _weigh(messages, part.of_pairs(weights))
            part.push_harmonics(messages, part.of_pairs(harmonics), received)
        return received

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.plain, ctx.slices, _, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[3:]
        if torch.is_grad_enabled():
            found = _differentiable(ctx.plain, wanted, ctx.saved_tensors, gradient)
        else:
            found = _harmonics_in_place(ctx.slices, wanted, ctx.saved_tensors, gradient)
        return None, None, None, *found

    @staticmethod
    def vmap(info: Any, axes: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        """Over batches of all tensors: without buffers, which torch.vmap cannot write to."""
        return torch.func.vmap(inputs[0], axes[3:])(*inputs[3:]), 0


def _harmonics_in_place(
    slices: Slices, wanted: tuple[bool, ...], inputs: tuple[Any, ...], gradient: Tensor
) -> list[Tensor | None]:
    """Gradients of what ``sum_filtered_harmonics`` takes, some pairs at a time."""
    harmonics, weights, features, coefficients, values = inputs
    width = values.shape[-1]
    of_harmonics, of_weights, of_features, of_coefficients, of_values = found = [
        x.new_zeros(x.shape) if x is not None and w else None
        for x, w in zip(inputs, wanted, strict=True)
    ]
    first = second = values.new_empty(0)
    for part in slices(_pairs_at_a_time(values)):
        first, filters = _room(first, part.size, width)
        second, sent = _room(second, part.size, width)
        own, own_harmonics = part.of_pairs(features), part.of_pairs(harmonics)
        weight = None if weights is None else part.of_pairs(weights)
        torch.mm(own.T, coefficients, out=filters)
        if of_harmonics is not None:
            sent.copy_(filters)
            part.multiply_sources(sent, values)
            if weight is not None:
                _weigh(sent, weight)
            part.of_pairs(of_harmonics).copy_(part.inner_harmonics(gradient, sent))
        part.pull_harmonics(gradient, own_harmonics, sent)
        filters *= sent
        if of_weights is not None:
            products = filters.clone()
            part.multiply_sources(products, values)
            heads = products.unflatten(1, (len(of_weights), -1))
            part.of_pairs(of_weights).copy_(heads.sum(-1).T)
        if of_values is not None:
            if weight is not None:
                _weigh(filters, weight)
            part.add_to_sources(filters, of_values)
        if of_coefficients is not None or of_features is not None:
            part.multiply_sources(sent, values)
            if weight is not None:
                _weigh(sent, weight)
        if of_coefficients is not None:
            of_coefficients.addmm_(own, sent)
        if of_features is not None:
            torch.mm(coefficients, sent.T, out=part.of_pairs(of_features))
    return found


def _differentiable(
    plain: Callable[..., Tensor],
    wanted: tuple[bool, ...],
    inputs: tuple[Tensor, ...],
    gradient: Tensor,
) -> list[Tensor | None]:
    """Gradients of the inputs, in operations that can be differentiated."""
    # Views: where one input is made of another, its gradient is not to come back through that.
    views = [x.view_as(x) if w else x for x, w in zip(inputs, wanted, strict=True)]
    tensors = [x for x, w in zip(views, wanted, strict=True) if w]
    found = iter(torch.autograd.grad(plain(*views), tensors, gradient, create_graph=True))
    return [next(found) if w else None for w in wanted]


def _in_place(
    slices: Slices,
    wanted: tuple[bool, ...],
    inputs: tuple[Tensor | None, Tensor, Tensor, Tensor],
    gradient: Tensor,
) -> list[Tensor | None]:
    """The same, some pairs at a time."""
    weights, features, coefficients, values = inputs
    width = values.shape[-1]
    of_weights, of_features, of_coefficients, of_values = found = [
        x.new_zeros(x.shape) if x is not None and w else None
        for x, w in zip(inputs, wanted, strict=True)
    ]
    buffer = values.new_empty(0)
    for part in slices(_pairs_at_a_time(values)):
        buffer, messages = _room(buffer, part.size, width)
        own = part.of_pairs(features)
        weight = None if weights is None else part.of_pairs(weights)
        if of_weights is not None:
            torch.mm(own.T, coefficients, out=messages)
            part.multiply_targets(messages, gradient)
            part.multiply_sources(messages, values)
            heads = messages.unflatten(1, (len(of_weights), -1))
            part.of_pairs(of_weights).copy_(heads.sum(-1).T)
        if of_values is not None:
            torch.mm(own.T, coefficients, out=messages)
            part.multiply_targets(messages, gradient)
            if weight is not None:
                _weigh(messages, weight)
            part.add_to_sources(messages, of_values)
        if of_coefficients is not None or of_features is not None:
            part.outer(gradient, values, messages)
            if weight is not None:
                _weigh(messages, weight)
        if of_coefficients is not None:
            of_coefficients.addmm_(own, messages)
        if of_features is not None:
            torch.mm(coefficients, messages.T, out=part.of_pairs(of_features))
    return found


def _pairs_at_a_time(values: Tensor) -> int:
    elements = _CACHE_ELEMENTS.get(values.device.type, _ELEMENTS)
    return max(1, elements // values.shape[-1])


def _room(buffer: Tensor, count: int, width: int) -> tuple[Tensor, Tensor]:
    """A buffer of at least that size, the same where it is one, and its part for messages."""
    if buffer.numel() < count * width:
        buffer = buffer.new_empty(count * width)
    return buffer, buffer[: count * width].view(count, width)


def _weigh(messages: Tensor, weight: Tensor) -> None:
    """Multiply messages ``(n, width)`` by the weights ``(heads, n)`` of their heads."""
    messages.unflatten(1, (len(weight), -1)).mul_(weight.T[..., None])
