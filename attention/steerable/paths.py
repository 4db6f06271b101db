"""The paths of a product: which types and harmonics give which types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from e3nn.o3 import Irreps

from attention.steerable.irreps import Layout

DEGREE: Final = 11
"""Largest degree, that of e3nn's table of coefficients."""


class Path(NamedTuple):
    """A type of the input, a type of the output, and the harmonics that lead from one to the other.

    Attributes:
        source: Number of the type of the input.
        target: Number of the type of the output.
        degrees: The degrees of the harmonics, ascending.
    """

    source: int
    target: int
    degrees: tuple[int, ...]


def paths_between(
    irreps_in: Irreps, irreps_out: Irreps, max_degree: int, parity: bool
) -> tuple[Path, ...]:
    """All paths, those to the same type of the output side by side.

    Args:
        irreps_in: Types of the features.
        irreps_out: Types of the product.
        max_degree: Largest degree of the harmonics.
        parity: Whether harmonics of degree l have the parity (-1)ˡ; even when not.
    """
    found = []
    for target, (_, ir_out) in enumerate(Irreps(irreps_out)):
        for source, (_, ir_in) in enumerate(Irreps(irreps_in)):
            degrees = tuple(
                degree
                for degree in degrees_between(ir_in.l, ir_out.l, max_degree)
                if ir_in.p * (-1) ** (degree * parity) == ir_out.p
            )
            if degrees:
                found.append(Path(source, target, degrees))
    return tuple(found)


def degrees_between(a: int, c: int, max_degree: int) -> range:
    """Degrees of harmonics that take type a to type c."""
    return range(abs(a - c), min(a + c, max_degree) + 1)


def columns_of(paths: Sequence[Path], types_in: Layout, types_out: Layout) -> list[int]:
    """For each type of the output, the number of weights that a channel of it takes."""
    columns = [0] * len(types_out)
    for path in paths:
        columns[path.target] += types_in[path.source].channels * len(path.degrees)
    return columns
