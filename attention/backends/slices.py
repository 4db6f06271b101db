"""Maps over slices, with memory for one slice at a time in every derivative.

A map f takes a slice of some tensors and the whole of others, and gives a slice of its output and
a share of a sum. The derivative of such a map is one again: from slices of the inputs and of the
cotangents of the output, and the whole of the rest, it gives slices of the gradients of what was
sliced, and shares of the gradients of what was shared. So one autograd function, whose backward
pass is the same function of the derivative map, computes derivatives of every order slice by slice
and saves nothing but its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Tensors = tuple[Tensor, ...]
Map = Callable[[Tensors, Tensors], tuple[Tensors, Tensors]]


class _Plan(NamedTuple):
    """A map, the axes of its sliced inputs and outputs, and the size of a slice."""

    function: Map
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    size: int


def map_slices(
    function: Map,
    sliced: Sequence[Tensor],
    shared: Sequence[Tensor],
    *,
    axes: Sequence[int],
    output_axes: Sequence[int],
    size: int,
) -> tuple[Tensors, Tensors]:
    """Apply a map slice by slice.

    Args:
        function: Takes slices of ``sliced`` and all of ``shared``; returns slices of outputs and
            shares of sums, all of a floating type. A pure function of its arguments.
        sliced: Tensors of the same length along their axis.
        shared: Tensors that every slice sees.
        axes: The axis of each of ``sliced``.
        output_axes: The axis along which the slices of each output are joined.
        size: Length of a slice.

    Returns:
        The outputs, joined, and the sums.
    """
    plan = _Plan(function, tuple(axes), tuple(output_axes), size)
    results = _Sliced.apply(plan, *sliced, *shared)
    return results[: len(plan.outputs)], results[len(plan.outputs) :]


def map_slices_checkpointed(
    function: Map,
    sliced: Sequence[Tensor],
    shared: Sequence[Tensor],
    *,
    axes: Sequence[int],
    output_axes: Sequence[int],
    size: int,
) -> tuple[Tensors, Tensors]:
    """The same as ``map_slices`` in operations that ``torch.compile`` and ``torch.export`` follow.

    Memory is for one slice at a time in the first derivative, and for all of them from the
    second on.
    """
    plan = _Plan(function, tuple(axes), tuple(output_axes), size)

    def one(*tensors: Tensor) -> tuple[Tensors, Tensors]:
        return function(tensors[: len(sliced)], tensors[len(sliced) :])

    results = [
        checkpoint(one, *part, *shared, use_reentrant=False)
        for part in _slices(plan, tuple(sliced))
    ]
    pieces, shares = zip(*results, strict=True)
    outputs = zip(*pieces, strict=True)
    return (
        tuple(torch.cat(parts, a) for parts, a in zip(outputs, plan.outputs, strict=True)),
        tuple(sum(parts[1:], start=parts[0]) for parts in zip(*shares, strict=True)),
    )


class _Sliced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, *tensors: Tensor) -> Tensors:
        ctx.plan = plan
        ctx.save_for_backward(*tensors)
        sliced, shared = tensors[: len(plan.inputs)], tensors[len(plan.inputs) :]
        length = sliced[0].shape[plan.inputs[0]]
        outputs: list[Tensor] = []
        sums: list[Tensor] = []
        start = 0
        for part in _slices(plan, sliced):
            size = part[0].shape[plan.inputs[0]]
            pieces, shares = plan.function(part, shared)
            if not outputs and not sums:
                # Room for all at once: pieces that stayed between the temporary tensors of the
                # slices would keep the allocator from using their memory again.
                outputs = [
                    piece.new_empty([*piece.shape[:a], length, *piece.shape[a + 1 :]])
                    for piece, a in zip(pieces, plan.outputs, strict=True)
                ]
                sums = [torch.zeros_like(share) for share in shares]
            for output, piece, a in zip(outputs, pieces, plan.outputs, strict=True):
                output.narrow(a, start, size).copy_(piece)
            for total, share in zip(sums, shares, strict=True):
                total += share
            start += size
        return *outputs, *sums

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        tensors = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        count = len(plan.inputs)
        sliced, shared = tensors[:count], tensors[count:]
        for_outputs, for_sums = cotangents[: len(plan.outputs)], cotangents[len(plan.outputs) :]
        gradients = map_slices(
            _derivative(plan, wanted, len(shared)),
            (*sliced, *for_outputs),
            (*shared, *for_sums),
            axes=(*plan.inputs, *plan.outputs),
            output_axes=tuple(a for a, w in zip(plan.inputs, wanted[:count], strict=True) if w),
            size=plan.size,
        )
        found = iter((*gradients[0], *gradients[1]))
        return None, *(next(found) if w else None for w in wanted)


def _derivative(plan: _Plan, wanted: Sequence[bool], shared_count: int) -> Map:
    """The map from inputs and cotangents to the gradients of the inputs that are wanted."""
    count = len(plan.inputs)

    def derivative(sliced: Tensors, shared: Tensors) -> tuple[Tensors, Tensors]:
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            inputs = tuple(
                _leaf(x) if w and not (again and x.requires_grad) else x
                for x, w in zip((*sliced[:count], *shared[:shared_count]), wanted, strict=True)
            )
            outputs, sums = plan.function(inputs[:count], inputs[count:])
            results = [
                (result, cotangent)
                for result, cotangent in zip(
                    (*outputs, *sums), (*sliced[count:], *shared[shared_count:]), strict=True
                )
                if result.requires_grad
            ]
            sources = [x for x, w in zip(inputs, wanted, strict=True) if w]
            gradients = torch.autograd.grad(
                [result for result, _ in results],
                sources,
                [cotangent for _, cotangent in results],
                create_graph=again,
                materialize_grads=True,
            )
        of_sliced = sum(wanted[:count])
        return tuple(gradients[:of_sliced]), tuple(gradients[of_sliced:])

    return derivative


def _slices(plan: _Plan, sliced: Tensors) -> Iterator[Tensors]:
    length = sliced[0].shape[plan.inputs[0]]
    for start in range(0, length, plan.size):
        stop = min(start + plan.size, length)
        yield tuple(
            x.narrow(a, start, stop - start) for x, a in zip(sliced, plan.inputs, strict=True)
        )


def _leaf(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()
