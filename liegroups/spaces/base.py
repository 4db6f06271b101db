"""The base class of spaces that a group acts on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from liegroups.equivariance import Equivariance
from liegroups.group import LieGroup

if TYPE_CHECKING:
    from liegroups.samplers import Sampler


class HomogeneousSpace(ABC):
    """A space of points, a group that acts on it from the left, and a section of the action.

    Points are tensors ``(*batch, point_dim)``. Each orbit has a representative point; the
    ``section`` picks one element s(x) that moves the representative of x's orbit to x, and all
    such elements are s(x)h, with h in the ``stabilizer`` of the representative. On a transitive
    space there is one orbit, and its representative is the base point.

    A space is a frozen dataclass, like the groups.

    Attributes:
        group: The group that acts.
    """

    # ---- declare -----------------------------------------------------------------------------

    group: LieGroup

    @property
    @abstractmethod
    def point_dim(self) -> int:
        """Number of coordinates of a point."""

    @property
    @abstractmethod
    def stabilizer(self) -> LieGroup:
        """The subgroup that fixes the representative of a regular orbit."""

    @property
    def orbit_label_dim(self) -> int:
        """Number of coordinates that tell the orbits apart; 0 where there is one orbit."""
        return 0

    @property
    def is_isometric(self) -> bool:
        """Whether the group preserves the Euclidean distance of the point coordinates."""
        return False

    @property
    def has_singular_orbits(self) -> bool:
        """Whether some points, see ``is_singular``, have a larger stabilizer than the rest."""
        return False

    @property
    def section_cocycle_is_constant(self) -> bool:
        """Whether g s(x) = s(gx) c(g) with a c that is the same for every x.

        Then one random stabilizer element can serve all points of a cloud at once.
        """
        return False

    @property
    def linear(self) -> LieGroup | None:
        """The group of n × n matrices that ``turn`` takes; None where there is none.

        Frames and finite orbits are taken from it.
        """
        return None

    # ---- must implement ----------------------------------------------------------------------

    @abstractmethod
    def act(self, g: Tensor, x: Tensor) -> Tensor:
        """Move points.

        Args:
            g: Elements ``(*batch, m, m)``.
            x: Points ``(*batch, point_dim)``.

        Returns:
            The points gx ``(*batch, point_dim)``.
        """

    @abstractmethod
    def section(self, x: Tensor) -> Tensor:
        """An element that moves the representative of the orbit of ``x`` to ``x``.

        Args:
            x: Points ``(*batch, point_dim)``.

        Returns:
            Elements ``(*batch, m, m)``.
        """

    @abstractmethod
    def representative(self, x: Tensor) -> Tensor:
        """The representative of the orbit of each point, ``(*batch, point_dim)``."""

    @abstractmethod
    def embed(self, h: Tensor) -> Tensor:
        """Stabilizer elements as elements of the group, ``(*batch, m, m)``."""

    # ---- may override ------------------------------------------------------------------------

    def orbit_label(self, x: Tensor) -> Tensor:
        """Invariant coordinates ``(*batch, orbit_label_dim)`` of the orbit of each point."""
        return x.new_zeros(*x.shape[:-1], 0)

    def is_singular(self, x: Tensor) -> Tensor:
        """Whether each point, ``(*batch,)``, is fixed by the whole group."""
        return torch.zeros(x.shape[:-1], dtype=torch.bool, device=x.device)

    def nearest_point(self, x: Tensor) -> Tensor:
        """A point near any coordinates ``(*batch, point_dim)``; the identity map on the space.

        A space whose points are not all of Rⁿ overrides it.
        """
        return x

    def cocycle(self, g: Tensor, x: Tensor) -> Tensor:
        """The c(g, x) with g s(x) = s(gx) c(g, x), which fixes the representative of x's orbit.

        Args:
            g: Elements ``(*batch, m, m)``.
            x: Points ``(*batch, point_dim)``.

        Returns:
            Elements ``(*batch, m, m)``.
        """
        return self.group.relative(self.section(self.act(g, x)), g @ self.section(x))

    def turn(self, a: Tensor) -> Tensor:
        """The element ``(*batch, m, m)`` that turns the space by ``a`` in ``linear``."""
        raise NotImplementedError(f"{self} has no group of matrices to turn by.")

    def vectors(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Vectors that a cloud spans, which turn with it and see nothing else of its motion.

        Args:
            x: Clouds ``(*batch, points, point_dim)``.
            mask: Booleans ``(*batch, points)``, True for points that exist; all when absent.

        Returns:
            One or several vectors a point, ``(*batch, points, count, n)``, on which ``linear``
            acts by multiplication.
        """
        raise NotImplementedError(f"{self} has no group of matrices that turns vectors.")

    # ---- derived -----------------------------------------------------------------------------

    def equivariance(self, sampler: Sampler) -> Equivariance:
        """What the lift by a sampler can promise on this space."""
        return sampler.equivariance(self)

    # ---- checks at the door ------------------------------------------------------------------

    def check_points(self, x: Tensor) -> None:
        """Raise ValueError unless the last axis of ``x`` holds the coordinates of points."""
        if x.ndim == 0 or x.shape[-1] != self.point_dim:
            raise ValueError(
                f"{self} has points of shape (*batch, {self.point_dim}); got {tuple(x.shape)}."
            )
