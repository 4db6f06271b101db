"""The distance of a map from commuting with a group, or with a pair of maps, as numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from liegroups.group import LieGroup
from liegroups.spaces import HomogeneousSpace


class Discrepancy(NamedTuple):
    """The difference of the two sides of an equation, computed in float64.

    Attributes:
        relative: ``absolute`` over ``scale``; ``absolute`` itself where the scale is zero.
        absolute: Largest difference of an entry.
        scale: Largest magnitude of an entry of the expected side.
    """

    relative: float
    absolute: float
    scale: float


def commutation_error(
    f: Callable[[Tensor], Tensor],
    on_input: Callable[[Tensor], Tensor],
    on_output: Callable[[Tensor], Tensor],
    inputs: Tensor,
) -> Discrepancy:
    """Measure how far f(on_input(x)) is from on_output(f(x)).

    The two maps need not come from a group: a rescaling, a permutation of the points or a
    projection will do. Maps are applied in float64 and their results rounded to the dtype of
    ``inputs`` before ``f`` sees them, so what is measured is ``f`` in its own precision.

    Args:
        f: The map to test.
        on_input: The map of the inputs.
        on_output: The map of the output that must go with it.
        inputs: Inputs of ``f``.

    Returns:
        The discrepancy, max |f(on_input(x)) - on_output(f(x))| relative to max |on_output(f(x))|.

    Raises:
        ValueError: If the two sides have different shapes, or are not finite.

    Example:
        >>> import torch
        >>> x = torch.randn(5, 3)
        >>> reverse = lambda x: x.flip(0)
        >>> commutation_error(lambda x: x.cumsum(0), reverse, reverse, x).relative > 0.1
        True
        >>> commutation_error(torch.sin, reverse, reverse, x).relative
        0.0
    """
    with torch.no_grad():
        moved = f(on_input(inputs.double()).to(inputs.dtype)).double()
        expected = on_output(f(inputs).double())
    if moved.shape != expected.shape:
        raise ValueError(
            f"f(on_input(x)) has shape {tuple(moved.shape)}, but on_output(f(x)) has shape "
            f"{tuple(expected.shape)}."
        )
    for side, value in (("f(on_input(x))", moved), ("on_output(f(x))", expected)):
        if not value.isfinite().all():
            raise ValueError(f"{side} is not finite, so there is no error to measure.")
    if moved.numel() == 0:
        return Discrepancy(0.0, 0.0, 0.0)
    absolute = (moved - expected).abs().amax().item()
    scale = expected.abs().amax().item()
    return Discrepancy(absolute / scale if scale else absolute, absolute, scale)


def equivariance_error(
    f: Callable[[Tensor], Tensor],
    on: HomogeneousSpace | LieGroup,
    inputs: Tensor,
    *,
    on_output: Callable[[Tensor, Tensor], Tensor] | None = None,
    elements: Tensor | None = None,
    seed: int = 0,
) -> Discrepancy:
    """Measure how far f(gx) is from ρ(g) f(x), for the worst of several elements g.

    Args:
        f: The map to test.
        on: The space that the inputs are points of; or a group, for its default space.
        inputs: Points ``(..., point_dim)``.
        on_output: The representation ρ, takes an element ``(m, m)`` and an output; the identity
            when absent, so that invariance is measured.
        elements: Elements ``(count, m, m)`` to move by; when absent, four that the group samples.
        seed: Seed of those samples.

    Returns:
        The discrepancy with the largest relative error. An ``f`` that draws random numbers has
        to draw the same ones in each call.

    Raises:
        ValueError: If there are no elements, or as `commutation_error` does.

    Example:
        >>> import torch
        >>> from liegroups import SE3
        >>> x = torch.randn(5, 3)
        >>> equivariance_error(torch.pdist, SE3(), x).relative < 1e-5
        True
        >>> equivariance_error(torch.sin, SE3(), x).relative > 1e-2
        True
    """
    space = on.default_space() if isinstance(on, LieGroup) else on
    if elements is None:
        generator = torch.Generator().manual_seed(seed)
        elements = space.group.sample((4,), generator=generator, dtype=torch.float64)
    if elements.ndim != 3 or len(elements) == 0:
        raise ValueError(
            f"equivariance_error takes elements of shape (count, m, m) with a count of at least 1; "
            f"got {tuple(elements.shape)}."
        )

    def error(g: Tensor) -> Discrepancy:
        def on_result(y: Tensor) -> Tensor:
            return y if on_output is None else on_output(g, y)

        return commutation_error(f, lambda x: space.act(g, x), on_result, inputs)

    errors = [error(g) for g in elements.to(inputs.device).double()]
    return max(errors, key=lambda discrepancy: discrepancy.relative)
