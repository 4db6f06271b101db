"""Positions with a direction each, under rigid motions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.facts import once
from liegroups.group import HomogeneousSpace, LieGroup
from liegroups.spaces.euclidean import masked_mean
from liegroups.spaces.spheres import (
    beside_first_axis,
    direction,
    first_axis,
    first_axis_to,
    fixing_first_axis,
)


@dataclass(frozen=True)
class PositionOrientation(HomogeneousSpace):
    """Rⁿ × Sⁿ⁻¹ under SE(n) or E(n): (p, o) ↦ (Rp + t, Ro).

    A point holds the position, then the orientation, a unit vector. The base point is (0, e₁);
    its stabilizer, SO(n-1) or O(n-1), acts on the other axes. The section is the rotation in
    the plane of e₁ and o, then the translation by p. For n = 2 and SE(2) the stabilizer is
    trivial, and points are poses.

    Args:
        group: SE(n) or E(n).

    Raises:
        ValueError: If the linear parts are not all of SO(n) or O(n).

    Reference:
        Bekkers et al. 2024, Fast, Expressive SE(n) Equivariant Networks through
        Weight-Sharing in Position-Orientation Space.

    Example:
        >>> import torch
        >>> from liegroups import SE3
        >>> PositionOrientation(SE3()).section(torch.randn(5, 6)).shape
        torch.Size([5, 4, 4])
    """

    group: AffineGroup

    def __post_init__(self) -> None:
        fixing_first_axis(self.group.linear)

    @property
    @once
    def point_dim(self) -> int:
        return 2 * self.group.space_dim

    @property
    @once
    def stabilizer(self) -> LieGroup:
        return fixing_first_axis(self.group.linear)

    @property
    def is_isometric(self) -> bool:
        return True

    @property
    @once
    def linear(self) -> LieGroup:
        return self.group.linear

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        p, o = self.split_point(x)
        a, b = self.group.split(g)
        moved = (a @ p[..., None])[..., 0] + b, (a @ o[..., None])[..., 0]
        return torch.cat(moved, -1)

    def section(self, x: Tensor) -> Tensor:
        p, o = self.split_point(x)
        return self.group.join(first_axis_to(direction(o)), p)

    def representative(self, x: Tensor) -> Tensor:
        p, o = self.split_point(x)
        return torch.cat((torch.zeros_like(p), first_axis(o)), -1)

    def embed(self, h: Tensor) -> Tensor:
        return self.group.join(beside_first_axis(h), h.new_zeros(self.group.space_dim))

    def nearest_point(self, x: Tensor) -> Tensor:
        """The point with the same position and the orientation o / |o|, or e₁ where o is zero."""
        p, o = self.split_point(x)
        return torch.cat((p, direction(o)), -1)

    def embed_linear(self, a: Tensor) -> Tensor:
        return self.group.join(a, a.new_zeros(self.group.space_dim))

    def vectors(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The vectors from the mean position, in units of their size, and the orientations."""
        p, o = self.split_point(x)
        p = p - masked_mean(p, mask)
        squared = masked_mean((p * p).sum(-1, keepdim=True), mask)
        # Below this size the differences are what rounding leaves of equal positions.
        rounding = 64 * torch.finfo(x.dtype).eps * x.detach().abs().amax((-1, -2), True)
        far = squared > rounding**2
        p = torch.where(far, p, 0) / torch.where(far, squared, 1).sqrt()
        return torch.stack((p, o), -2)

    def split_point(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Positions ``(*batch, n)`` and orientations ``(*batch, n)`` of points."""
        self.check_points(x)
        n = self.group.space_dim
        return x[..., :n], x[..., n:]
