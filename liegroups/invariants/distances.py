"""Invariants of the points alone: distances and the labels of their orbits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.checks import check_length
from liegroups.invariants.base import Invariant
from liegroups.lifting import Lifted
from liegroups.numerics import safe_norm
from liegroups.sees import Sees
from liegroups.spaces import HomogeneousSpace


@dataclass(frozen=True)
class Distance(Invariant):
    """Euclidean distance |xᵢ - xⱼ|, in the unit of the coordinates.

    It is not differentiable where the two points coincide; its derivatives are zero there.
    """

    sees = Sees.POINTS

    def dim(self, space: HomogeneousSpace) -> int:
        require_isometry(self, space)
        return 1

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        return safe_norm(target.point - source.point)[..., None]


@dataclass(frozen=True)
class InverseDistance(Invariant):
    """Softened inverse distance 1 / √(|xᵢ - xⱼ|² + ε²), smooth and finite for coincident points.

    Args:
        softening: The length ε, in the unit of the coordinates. Distances well above it are
            inverted to a relative accuracy of ε²/2r².

    Raises:
        ValueError: If ``softening`` is not positive.
    """

    softening: float = 0.1

    def __post_init__(self) -> None:
        check_length("InverseDistance.softening", self.softening)

    sees = Sees.POINTS

    def dim(self, space: HomogeneousSpace) -> int:
        require_isometry(self, space)
        return 1

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        difference = target.point - source.point
        squared = (difference * difference).sum(-1, keepdim=True)
        return (squared + self.softening**2).rsqrt()


@dataclass(frozen=True)
class OrbitLabels(Invariant):
    """The labels of both points' orbits, for example their distances from a fixed origin."""

    sees = Sees.POINTS

    def dim(self, space: HomogeneousSpace) -> int:
        if space.orbit_label_dim == 0:
            raise ValueError(
                f"OrbitLabels needs a space with several orbits, but {space} is one orbit; "
                "use RelativePose or, on Euclidean spaces, Distance or InverseDistance."
            )
        return 2 * space.orbit_label_dim

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        labels = space.orbit_label(target.point), space.orbit_label(source.point)
        pairs = torch.broadcast_shapes(*(label.shape for label in labels))
        return torch.cat([label.expand(pairs) for label in labels], -1)


def require_isometry(invariant: Invariant, space: HomogeneousSpace) -> None:
    """Raise ValueError unless the group preserves the distance of points."""
    if not space.is_isometric:
        raise ValueError(
            f"{type(invariant).__name__} is not an invariant of {space}: the group does not "
            "preserve Euclidean distance. Use RelativePose, or an invariant of your own."
        )
