"""A group as the space that it acts on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.facts import once
from liegroups.group import HomogeneousSpace, LieGroup
from liegroups.trivial import Trivial


@dataclass(frozen=True)
class GroupItself(HomogeneousSpace):
    """The group, acting on itself from the left; points are its matrices, row after row.

    The base point is the identity, its stabilizer is trivial, the section is the element itself:
    every lift is exact and has one element a point.

    Args:
        group: The group.

    Example:
        >>> import torch
        >>> from liegroups import SE3
        >>> space = GroupItself(SE3())
        >>> poses = SE3().sample((5,))
        >>> torch.equal(space.section(poses.flatten(-2)), poses)
        True
    """

    group: LieGroup

    @property
    @once
    def point_dim(self) -> int:
        return self.group.matrix_size**2

    @property
    @once
    def stabilizer(self) -> LieGroup:
        return Trivial(self.group.matrix_size)

    @property
    @once
    def is_isometric(self) -> bool:
        """Translations leave the difference of two matrices alone, orthogonal ones its length."""
        if isinstance(self.group, AffineGroup):
            return self.group.linear.is_orthogonal
        return self.group.is_orthogonal

    @property
    def section_cocycle_is_constant(self) -> bool:
        return True

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        return self.group.compose(g, self.section(x)).flatten(-2)

    def section(self, x: Tensor) -> Tensor:
        self.check_points(x)
        return x.unflatten(-1, (self.group.matrix_size, self.group.matrix_size))

    def representative(self, x: Tensor) -> Tensor:
        self.check_points(x)
        return self.group.identity(x).flatten().expand(x.shape)

    def embed(self, h: Tensor) -> Tensor:
        return h

    def nearest_point(self, x: Tensor) -> Tensor:
        """The projection of the matrix on the group."""
        return self.group.project(self.section(x)).flatten(-2)

    def cocycle(self, g: Tensor, x: Tensor) -> Tensor:
        """The identity: g s(x) = s(gx)."""
        batch = self.act(g, x).shape[:-1]
        return self.group.identity(x).expand(*batch, *g.shape[-2:])
