"""Translations."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from liegroups.affine import AffineGroup
from liegroups.checks import DIMENSION, check_count
from liegroups.facts import once
from liegroups.trivial import Trivial


@dataclass(frozen=True, eq=False)
class Translation(AffineGroup):
    """T(n), translations of Rⁿ; coordinates are the displacement.

    ``T2()`` and ``T3()`` are short names for ``Translation(2)`` and ``Translation(3)``, and
    equal to them.

    Args:
        n: Dimension of the space.

    Raises:
        ValueError: If ``n`` is less than one.

    Example:
        >>> import torch
        >>> T2().exp(torch.tensor([3.0, 4.0])).tolist()
        [[1.0, 0.0, 3.0], [0.0, 1.0, 4.0], [0.0, 0.0, 1.0]]
    """

    n: int

    def __post_init__(self) -> None:
        check_count("Translation.n", self.n, most=DIMENSION)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Translation) and self.n == other.n

    def __hash__(self) -> int:
        return hash((Translation, self.n))

    @property
    @once
    def linear(self) -> Trivial:
        return Trivial(self.n)

    @property
    def is_abelian(self) -> bool:
        return True

    def exp(self, a: Tensor) -> Tensor:
        self.check_tangent(a)
        return self.join(self.linear.identity(a), a)

    def log(self, g: Tensor) -> Tensor:
        return self.split(g)[1]

    def relative_log(self, g: Tensor, h: Tensor) -> Tensor:
        return self.split(h)[1] - self.split(g)[1]


@dataclass(frozen=True, eq=False)
class T2(Translation):
    """T(2), translations of the plane."""

    n: int = field(default=2, init=False, repr=False)


@dataclass(frozen=True, eq=False)
class T3(Translation):
    """T(3), translations of space."""

    n: int = field(default=3, init=False, repr=False)
