"""Large batches, a slice at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import torch
from torch import Tensor

G = TypeVar("G")

_SLICE = 2**16
"""Elements in a slice: a handful of their entries fits the cache of a processor's core."""


def in_slices(
    trailing: int,
) -> Callable[[Callable[[G, Tensor], Tensor]], Callable[[G, Tensor], Tensor]]:
    """Let a method that treats the elements of a batch one by one pass through it in slices.

    A closed form makes some fifty tensors of the batch's size. For a million elements each is
    read from and written to main memory, mostly to fresh pages of it; in slices they stay in the
    cache, which halves the time on a CPU. Where derivatives are recorded there is nothing to
    gain, since then the tensors are kept.

    Args:
        trailing: Number of axes of an element: 1 for coordinates, 2 for matrices.

    Returns:
        A decorator for methods of one tensor.
    """

    def decorate(method: Callable[[G, Tensor], Tensor]) -> Callable[[G, Tensor], Tensor]:
        @wraps(method)
        def sliced(self: G, x: Tensor) -> Tensor:
            batch = x.shape[: x.ndim - trailing]
            if (
                torch.compiler.is_compiling()
                or batch.numel() < 2 * _SLICE
                or x.device.type != "cpu"
                or (torch.is_grad_enabled() and x.requires_grad)
            ):
                return method(self, x)
            elements = x.flatten(0, len(batch) - 1)
            parts = [method(self, part) for part in elements.split(_SLICE)]
            return torch.cat(parts).unflatten(0, batch)

        return sliced

    return decorate
