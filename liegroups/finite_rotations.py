"""The finite groups of rotations of the plane and of space, and the symmetries of polygons."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from math import cos, pi, sin, sqrt

import torch
from torch import Tensor

from liegroups.checks import check_count
from liegroups.finite import FiniteGroup
from liegroups.so3 import quaternion_to_matrix


@dataclass(frozen=True)
class CyclicGroup(FiniteGroup):
    """C(n), the rotations of the plane by multiples of 2π/n.

    Elements are in the order of their angles, from 0.

    Args:
        n: Number of elements.

    Raises:
        ValueError: If ``n`` is less than one.

    Example:
        >>> CyclicGroup(4).elements()[1].int().tolist()
        [[0, -1], [1, 0]]
    """

    n: int

    def __post_init__(self) -> None:
        check_count("CyclicGroup.n", self.n)

    @property
    def matrix_size(self) -> int:
        return 2

    def elements(self) -> Tensor:
        turns = (_turn(k, self.n) for k in range(self.n))
        return torch.tensor([[[c, -s], [s, c]] for c, s in turns], dtype=torch.float64)


@dataclass(frozen=True)
class DihedralGroup(FiniteGroup):
    """D(n), the 2n symmetries of a regular polygon: rotations by 2πk/n and reflections.

    Elements are the rotations in the order of their angles, from 0, then the same rotations
    after the reflection y ↦ -y.

    Args:
        n: Number of rotations.

    Raises:
        ValueError: If ``n`` is less than one.

    Example:
        >>> DihedralGroup(3).order
        6
    """

    n: int

    def __post_init__(self) -> None:
        check_count("DihedralGroup.n", self.n)

    @property
    def matrix_size(self) -> int:
        return 2

    def elements(self) -> Tensor:
        rotations = CyclicGroup(self.n).elements()
        mirror = torch.tensor([1.0, -1.0], dtype=torch.float64)
        return torch.cat((rotations, rotations * mirror))


@dataclass(frozen=True)
class TetrahedralGroup(FiniteGroup):
    """T, the 12 rotations of a tetrahedron whose edges' midpoints lie on the coordinate axes.

    They are the even permutations of the axes with an even number of changed signs.

    Example:
        >>> TetrahedralGroup().order
        12
    """

    @property
    def matrix_size(self) -> int:
        return 3

    def elements(self) -> Tensor:
        g = OctahedralGroup().elements()
        even = torch.linalg.det(g.abs()) > 0
        return g[even]


@dataclass(frozen=True)
class OctahedralGroup(FiniteGroup):
    """O, the 24 rotations of a cube or an octahedron along the coordinate axes.

    They are the permutations of the axes with changed signs that have determinant one.

    Example:
        >>> OctahedralGroup().order
        24
    """

    @property
    def matrix_size(self) -> int:
        return 3

    def elements(self) -> Tensor:
        eye = torch.eye(3, dtype=torch.float64)
        signed = [
            torch.tensor(signs, dtype=torch.float64)[:, None] * eye[list(order)]
            for order in permutations(range(3))
            for signs in product((1, -1), repeat=3)
        ]
        g = torch.stack(signed)
        return g[torch.linalg.det(g) > 0]


@dataclass(frozen=True)
class IcosahedralGroup(FiniteGroup):
    """I, the 60 rotations of an icosahedron with vertices (0, ±1, ±φ) and cyclic permutations.

    φ is the golden ratio. The elements come from the 120 unit icosians, two a rotation.

    Reference:
        J. Conway and N. Sloane, Sphere Packings, Lattices and Groups (1999), section 8.2.1.

    Example:
        >>> IcosahedralGroup().order
        60
    """

    @property
    def matrix_size(self) -> int:
        return 3

    def elements(self) -> Tensor:
        golden = (1 + sqrt(5)) / 2
        units = [tuple(float(i == k) for i in range(4)) for k in range(4)]
        halves = list(product((0.5,), *[(0.5, -0.5)] * 3))
        golden_ones = []
        for order in permutations(range(4)):
            inversions = sum(order[i] > order[j] for i in range(4) for j in range(i + 1, 4))
            if inversions % 2:
                continue
            for signs in product((0.5, -0.5), repeat=3):
                values = (0.0, signs[0], signs[1] * golden, signs[2] / golden)
                golden_ones.append(tuple(values[k] for k in order))
        # One of each pair ±q: the first component that is not zero is positive.
        icosians = [q for q in units + halves + golden_ones if next(v for v in q if v) > 0]
        g = quaternion_to_matrix(torch.tensor(icosians, dtype=torch.float64))
        # The entries are halves of 0, 1, 2, φ, 1/φ with signs: rounded to there, none is off.
        exact = torch.tensor([0, 0.5, 1, golden / 2, 1 / (2 * golden)], dtype=torch.float64)
        nearest = (g.abs()[..., None] - exact).abs().argmin(-1)
        return exact[nearest] * g.sign()


def _turn(k: int, n: int) -> tuple[float, float]:
    """Cosine and sine of 2πk/n, exact at multiples of a quarter turn."""
    quarter, rest = divmod(4 * k, n)
    angle = pi / 2 * rest / n
    c, s = (cos(angle), sin(angle)) if rest else (1.0, 0.0)
    return ((c, s), (-s, c), (-c, -s), (s, -c))[quarter % 4]
