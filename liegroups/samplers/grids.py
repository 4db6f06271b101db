"""Lifts by the same elements over every point: grids, given elements, finite subgroups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from liegroups.checks import check_count
from liegroups.compiling import constant_when_compiled
from liegroups.equivariance import Equivariance
from liegroups.finite import FiniteGroup
from liegroups.group import LieGroup
from liegroups.rotation import RotationGroup
from liegroups.samplers.base import Sampler, has_one_lift
from liegroups.so2 import planar_rotation
from liegroups.so3 import quaternion_to_matrix
from liegroups.spaces import HomogeneousSpace

# The positive root of ψ⁴ = ψ + 4, and √2: the constants of Alexa 2022, section 4.
_PSI = 1.533751168755204288118041413
_PHI = 2**0.5


class _SameForAll(Sampler):
    """The same elements of the stabilizer over every point."""

    def is_alike_on(self, space: HomogeneousSpace) -> bool:
        return True

    def equivariance(self, space: HomogeneousSpace) -> Equivariance:
        if has_one_lift(space):
            return Equivariance.EXACT
        if space.section_cocycle_is_constant:
            return Equivariance.EXACT_FOR_SUBGROUP
        return Equivariance.NONE


@dataclass(frozen=True)
class Grid(_SameForAll):
    """Elements spread evenly over the stabilizer SO(2) or SO(3), the same over every point.

    On SO(2) the angles 2πk/count; on SO(3) the super-Fibonacci spirals of Alexa (2022), which
    exist for every count. What moves is g s(x) = s(gx) c(g): the lift is exact for the g whose
    c(g) permutes the grid by multiplication from the left. On Rⁿ under SE(n) those are all
    translations and, for n = 2, the rotations by multiples of 2π/count about any center
    (``exact_for_subgroup``); a spiral on SO(3) is no subgroup, so for n = 3 the translations
    alone. Where c depends on x, as on spheres, nothing is promised (``none``). A quadrature
    error of the grid is all that is missing to exactness for the others.

    Args:
        count: Number of elements; a trivial stabilizer takes one.

    Raises:
        ValueError: If ``count`` is less than one; on use, if the stabilizer is another group.

    Reference:
        Alexa 2022, Super-Fibonacci Spirals: Fast, Low-Discrepancy Sampling of SO(3).

    Example:
        >>> import torch
        >>> from liegroups import SE2, lift
        >>> lift(SE2().default_space(), torch.zeros(1, 2), Grid(4)).element[0, 1].round(decimals=5)
        tensor([[ 0., -1.,  0.],
                [ 1.,  0.,  0.],
                [ 0.,  0.,  1.]])
    """

    count: int = 4

    def __post_init__(self) -> None:
        check_count("Grid.count", self.count)

    def count_on(self, space: HomogeneousSpace) -> int:
        return 1 if has_one_lift(space) else len(_spread(space.stabilizer, self.count))

    def __call__(
        self,
        space: HomogeneousSpace,
        points: Tensor,
        *,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Tensor:
        if has_one_lift(space):
            return space.group.identity(points)
        return space.embed(_spread(space.stabilizer, self.count).to(points))


@dataclass(frozen=True, init=False)
class GivenElements(_SameForAll):
    """Elements of the stabilizer that the user lists, the same over every point.

    On Rⁿ under SE(n) the lift is exact for the translations and for the rotations that permute
    the list by multiplication from the left (``exact_for_subgroup``); on a space whose section
    turns from point to point nothing is promised.

    Args:
        matrices: The elements, as nested lists of rows in the stabilizer's own matrices.

    Raises:
        ValueError: If there is none; on use, if one is not in the stabilizer.
    """

    matrices: tuple[tuple[tuple[float, ...], ...], ...]

    def __init__(self, matrices: Sequence[Sequence[Sequence[float]]] | Tensor) -> None:
        listed = matrices.tolist() if isinstance(matrices, Tensor) else matrices
        frozen = tuple(tuple(tuple(float(x) for x in row) for row in matrix) for matrix in listed)
        object.__setattr__(self, "matrices", frozen)
        if not frozen:
            raise ValueError("GivenElements takes at least one element; got none.")

    def count_on(self, space: HomogeneousSpace) -> int:
        return len(_listed(self, space.stabilizer))

    def __call__(
        self,
        space: HomogeneousSpace,
        points: Tensor,
        *,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Tensor:
        return space.embed(_listed(self, space.stabilizer).to(points))


@dataclass(frozen=True)
class FullOrbit(Sampler):
    """All elements of a finite subgroup D of the linear parts, as so many lifts of each point.

    Over x lie d s(d⁻¹x) for all d in D: the section, carried along by the subgroup. On Rⁿ under
    SE(n) they are (d, x). A g in D takes them to g d s((gd)⁻¹ gx), those over gx in another
    order, so the lift is exact for D, and on Rⁿ for the translations too: for Rⁿ ⋊ D. For other
    elements nothing is promised, however fine D is.

    Args:
        subgroup: The finite group, of n × n matrices where the points are in Rⁿ.

    Raises:
        ValueError: On use, if the space does not turn by the elements of the subgroup.

    Example:
        >>> import torch
        >>> from liegroups import SE3, lift
        >>> from liegroups.finite_rotations import OctahedralGroup
        >>> sampler = FullOrbit(OctahedralGroup())
        >>> lift(SE3().default_space(), torch.randn(5, 3), sampler).element.shape
        torch.Size([5, 24, 4, 4])

    Reference:
        Cohen and Welling 2016, Group Equivariant Convolutional Networks; Romero and Cordonnier
        2021, Group Equivariant Stand-Alone Self-Attention for Vision.
    """

    subgroup: FiniteGroup

    def is_alike_on(self, space: HomogeneousSpace) -> bool:
        return has_one_lift(space) or space.section_cocycle_is_constant

    def equivariance(self, space: HomogeneousSpace) -> Equivariance:
        return Equivariance.EXACT if has_one_lift(space) else Equivariance.EXACT_FOR_SUBGROUP

    def count_on(self, space: HomogeneousSpace) -> int:
        return 1 if has_one_lift(space) else len(_turns(self.subgroup, space))

    def __call__(
        self,
        space: HomogeneousSpace,
        points: Tensor,
        *,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Tensor:
        if has_one_lift(space):
            return space.group.identity(points)
        return carried(space, _turns(self.subgroup, space).to(points), points[..., None, :])


def carried(space: HomogeneousSpace, g: Tensor, x: Tensor) -> Tensor:
    """The h with s(x) h = g s(g⁻¹x): the section, carried along by g.

    Args:
        space: The space.
        g: Elements ``(*batch, m, m)``.
        x: Points ``(*batch, point_dim)``.

    Returns:
        Elements ``(*batch, m, m)`` that fix the representatives of the orbits of the points.
    """
    return space.cocycle(g, space.act(space.group.inverse(g), x))


@constant_when_compiled
def _spread(stabilizer: LieGroup, count: int) -> Tensor:
    """Elements ``(count, m, m)`` in float64, spread evenly."""
    k = torch.arange(count, dtype=torch.float64)
    if isinstance(stabilizer, RotationGroup) and stabilizer.matrix_size == 2:
        return planar_rotation(2 * pi * k / count)
    if isinstance(stabilizer, RotationGroup) and stabilizer.matrix_size == 3:
        s = k + 0.5
        t, turn = s / count, 2 * pi * s
        radius, rest = t.sqrt(), (1 - t).sqrt()
        alpha, beta = turn / _PHI, turn / _PSI
        parts = (radius * alpha.sin(), radius * alpha.cos(), rest * beta.sin(), rest * beta.cos())
        return quaternion_to_matrix(torch.stack(parts, -1))
    raise ValueError(
        f"Grid spreads elements over the stabilizers SO(2) and SO(3); got {stabilizer}. Use "
        "liegroups.FullOrbit of a finite subgroup, or list them with liegroups.GivenElements."
    )


@constant_when_compiled
def _listed(sampler: GivenElements, stabilizer: LieGroup) -> Tensor:
    """The elements ``(count, m, m)`` in float64, once they are known to be in the stabilizer."""
    elements = torch.tensor(sampler.matrices, dtype=torch.float64)
    inside = stabilizer.contains(elements)
    if not inside.all():
        outside = sampler.matrices[int((~inside).nonzero()[0])]
        raise ValueError(f"GivenElements lists {outside}, which is not in {stabilizer}.")
    return elements


@constant_when_compiled
def _turns(subgroup: FiniteGroup, space: HomogeneousSpace) -> Tensor:
    """The subgroup as elements ``(order, m, m)`` of the group of the space, in float64."""
    linear = space.linear
    if (
        linear is None
        or linear.matrix_size != subgroup.matrix_size
        or not linear.contains(subgroup.elements()).all()
    ):
        turns = "nothing" if linear is None else linear
        raise ValueError(
            f"FullOrbit takes a finite group of matrices that turn the space; {space} turns by "
            f"{turns}, which does not contain {subgroup}."
        )
    return space.embed_linear(subgroup.elements())
