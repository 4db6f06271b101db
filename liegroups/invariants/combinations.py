"""Several invariants as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

import torch
from torch import Tensor

from liegroups.invariants.base import Invariant
from liegroups.lifting import Lifted
from liegroups.sees import Sees
from liegroups.spaces import HomogeneousSpace


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
    def sees(self) -> Sees:
        return reduce(or_, (part.sees for part in self.invariants))

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
