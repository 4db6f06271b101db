"""What a network sees of a pair, and how it lifts, where neither is named."""

from __future__ import annotations

from dataclasses import dataclass

from liegroups.group import HomogeneousSpace
from liegroups.invariants import (
    Distance,
    Invariant,
    RelativeMatrix,
    RelativePose,
    RelativePositionOrientation,
)
from liegroups.samplers import Frames, Haar, Sampler
from liegroups.samplers.base import has_one_lift
from liegroups.sees import Sees
from liegroups.spaces import PositionOrientation

__all__ = ["Recommended", "pose_invariant", "recommended"]

_LIFTS = 4  # As Hutchinson et al. 2021 draw them, where there is no frame.


@dataclass(frozen=True)
class Recommended:
    """An invariant and a lift that go together.

    Args:
        invariant: What the kernel sees of a pair.
        lift: Chooses the elements over each point, for invariants that see them.
    """

    invariant: Invariant
    lift: Sampler

    def __str__(self) -> str:
        if Sees.ELEMENTS not in self.invariant.sees:
            return str(self.invariant)
        return f"{self.invariant} with the lift {self.lift}"


def recommended(space: HomogeneousSpace) -> Recommended:
    """The invariant and the lift to begin with on a space: exact wherever there is such a choice.

    - Where one element lies over each point, as under translations, the whole relative pose.
    - In the plane, and where the group does not keep distances, the whole pose with ``Frames``,
      which need one lift.
    - Elsewhere ``Distance``; of positions with an orientation, all that is invariant of a pair.
    - Where a cloud has no frame, as under shears, ``Haar``. That is not exact.

    A space of your own with an attribute ``recommended`` says it itself.

    Args:
        space: The space of the points.

    Example:
        >>> import liegroups as lg
        >>> recommended(lg.SE3().default_space()).invariant
        Distance()
        >>> recommended(lg.SE2().default_space())
        Recommended(invariant=RelativePose(), lift=Frames(radius=None))
    """
    own = getattr(space, "recommended", None)
    if isinstance(own, Recommended):
        return own
    lift = _exact_lift(space)
    if has_one_lift(space):
        return Recommended(pose_invariant(space), lift)
    if isinstance(space, PositionOrientation):
        return Recommended(RelativePositionOrientation(), lift)
    if space.is_isometric and space.point_dim > 2:
        return Recommended(Distance(), lift)
    return Recommended(pose_invariant(space), lift)


def pose_invariant(space: HomogeneousSpace) -> Invariant:
    """The whole relative pose: its logarithm, or the matrix where some have none."""
    try:
        RelativePose().dim(space)
    except ValueError:
        return RelativeMatrix()
    return RelativePose()


def _exact_lift(space: HomogeneousSpace) -> Sampler:
    """Frames, where clouds have them."""
    try:
        Frames().equivariance(space)
    except ValueError:
        return Haar(_LIFTS)
    return Frames()
