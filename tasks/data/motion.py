"""Random motions of the clouds of a batch, by the group that is named."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups import LieGroup
from liegroups.affine import AffineGroup

__all__ = ["RandomMotion", "check_moves"]


@dataclass(frozen=True)
class RandomMotion:
    """Moves points by x ↦ Ax + b and vectors by x ↦ Ax, each cloud by an element of its own.

    Args:
        group: A group of such maps. Where it is compact, A is uniform in it.
        shift: Largest shift of a coordinate, where the group shifts: uniform in [-shift, shift).
    """

    group: LieGroup
    shift: float = 1.0

    def sample(
        self, count: int, generator: torch.Generator, like: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Draw elements.

        Args:
            count: How many.
            generator: Source of randomness.
            like: Gives the floating type and the device.

        Returns:
            Matrices A ``(count, n, n)``, and shifts b ``(count, n)`` where the group shifts.
        """
        group, shifts = self.group, isinstance(self.group, AffineGroup)
        if isinstance(group, AffineGroup):
            group = group.linear
        linear = group.sample((count,), generator=generator, dtype=like.dtype, device=like.device)
        if not shifts:
            return linear, None
        shift = torch.empty(linear.shape[:2], dtype=like.dtype, device=like.device)
        shift.uniform_(-1, 1, generator=generator)
        return linear, self.shift * shift


def check_moves(name: str, group: LieGroup | None, dim: int) -> None:
    """Raise ValueError unless a group moves points of some dimension by x ↦ Ax + b.

    Args:
        name: What the group is given as.
        group: The group; None moves nothing.
        dim: The dimension.
    """
    if group is None:
        return
    size = group.linear.matrix_size if isinstance(group, AffineGroup) else group.matrix_size
    if size != dim:
        raise ValueError(
            f"{name}: {group} does not move points of {dim} coordinates by matrices; accepted: "
            f"null, or a group that does, such as SO({dim}) or SE({dim})."
        )
