"""Invariants of pairs of lifted points: what a kernel may see.

An invariant I satisfies I(g·target, g·source) = I(target, source) for every element g. It has no
parameters and holds no group; it is called with the space and the two ends of the pairs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.lifting import Lifted
from liegroups.numerics import safe_norm
from liegroups.spaces import HomogeneousSpace


class Invariant(ABC):
    """A map from pairs of lifted points to features that the group leaves unchanged."""

    @property
    @abstractmethod
    def sees_lift(self) -> bool:
        """Whether the value depends on the elements over the points, or on the points alone.

        An invariant of the points alone is exact however the points were lifted.
        """

    @abstractmethod
    def dim(self, space: HomogeneousSpace) -> int:
        """Number of features a pair.

        Raises:
            ValueError: If the space does not have this invariant.
        """

    @abstractmethod
    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        """Evaluate the invariant.

        Args:
            space: The space of the points.
            target: The ends gᵢ, batch shape broadcastable with that of ``source``.
            source: The ends gⱼ.

        Returns:
            Features ``(*pairs, dim)``.
        """

    def head_mask(self, space: HomogeneousSpace, heads: int) -> Tensor:
        """Which of ``heads`` attention heads see which features, booleans ``(heads, dim)``."""
        return torch.ones(heads, self.dim(space), dtype=torch.bool)


@dataclass(frozen=True)
class RelativePose(Invariant):
    """Logarithm coordinates of gᵢ⁻¹gⱼ: the complete invariant of a pair of group elements.

    Reference:
        Hutchinson et al. 2021, LieTransformer, section 3.2.
    """

    @property
    def sees_lift(self) -> bool:
        return True

    def dim(self, space: HomogeneousSpace) -> int:
        return space.group.dim

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        return space.group.relative_log(target.element, source.element)


@dataclass(frozen=True)
class Distance(Invariant):
    """Euclidean distance |xᵢ - xⱼ|, in the unit of the coordinates.

    It is not differentiable where the two points coincide; its derivatives are zero there.
    """

    @property
    def sees_lift(self) -> bool:
        return False

    def dim(self, space: HomogeneousSpace) -> int:
        _require_isometry(self, space)
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
        if not self.softening > 0:
            raise ValueError(
                f"InverseDistance takes a softening above 0; got {self.softening}. Without it "
                "the value is infinite where points coincide."
            )

    @property
    def sees_lift(self) -> bool:
        return False

    def dim(self, space: HomogeneousSpace) -> int:
        _require_isometry(self, space)
        return 1

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        difference = target.point - source.point
        squared = (difference * difference).sum(-1, keepdim=True)
        return (squared + self.softening**2).rsqrt()


@dataclass(frozen=True)
class OrbitLabels(Invariant):
    """The labels of both points' orbits, for example their distances from a fixed origin."""

    @property
    def sees_lift(self) -> bool:
        return False

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


@dataclass(frozen=True)
class Concat(Invariant):
    """Several invariants side by side, all of them seen by every head.

    Args:
        invariants: The parts, in order.

    Raises:
        ValueError: If there is none.
    """

    invariants: tuple[Invariant, ...]

    def __init__(self, invariants: Sequence[Invariant]) -> None:
        object.__setattr__(self, "invariants", tuple(invariants))
        if not self.invariants:
            raise ValueError(f"{type(self).__name__} takes at least one invariant; got none.")

    @property
    def sees_lift(self) -> bool:
        return any(part.sees_lift for part in self.invariants)

    def dim(self, space: HomogeneousSpace) -> int:
        return sum(part.dim(space) for part in self.invariants)

    def __call__(self, space: HomogeneousSpace, target: Lifted, source: Lifted) -> Tensor:
        return torch.cat([part(space, target, source) for part in self.invariants], -1)

    def head_mask(self, space: HomogeneousSpace, heads: int) -> Tensor:
        return torch.cat([part.head_mask(space, heads) for part in self.invariants], -1)


@dataclass(frozen=True, init=False)
class PerHead(Concat):
    """A mix by heads: the heads are divided evenly, in order, among the invariants.

    ``PerHead([Distance(), InverseDistance()])`` gives half the heads the distance and half its
    inverse (Mather 2023, section 4.2).

    Args:
        invariants: One for each group of heads.
    """

    def head_mask(self, space: HomogeneousSpace, heads: int) -> Tensor:
        parts = len(self.invariants)
        if heads % parts:
            raise ValueError(
                f"PerHead divides the heads evenly among its {parts} invariants; "
                f"{heads} heads are not divisible by {parts}."
            )
        share = heads // parts
        return torch.block_diag(
            *(part.head_mask(space, share).to(torch.uint8) for part in self.invariants)
        ).bool()


def _require_isometry(invariant: Invariant, space: HomogeneousSpace) -> None:
    if not space.is_isometric:
        raise ValueError(
            f"{type(invariant).__name__} is not an invariant of {space}: the group does not "
            "preserve Euclidean distance. Use RelativePose."
        )
