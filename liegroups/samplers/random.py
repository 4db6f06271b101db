"""Random lifts: Haar measure on compact stabilizers, a named proposal on the others."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from liegroups.checks import check_count, check_length, check_seed
from liegroups.compiling import constant_when_compiled
from liegroups.deprecation import RenamedMethods
from liegroups.equivariance import Equivariance
from liegroups.samplers.base import Sampler, has_one_lift
from liegroups.spaces import HomogeneousSpace

_TABLE_ROWS = 64


class RandomSampler(RenamedMethods, Sampler):
    """Independent draws over each point; at evaluation from a table that a seed makes.

    Attributes:
        count: Number of draws a point; a trivial stabilizer needs only one and takes only one.
        shared: Use the same draws for all points of a cloud.
        seed: Seed of the fixed table that evaluation uses.
    """

    renamed_methods = {"draw": "sample"}  # noqa: RUF012

    count: int
    shared: bool
    seed: int

    @abstractmethod
    def sample(
        self,
        space: HomogeneousSpace,
        shape: list[int],
        generator: torch.Generator | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> tuple[Tensor, ...]:
        """Elements ``(*shape, m, m)`` over regular points, and over singular ones if there are."""

    def count_on(self, space: HomogeneousSpace) -> int:
        return 1 if space.stabilizer.is_trivial else self.count

    def __call__(
        self,
        space: HomogeneousSpace,
        points: Tensor,
        *,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        fixed: bool = False,
    ) -> Tensor:
        *batch, size, _ = points.shape
        shape = [1 if self.shared else size, self.count_on(space)]
        if fixed:
            blocks = 1
            while blocks * _TABLE_ROWS < shape[0]:  # A number even where torch.compile has none
                blocks *= 2  # for the shape; it recompiles only when a cloud outgrows the table.
            tables = _fixed_tables(self, space, blocks)
            drawn = [table[: shape[0]].to(points) for table in tables]
        else:
            drawn = list(
                self.sample(space, [*batch, *shape], generator, points.dtype, points.device)
            )
        if not space.has_singular_orbits:
            return drawn[0]
        singular = space.is_singular(points)[..., None, None, None]
        return torch.where(singular, drawn[1], drawn[0])


@dataclass(frozen=True)
class Haar(RandomSampler):
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
        ValueError: If ``count`` is less than one; on use, if the stabilizer is not compact.
    """

    count: int = 4
    shared: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("Haar.count", self.count)
        check_seed("Haar.seed", self.seed)

    def equivariance(self, space: HomogeneousSpace) -> Equivariance:
        if has_one_lift(space):
            return Equivariance.EXACT
        if not space.stabilizer.is_compact:
            return Equivariance.NONE
        if self.shared and not space.section_cocycle_is_constant:
            return Equivariance.NONE
        return Equivariance.IN_DISTRIBUTION

    def sample(
        self,
        space: HomogeneousSpace,
        shape: list[int],
        generator: torch.Generator | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> tuple[Tensor, ...]:
        if not space.stabilizer.is_compact:
            raise ValueError(
                f"the stabilizer {space.stabilizer} of {space} is not compact, so Haar measure "
                "on it is no probability and cannot be drawn from. Name a probability to draw "
                "from instead: liegroups.Proposal(scale=...)."
            )
        h = space.stabilizer.sample(shape, generator=generator, dtype=dtype, device=device)
        if not space.has_singular_orbits:
            return (space.embed(h),)
        g = space.group.sample(shape, generator=generator, dtype=dtype, device=device)
        return space.embed(h), g


@dataclass(frozen=True)
class Proposal(RandomSampler):
    """Independent draws exp(a) in the stabilizer, a normal with standard deviation ``scale``.

    For stabilizers without a Haar probability, such as the scalings of Sim(n) or the linear
    parts of Aff(n). No proposal on them is invariant, so nothing is promised: a network that is
    lifted this way has at best learned the group's symmetry near the identity. Elements outside
    the range of the exponential map are never drawn.

    Args:
        scale: Standard deviation of each algebra coordinate of the stabilizer.
        count: Number of draws a point; a trivial stabilizer needs only one and takes only one.
        shared: Use the same draws for all points of a cloud.
        seed: Seed of the fixed table that evaluation uses.

    Raises:
        ValueError: If ``count`` is less than one or ``scale`` is not positive.

    Example:
        >>> from liegroups import SE3
        >>> Proposal(scale=0.5).equivariance(SE3().default_space())
        <Equivariance.NONE: 'none'>
    """

    scale: float = 1.0
    count: int = 4
    shared: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("Proposal.count", self.count)
        check_length("Proposal.scale", self.scale)
        check_seed("Proposal.seed", self.seed)

    def equivariance(self, space: HomogeneousSpace) -> Equivariance:
        return Equivariance.EXACT if has_one_lift(space) else Equivariance.NONE

    def sample(
        self,
        space: HomogeneousSpace,
        shape: list[int],
        generator: torch.Generator | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> tuple[Tensor, ...]:
        def normal(dim: int) -> Tensor:
            a = torch.randn((*shape, dim), generator=generator, dtype=dtype, device=device)
            return self.scale * a

        h = space.embed(space.stabilizer.exp(normal(space.stabilizer.dim)))
        if not space.has_singular_orbits:
            return (h,)
        return h, space.group.exp(normal(space.group.dim))


@constant_when_compiled
def _fixed_tables(
    sampler: RandomSampler, space: HomogeneousSpace, blocks: int
) -> tuple[Tensor, ...]:
    """The table of draws for evaluation, made in blocks, so that a longer one begins the same."""
    generator = torch.Generator().manual_seed(sampler.seed)
    shape = [_TABLE_ROWS, sampler.count_on(space)]
    made = [
        sampler.sample(space, shape, generator, torch.float64, torch.device("cpu"))
        for _ in range(blocks)
    ]
    return tuple(torch.cat(rows) for rows in zip(*made, strict=True))
