"""z-scores of sample moments, for laws about distributions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations_with_replacement

import torch
from torch import Tensor

from liegroups.testing.tolerances import Z_LIMIT

_PRODUCTS = 64


def moments(x: Tensor) -> Tensor:
    """The entries of each draw, and products of two: all of them, or 64 chosen at random.

    Args:
        x: Draws ``(draws, entries)``.

    Returns:
        Values ``(draws, moments)`` whose means are first and second moments.
    """
    pairs = torch.tensor(list(combinations_with_replacement(range(x.shape[1]), 2)))
    if len(pairs) > _PRODUCTS:
        generator = torch.Generator().manual_seed(0)
        pairs = pairs[torch.randperm(len(pairs), generator=generator)[:_PRODUCTS]]
    return torch.cat((x, x[:, pairs[:, 0]] * x[:, pairs[:, 1]]), 1)


def two_sample_z(x: Tensor, y: Tensor) -> Tensor:
    """z-scores of the difference of the means of two independent samples.

    Args:
        x: Draws ``(draws, moments)``.
        y: Draws ``(draws, moments)``.

    Returns:
        Scores ``(moments,)``; a difference as small as rounding scores about zero.
    """
    error = (x.var(0) / len(x) + y.var(0) / len(y)).sqrt()
    scale = torch.maximum(x.abs().amax(0), y.abs().amax(0)).clamp(min=1)
    return (x.mean(0) - y.mean(0)) / torch.maximum(error, 1e-9 * scale)


def confirmed_z(scores: Callable[[int], Tensor]) -> float:
    """Largest |z| among moments that miss twice, in independent draws; or the largest of one.

    Args:
        scores: Takes a seed, returns the z-scores ``(moments,)`` of draws from it.

    Returns:
        The largest |z| of the first draws if none of them misses, else the largest of the
        smaller of the two |z| of each moment.
    """
    first = scores(1).abs()
    if bool((first < Z_LIMIT).all()):
        return first.amax().item()
    return torch.minimum(first, scores(2).abs()).amax().item()
