"""Invariants of two positions with a direction each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.invariants.base import Invariant
from liegroups.lifting import Lifted
from liegroups.numerics import safe_norm
from liegroups.sees import Sees
from liegroups.spaces import EuclideanSpace, HomogeneousSpace, PositionOrientation


@dataclass(frozen=True)
class RelativePositionOrientation(Invariant):
    """Three invariants of a source (pⱼ, oⱼ) as seen from a target (pᵢ, oᵢ) in Rⁿ × Sⁿ⁻¹.

    With d = pⱼ - pᵢ: the distance along the target's direction, ⟨d, oᵢ⟩; the distance from its
    line, |d - ⟨d, oᵢ⟩ oᵢ|, both in the unit of the coordinates; and ⟨oᵢ, oⱼ⟩. They are functions
    of the points, so they are exact without a lift. The second is not differentiable on the
    line; its derivatives are zero there.

    Reference:
        Bekkers et al. 2024, Fast, Expressive SE(n) Equivariant Networks through Weight-Sharing
        in Position-Orientation Space, theorem 1.

    Example:
        >>> import torch
        >>> from liegroups import SE3, lift
        >>> space = PositionOrientation(SE3())
        >>> target, source = torch.tensor([[0.0, 0, 0, 1, 0, 0], [3, 4, 0, 0, 1, 0]])
        >>> ends = (Lifted(space.section(x), x) for x in (target, source))
        >>> RelativePositionOrientation()(space, *ends)
        tensor([3., 4., 0.])
    """

    sees = Sees.POINTS

    def dim(self, space: HomogeneousSpace) -> int:
        _oriented(space)
        return 3

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        oriented = _oriented(space)
        p, o = oriented.split_point(target.point)
        return _three_invariants(p, o, *oriented.split_point(source.point))


@dataclass(frozen=True)
class LiftedPositionOrientation(Invariant):
    """``RelativePositionOrientation`` of points that are lifted to rigid motions.

    The orientation of an element (R, p) is its first axis, Re₁, so that points of Rⁿ with a grid
    of lifts become points of Rⁿ × Sⁿ⁻¹ with a grid of orientations, as in PONITA.
    """

    sees = Sees.ELEMENTS

    def dim(self, space: HomogeneousSpace) -> int:
        _rigid(space)
        return 3

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        group = _rigid(space)
        o, direction = (group.split(end.element)[0][..., 0] for end in (target, source))
        return _three_invariants(target.point, o, source.point, direction)


def _three_invariants(p: Tensor, o: Tensor, q: Tensor, direction: Tensor) -> Tensor:
    d = q - p
    along = (d * o).sum(-1)
    across = safe_norm(d - along[..., None] * o)
    return torch.stack((along, across, (o * direction).sum(-1).expand(along.shape)), -1)


def _oriented(space: HomogeneousSpace) -> PositionOrientation:
    if not isinstance(space, PositionOrientation):
        raise ValueError(
            "RelativePositionOrientation needs a space of positions and orientations, "
            f"PositionOrientation; {space} has none. Use Distance or RelativePose."
        )
    return space


def _rigid(space: HomogeneousSpace) -> AffineGroup:
    if not isinstance(space, EuclideanSpace) or not space.is_isometric:
        raise ValueError(
            "LiftedPositionOrientation needs points of Rⁿ under SE(n) or E(n), whose lifts have "
            f"axes; got {space}. Use RelativePose."
        )
    return space.group
