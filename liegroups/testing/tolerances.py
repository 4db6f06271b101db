"""The tolerances of laws: multiples of the machine epsilon, in one table.

A law allows an error of ``ROUNDINGS[kind] · eps(dtype) · scale``, where the scale is the size of
the numbers that were rounded on the way (and, for logarithms, the condition number of the
exponential map). Nothing else in the kit is a free tolerance.
"""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import Tensor


class Kind(StrEnum):
    """The kind of computation behind a number, which decides how many roundings it may carry."""

    ARITHMETIC = "arithmetic"
    """Sums and products of entries."""
    TRANSCENDENTAL = "transcendental"
    """Exponentials and logarithms."""
    DERIVATIVE = "derivative"
    """First derivatives, by automatic differentiation."""
    SECOND_DERIVATIVE = "second derivative"
    """Second derivatives, by automatic differentiation."""


ROUNDINGS: dict[Kind, float] = {
    Kind.ARITHMETIC: 32,
    Kind.TRANSCENDENTAL: 64,
    Kind.DERIVATIVE: 256,
    Kind.SECOND_DERIVATIVE: 2048,
}

Z_LIMIT = 4.0
"""Largest z-score of a moment that is taken for chance."""

DRAWS = 100_000
"""Number of draws behind each tested moment."""

FINITE_DIFFERENCE = {"eps": 1e-6, "atol": 1e-6, "rtol": 1e-5}
"""Central differences in float64: the step, and the errors it leaves in a derivative."""

FAR_FROM_GROUP = 0.1
"""Size of the perturbation that takes a matrix clearly off a group."""

NEAR_CUT = 1e-4
"""Distance in rad from the cut locus below which finite differences would step across it."""


def allowance(kind: Kind, dtype: torch.dtype, scale: Tensor | float = 1.0) -> Tensor:
    """Largest error to accept, ``ROUNDINGS[kind] · eps(dtype) · scale``.

    Args:
        kind: The kind of computation.
        dtype: Floating type that it was computed in.
        scale: Size of the numbers on the way, any batch shape.

    Returns:
        The errors, float64, of the shape of ``scale``.

    Example:
        >>> import torch
        >>> allowance(Kind.ARITHMETIC, torch.float64).item() < 1e-14
        True
    """
    return ROUNDINGS[kind] * torch.finfo(dtype).eps * torch.as_tensor(scale).double()


def size(x: Tensor, axes: int) -> Tensor:
    """Largest magnitude over the last ``axes`` axes, at least one, in float64."""
    x = x.detach().double()
    if x.shape[x.ndim - axes :].numel() == 0:
        return x.new_ones(x.shape[: x.ndim - axes])
    return x.abs().amax(tuple(range(-axes, 0))).clamp(min=1)
