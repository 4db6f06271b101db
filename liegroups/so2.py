"""Rotations of the plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from liegroups.rotation import RotationGroup


@dataclass(frozen=True)
class SO2(RotationGroup):
    """SO(2), rotations of the plane; the coordinate is the angle in rad, counter-clockwise.

    Example:
        >>> import torch
        >>> group = SO2()
        >>> round(group.log(group.exp(torch.tensor([1.5]))).item(), 6)
        1.5
    """

    @property
    def matrix_size(self) -> int:
        return 2

    @property
    def basis_labels(self) -> tuple[str, ...]:
        return ("r",)

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return planar_rotation(a[..., 0])

    def log(self, g: Tensor) -> Tensor:
        """Angle in [-π, π] rad, shape ``(*batch, 1)``."""
        self.check_element(g)
        return torch.atan2(g[..., 1, 0], g[..., 0, 0])[..., None]

    def sample(
        self,
        shape: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Haar measure: the angle is uniform."""
        u = torch.rand(tuple(shape), generator=generator, dtype=dtype, device=device)
        return planar_rotation(2 * pi * u)


def planar_rotation(angle: Tensor) -> Tensor:
    """Matrices ``(*batch, 2, 2)`` that rotate the plane by angles ``(*batch,)`` in rad."""
    c, s = angle.cos(), angle.sin()
    return torch.stack((c, -s, s, c), -1).unflatten(-1, (2, 2))
