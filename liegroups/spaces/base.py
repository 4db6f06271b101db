"""The base class of spaces that a group acts on."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from liegroups.group import LieGroup


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

    # ---- checks at the door ------------------------------------------------------------------

    def check_points(self, x: Tensor) -> None:
        """Raise ValueError unless the last axis of ``x`` holds the coordinates of points."""
        if x.ndim == 0 or x.shape[-1] != self.point_dim:
            raise ValueError(
                f"{self} has points of shape (*batch, {self.point_dim}); got {tuple(x.shape)}."
            )
