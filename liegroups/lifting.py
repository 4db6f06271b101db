"""Lifting points to group elements: s(x)h, with h chosen by a sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from liegroups.equivariance import Equivariance
from liegroups.spaces import HomogeneousSpace

_TABLE_ROWS = 64


class Lifted(NamedTuple):
    """Points together with group elements over them.

    Attributes:
        element: Elements ``(*batch, m, m)``, each moving its orbit's representative to ``point``.
        point: Points ``(*batch, point_dim)``.
    """

    element: Tensor
    point: Tensor


class Sampler(ABC):
    """A rule that chooses the elements over each point of a cloud."""

    @abstractmethod
    def equivariance(self, space: HomogeneousSpace) -> Equivariance:
        """What the lift by this sampler can promise on a space."""

    @abstractmethod
    def count_on(self, space: HomogeneousSpace) -> int:
        """Number of elements over each point."""

    @abstractmethod
    def __call__(
        self,
        space: HomogeneousSpace,
        points: Tensor,
        *,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Tensor:
        """Choose elements h that fix the representatives of the orbits of the points.

        Args:
            space: The space of the points.
            points: Clouds ``(*batch, points, point_dim)``.
            generator: Source of randomness; torch's own when absent.
            fixed: Draw nothing: use a table that depends only on a point's place in its cloud,
                so that the same input gives the same output, alone or in a batch.

        Returns:
            Elements of the group, broadcastable to ``(*batch, points, count, m, m)``.
        """


@dataclass(frozen=True)
class Haar(Sampler):
    """Independent draws from Haar measure on the stabilizer of each point.

    A lift by Haar samples is equivariant in distribution: the law of the lifted cloud of gx is
    g times that of x. Where the stabilizer is trivial nothing is random and the lift is exact.
    Points with a larger stabilizer, such as the origin under rotations, get Haar draws of the
    whole group.

    Args:
        count: Number of draws a point; a trivial stabilizer needs only one and takes only one.
        shared: Use the same draws for all points of a cloud. On Rⁿ under SE(n) this keeps the
            law invariant; under SO(n) it does not, and ``equivariance`` says so.
        seed: Seed of the fixed table that evaluation uses.

    Raises:
        ValueError: If ``count`` is less than one.
    """

    count: int = 4
    shared: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"Haar takes a count of at least 1; got {self.count}.")

    def equivariance(self, space: HomogeneousSpace) -> Equivariance:
        if space.stabilizer.dim == 0 and not space.has_singular_orbits:
            return Equivariance.EXACT
        if self.shared and not space.section_cocycle_is_constant:
            return Equivariance.NONE
        return Equivariance.IN_DISTRIBUTION

    def count_on(self, space: HomogeneousSpace) -> int:
        return 1 if space.stabilizer.dim == 0 else self.count

    def __call__(
        self,
        space: HomogeneousSpace,
        points: Tensor,
        *,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Tensor:
        if not space.stabilizer.is_compact:
            raise ValueError(
                f"the stabilizer {space.stabilizer} of {space} is not compact, so Haar measure "
                "on it is no probability and cannot be drawn from."
            )
        *batch, size, _ = points.shape
        shape = [1 if self.shared else size, self.count_on(space)]
        if fixed:
            blocks = max(1, -(-shape[0] // _TABLE_ROWS))  # One also for an empty cloud.
            tables = _fixed_tables(self, space, blocks)
            drawn = tuple(table[: shape[0]].to(points) for table in tables)
        else:
            drawn = _draw(space, [*batch, *shape], generator, points.dtype, points.device)
        if not space.has_singular_orbits:
            return drawn[0]
        singular = space.is_singular(points)[..., None, None, None]
        return torch.where(singular, drawn[1], drawn[0])


def _draw(
    space: HomogeneousSpace,
    shape: list[int],
    generator: torch.Generator | None,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, ...]:
    """Haar draws for regular points and, where the space has them, for singular points."""
    stabilizer = space.stabilizer.sample(shape, generator=generator, dtype=dtype, device=device)
    regular = space.embed(stabilizer)
    if not space.has_singular_orbits:
        return (regular,)
    return regular, space.group.sample(shape, generator=generator, dtype=dtype, device=device)


@torch.compiler.assume_constant_result
def _fixed_tables(haar: Haar, space: HomogeneousSpace, blocks: int) -> tuple[Tensor, ...]:
    """The table of draws for evaluation, made in blocks, so that a longer one begins the same."""
    made = [
        _draw(
            space,
            [_TABLE_ROWS, haar.count_on(space)],
            torch.Generator().manual_seed(haar.seed + block),
            torch.float64,
            torch.device("cpu"),
        )
        for block in range(blocks)
    ]
    return tuple(torch.cat(rows) for rows in zip(*made, strict=True))


def lift(
    space: HomogeneousSpace,
    points: Tensor,
    sampler: Sampler | None = None,
    *,
    generator: torch.Generator | None = None,
    fixed: bool = False,
) -> Lifted:
    """Lift clouds of points to group elements over them.

    Args:
        space: The space of the points.
        points: Clouds ``(*batch, points, point_dim)``.
        sampler: Chooses the elements over each point; when absent, the section alone.
        generator: Source of randomness; torch's own when absent.
        fixed: Use the sampler's fixed table in place of random draws.

    Returns:
        Elements ``(*batch, points, count, m, m)`` and their points
        ``(*batch, points, count, point_dim)``.

    Raises:
        ValueError: If the points have the wrong shape, are not of floating type, or are not
            finite.

    Example:
        >>> import torch
        >>> from liegroups import SE3
        >>> lifted = lift(SE3().default_space(), torch.randn(2, 5, 3), Haar(count=4))
        >>> lifted.element.shape
        torch.Size([2, 5, 4, 4, 4])
    """
    space.check_points(points)
    if points.ndim < 2:
        raise ValueError(
            f"lift takes clouds of shape (*batch, points, {space.point_dim}); "
            f"got {tuple(points.shape)}."
        )
    if not points.is_floating_point():
        raise ValueError(f"lift takes points of a floating type; got {points.dtype}.")
    if not torch.compiler.is_compiling() and not points.isfinite().all():
        bad = (~points.isfinite()).any(-1).nonzero()[0].tolist()
        raise ValueError(
            f"lift takes finite points; the point at index {bad} is {points[tuple(bad)].tolist()}."
        )
    element = space.section(points)[..., None, :, :]
    if sampler is not None:
        h = sampler(space, points, generator=generator, fixed=fixed)
        element = space.group.compose(element, h)
    expanded = points[..., None, :].expand(*element.shape[:-2], space.point_dim)
    return Lifted(element, expanded)
