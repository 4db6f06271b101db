"""Checks of the inputs of networks."""

from __future__ import annotations

import torch
from torch import Tensor

from liegroups import HomogeneousSpace
from liegroups.compiling import has_no_values


def check_clouds(
    space: HomogeneousSpace,
    in_features: int,
    features: Tensor,
    points: Tensor,
    mask: Tensor | None,
) -> None:
    """Raise ValueError unless features, points and mask are those of clouds.

    Args:
        space: The space of the points.
        in_features: Number of features a point.
        features: ``(batch, points, in_features)``.
        points: ``(batch, points, point_dim)``.
        mask: Booleans ``(batch, points)``, or None.
    """
    if features.ndim != 3 or features.shape[-1] != in_features:
        raise ValueError(
            f"features must have shape (batch, points, {in_features}); got {tuple(features.shape)}."
        )
    if points.shape != (*features.shape[:2], space.point_dim):
        raise ValueError(
            f"points must have shape {(*features.shape[:2], space.point_dim)} "
            f"to go with the features; got {tuple(points.shape)}."
        )
    if mask is not None and (mask.shape != features.shape[:2] or mask.dtype != torch.bool):
        raise ValueError(
            f"mask must be booleans of shape {tuple(features.shape[:2])}; "
            f"got {mask.dtype} of shape {tuple(mask.shape)}."
        )
    if features.shape[1] == 0:
        raise ValueError("a cloud needs at least one point; got clouds of none.")
    if mask is not None and not has_no_values():
        empty = (~mask.any(1)).nonzero()
        if len(empty):
            raise ValueError(
                f"a cloud needs at least one point; cloud {empty[0].item()} of the batch has none."
            )
