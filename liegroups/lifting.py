"""Lifting points to group elements: s(x)h, with h chosen by a sampler."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from liegroups.compiling import has_no_values
from liegroups.samplers import Haar, Sampler
from liegroups.spaces import HomogeneousSpace

__all__ = ["Haar", "Lifted", "Sampler", "lift"]


class Lifted(NamedTuple):
    """Points together with group elements over them.

    Attributes:
        element: Elements ``(*batch, m, m)``, each moving its orbit's representative to ``point``.
        point: Points ``(*batch, point_dim)``.
    """

    element: Tensor
    point: Tensor


def lift(
    space: HomogeneousSpace,
    points: Tensor,
    sampler: Sampler | None = None,
    *,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
    fixed: bool = False,
) -> Lifted:
    """Lift clouds of points to group elements over them.

    Args:
        space: The space of the points.
        points: Clouds ``(*batch, points, point_dim)``.
        sampler: Chooses the elements over each point; when absent, the section alone.
        mask: Booleans ``(*batch, points)``, True for points that exist; all when absent. The
            elements over a point never depend on those that do not.
        generator: Source of randomness; torch's own when absent.
        fixed: Use the sampler's fixed table in place of random draws.

    Returns:
        Elements ``(*batch, points, count, m, m)`` and their points
        ``(*batch, points, count, point_dim)``.

    Raises:
        ValueError: If the points have the wrong shape, are not of floating type, or are not
            finite; or if the mask is not made of booleans of the right shape.

    Example:
        >>> import torch
        >>> from liegroups import SE3
        >>> lifted = lift(SE3().default_space(), torch.randn(2, 5, 3), Haar(count=4))
        >>> lifted.element.shape
        torch.Size([2, 5, 4, 4, 4])
    """
    space.check_points(points)
    if points.ndim < 2:
        raise ValueError(
            f"lift takes clouds of shape (*batch, points, {space.point_dim}); "
            f"got {tuple(points.shape)}."
        )
    if not points.is_floating_point():
        raise ValueError(f"lift takes points of a floating type; got {points.dtype}.")
    if mask is not None and (mask.shape != points.shape[:-1] or mask.dtype != torch.bool):
        raise ValueError(
            f"lift takes a mask of booleans of shape {tuple(points.shape[:-1])}; "
            f"got {mask.dtype} of shape {tuple(mask.shape)}."
        )
    if not has_no_values() and not points.isfinite().all():
        bad = (~points.isfinite()).any(-1).nonzero()[0].tolist()
        raise ValueError(
            f"lift takes finite points; the point at index {bad} is {points[tuple(bad)].tolist()}."
        )
    element = space.section(points)[..., None, :, :]
    if sampler is not None:
        h = sampler(space, points, mask=mask, generator=generator, fixed=fixed)
        element = space.group.compose(element, h)
    expanded = points[..., None, :].expand(*element.shape[:-2], space.point_dim)
    return Lifted(element, expanded)
