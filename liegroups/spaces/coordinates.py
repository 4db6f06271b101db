"""Rⁿ under the trivial group: the space for networks that respect no symmetry."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from liegroups.facts import once
from liegroups.group import HomogeneousSpace
from liegroups.trivial import Trivial


@dataclass(frozen=True)
class Coordinates(HomogeneousSpace):
    """Rⁿ under the trivial group: every point is an orbit, and its coordinates are its label.

    A network on it sees raw coordinates and is equivariant to nothing: the baseline for the
    others.

    Args:
        group: The trivial group of n × n matrices.
    """

    group: Trivial

    @property
    @once
    def point_dim(self) -> int:
        return self.group.matrix_size

    @property
    def stabilizer(self) -> Trivial:
        return self.group

    @property
    @once
    def orbit_label_dim(self) -> int:
        return self.point_dim

    @property
    def is_isometric(self) -> bool:
        return True

    @property
    def linear(self) -> Trivial:
        return self.group

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        self.check_points(x)
        self.group.check_element(g)
        return (g @ x[..., None])[..., 0]

    def section(self, x: Tensor) -> Tensor:
        self.check_points(x)
        return self.group.identity(x).expand(*x.shape[:-1], -1, -1)

    def representative(self, x: Tensor) -> Tensor:
        self.check_points(x)
        return x

    def embed(self, h: Tensor) -> Tensor:
        return h

    def orbit_label(self, x: Tensor) -> Tensor:
        self.check_points(x)
        return x

    def embed_linear(self, a: Tensor) -> Tensor:
        return a

    def vectors(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The vectors from the origin to the points."""
        self.check_points(x)
        return x[..., None, :]


Trivial.acts_on = Coordinates
