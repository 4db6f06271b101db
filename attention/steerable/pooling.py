"""From an output at each point to one of the cloud."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

Pooling = Literal["none", "sum", "mean"]


def check_pooling(pooling: str) -> None:
    """Refuse what is no pooling.

    Raises:
        ValueError: If it is none of ``none``, ``sum`` and ``mean``.
    """
    if pooling not in get_args(Pooling):
        raise ValueError(f"pooling is 'none', 'sum' or 'mean'; got {pooling!r}.")


def pool(output: Tensor, mask: Tensor | None, pooling: str | None) -> Tensor:
    """Pool over the points that exist.

    Args:
        output: ``(batch, points, features)``.
        mask: Booleans ``(batch, points)``, True for points that exist; all when absent.
        pooling: ``sum`` or ``mean``; None for the output itself.

    Returns:
        ``(batch, features)``, or, where nothing is pooled, the output with zeros at points that do
        not exist.
    """
    if mask is not None:
        output = output.masked_fill(~mask[..., None], 0)
    if pooling is None:
        return output
    total = output.sum(1)
    if pooling == "sum":
        return total
    return total / (output.shape[1] if mask is None else mask.sum(1, keepdim=True))
