"""Invariants of the elements over the points: functions of the pose gᵢ⁻¹gⱼ."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.checks import check_number
from liegroups.compiling import constant_when_compiled
from liegroups.group import LieGroup
from liegroups.invariants.base import Invariant
from liegroups.lifting import Lifted
from liegroups.numerics import safe_norm
from liegroups.sees import Sees
from liegroups.spaces import HomogeneousSpace


@dataclass(frozen=True)
class RelativePose(Invariant):
    """Logarithm coordinates of gᵢ⁻¹gⱼ: the complete invariant of a pair of group elements.

    The logarithm jumps at the cut locus, such as half turns: between elements exactly half a
    turn apart, as symmetric clouds have them, rounding decides on which side the value falls.
    ``RelativeMatrix`` has no cut. Groups with elements that have no logarithm, such as O(n), E(n),
    SL(2) and Aff(n), are refused.

    Reference:
        Hutchinson et al. 2021, LieTransformer, section 3.2.
    """

    sees = Sees.ELEMENTS

    def dim(self, space: HomogeneousSpace) -> int:
        _require_logarithm(self, space)
        return space.group.dim

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        return space.group.relative_log(target.element, source.element)


@dataclass(frozen=True)
class RelativeMatrix(Invariant):
    """Entries of the matrix gᵢ⁻¹gⱼ, row after row: complete, and smooth everywhere.

    Of affine maps the last row, which is constant, is left out.
    """

    sees = Sees.ELEMENTS

    def dim(self, space: HomogeneousSpace) -> int:
        m = space.group.matrix_size
        return (m - 1) * m if isinstance(space.group, AffineGroup) else m * m

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        pose = space.group.relative(target.element, source.element)
        if isinstance(space.group, AffineGroup):
            pose = pose[..., :-1, :]
        return pose.flatten(-2)


@dataclass(frozen=True)
class AlgebraNorm(Invariant):
    """-|a|² for each block of the logarithm coordinates a = log(gᵢ⁻¹gⱼ).

    The blocks of an affine group are the translation, in squared units of length, and the
    linear part; of other groups all coordinates are one block. It is continuous at the cut locus
    of rotations, where the logarithm itself is not, and smooth where the group elements coincide.
    """

    sees = Sees.ELEMENTS

    def dim(self, space: HomogeneousSpace) -> int:
        if space.group.dim == 0:
            raise ValueError(
                f"AlgebraNorm needs a group with an algebra, but {space.group} has dimension 0; "
                "use RelativeMatrix."
            )
        _require_logarithm(self, space)
        return len(_blocks(space))

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        a = space.group.relative_log(target.element, source.element)
        parts = a.split(_blocks(space), -1)
        return -torch.stack([(part * part).sum(-1) for part in parts], -1)


@dataclass(frozen=True)
class PoseDistance(Invariant):
    """β|a_rotation| + (1 - β)|a_translation| of a = log(gᵢ⁻¹gⱼ), to choose neighbors by.

    For SE(n): rotations in rad, translations in the unit of the coordinates.

    Args:
        rotation: The share β of the rotation.

    Raises:
        ValueError: If ``rotation`` is not between 0 and 1.

    Reference:
        Hutchinson et al. 2021, LieTransformer, whose public code has β = 0.2.
    """

    rotation: float = 0.2

    def __post_init__(self) -> None:
        check_number("PoseDistance.rotation", self.rotation, least=0, most=1)

    sees = Sees.ELEMENTS

    def dim(self, space: HomogeneousSpace) -> int:
        if not isinstance(space.group, AffineGroup):
            raise ValueError(
                f"PoseDistance weighs rotations against translations; {space.group} has no "
                "translations. Use AlgebraNorm."
            )
        _require_logarithm(self, space)
        return 1

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        a = space.group.relative_log(target.element, source.element)
        n = space.point_dim
        translation, rotation = safe_norm(a[..., :n]), safe_norm(a[..., n:])
        return ((1 - self.rotation) * translation + self.rotation * rotation)[..., None]


def _require_logarithm(invariant: Invariant, space: HomogeneousSpace) -> None:
    if not _has_logarithms(space.group):
        raise ValueError(
            f"{type(invariant).__name__} is made from logarithms, which some elements of "
            f"{space.group} do not have: its exponential map is not onto. Use RelativeMatrix."
        )


@constant_when_compiled
def _has_logarithms(group: LieGroup) -> bool:
    """Whether 1000 samples of the group are all in the range of the exponential map."""
    g = group.sample((1000,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return bool(group.in_range_of_exp(g).all())


def _blocks(space: HomogeneousSpace) -> list[int]:
    """Numbers of coordinates of the blocks of the algebra, none of them zero."""
    group = space.group
    if isinstance(group, AffineGroup):
        return [size for size in (group.space_dim, group.linear.dim) if size]
    return [group.dim]
