"""The product of features with spherical harmonics, weighted for each pair of points.

For a channel u of type l₁ and harmonics of degree l₂, the Clebsch-Gordan coefficients C give every
type l₃ between |l₁ - l₂| and l₁ + l₂:

    outₖ^w = Σ_paths α Σ_u W_uw Σ_ij C_ijk xᵢ^u Yⱼ .

The harmonics of a pair do not change from layer to layer. So Σⱼ C_ijk Yⱼ, a small matrix for each
path, is computed once for all layers. Features are kept here by components, ``(..., 2l + 1,
channels)``: then all products are of matrices whose rows lie together in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from e3nn import o3
from e3nn.o3 import Irreps
from torch import Tensor, nn

from attention.neighborhoods import DenseNeighborhood, Neighborhood
from attention.steerable.irreps import join_types, layout, split_types
from attention.steerable.paths import columns_of, degrees_between, paths_between

__all__ = ["Directions", "Harmonics", "PairProduct", "Slots", "degrees_between"]


class Harmonics(nn.Module):
    """Spherical harmonics of directions, and the coefficients of their products.

    Args:
        max_degree: Largest degree of the harmonics.
        max_type: Largest type that is multiplied with them, and that comes out.
    """

    table: Tensor

    def __init__(self, max_degree: int, max_type: int) -> None:
        super().__init__()
        self.max_degree = max_degree
        kinds = range(max_type + 1)
        columns = []
        self._where: dict[tuple[int, int], tuple[int, int]] = {}
        start = 0
        for a, c in ((a, c) for a in kinds for c in kinds):
            degrees = degrees_between(a, c, max_degree)
            for b in degrees:
                # Component normalization: a product of features of unit variance has unit variance.
                coefficients = o3.wigner_3j(a, b, c, dtype=torch.float64) * (2 * c + 1) ** 0.5
                column = coefficients.new_zeros((max_degree + 1) ** 2, 2 * c + 1, 2 * a + 1)
                column[b * b : (b + 1) ** 2] = coefficients.permute(1, 2, 0)
                columns.append(column.flatten(1))
            self._where[a, c] = start, len(degrees)
            start += len(degrees) * (2 * c + 1) * (2 * a + 1)
        self.register_buffer("table", torch.cat(columns, 1), persistent=False)

    def forward(self, direction: Tensor) -> Tensor:
        """The harmonics of unit vectors ``(pairs, 3)``, ``(pairs, (max_degree + 1)²)``."""
        degrees = list(range(self.max_degree + 1))
        values: Tensor = o3.spherical_harmonics(degrees, direction, False, "component")
        return values

    def coefficients(self, a: int, c: int, degrees: Sequence[int]) -> Tensor:
        """Clebsch-Gordan coefficients of the products of type a with harmonics to type c.

        Args:
            a: The type that is multiplied.
            c: The type that comes out.
            degrees: Degrees of the harmonics.

        Returns:
            ``(harmonics, degrees, 2c + 1, 2a + 1)``, zero for harmonics of other degrees.
        """
        start, count = self._where[a, c]
        size = (2 * c + 1) * (2 * a + 1)
        found = self.table[:, start : start + count * size]
        found = found.unflatten(1, (count, 2 * c + 1, 2 * a + 1))
        first = abs(a - c)
        return torch.stack([found[:, degree - first] for degree in degrees], 1)


class Slots(NamedTuple):
    """The pairs ordered by their source: as many slots for each source, some of them empty.

    Attributes:
        sources: Number of sources.
        width: Slots of a source.
        pair: The pair in each slot, ``(sources · width,)``; any where the slot is empty.
        slot: The slot of each pair, ``(pairs,)``.
    """

    sources: int
    width: int
    pair: Tensor
    slot: Tensor


Targets = tuple[tuple[int, tuple[int, ...]], ...]


class Directions:
    """The pairs of a network, their directions, and what all its layers make of them.

    Args:
        neighborhood: The pairs that exist.
        harmonics: The harmonics of the directions and their coefficients.
        direction: Unit vectors from target to source, ``(*pairs, 3)``; zero where there is none.
        clouds: Numbers of clouds and of points of a cloud.
    """

    def __init__(
        self,
        neighborhood: Neighborhood,
        harmonics: Harmonics,
        direction: Tensor,
        clouds: tuple[int, int],
    ) -> None:
        self.neighborhood = neighborhood
        self.clouds = clouds
        self.shape = direction.shape[:-1]
        self.values: Tensor = harmonics(direction.flatten(0, -2))
        self._harmonics = harmonics
        self._rows: dict[tuple[int, Targets], Tensor] = {}
        self._in_slots: dict[tuple[int, int, tuple[int, ...]], Tensor] = {}
        self._slots: Slots | None = None
        self._values_in_slots: Tensor | None = None

    def pull_sources(self, features: Tensor) -> Tensor:
        """Features ``(batch, points, channels)`` of the sources, ``(pairs, channels)``."""
        return self.neighborhood.pull_sources(features).expand(*self.shape, -1).flatten(0, -2)

    def rows(self, a: int, targets: Targets) -> Tensor:
        """The matrices Σⱼ C_ijk Yⱼ from a type to several, ``(pairs, rows, 2a + 1)``.

        Args:
            a: The type that they multiply.
            targets: Types with the degrees that lead there; a row is a type, a component of it and
                a degree, in this order.
        """
        key = a, targets
        if key not in self._rows:
            table = torch.cat(
                [
                    self._harmonics.coefficients(a, c, degrees).transpose(1, 2).flatten(1, 2)
                    for c, degrees in targets
                ],
                1,
            )
            self._rows[key] = (self.values @ table.flatten(1).to(self.values)).unflatten(
                1, table.shape[1:]
            )
        return self._rows[key]

    def in_slots(self, a: int, c: int, degrees: tuple[int, ...]) -> Tensor:
        """The matrices from a type to another, ``(slots, 2c + 1, (2a + 1) · degrees)``."""
        if self._values_in_slots is None:
            self._values_in_slots = self.values.index_select(0, self.slots.pair)
        key = a, c, degrees
        if key not in self._in_slots:
            table = self._harmonics.coefficients(a, c, degrees).permute(0, 2, 3, 1).flatten(2)
            values = self._values_in_slots
            self._in_slots[key] = (values @ table.flatten(1).to(values)).unflatten(
                1, table.shape[1:]
            )
        return self._in_slots[key]

    @property
    def slots(self) -> Slots:
        """The pairs by their source, computed on first use."""
        if self._slots is None:
            self._slots = self._by_source()
        return self._slots

    def _by_source(self) -> Slots:
        batch, points = self.clouds
        number = torch.arange(batch * points, device=self.values.device)
        source = self.pull_sources(number.view(batch, points, 1))[:, 0]
        pairs = torch.arange(len(source), device=source.device)
        if isinstance(self.neighborhood, DenseNeighborhood):
            width = self.shape[1]  # Every source has all targets of its cloud.
        else:
            width = int(torch.bincount(source).max()) if len(source) else 0
        order = source.argsort(stable=True)
        sorted_source = source[order]
        first = torch.searchsorted(sorted_source, number)
        slot_in_order = sorted_source * width + pairs - first[sorted_source]
        slot = torch.empty_like(pairs).index_copy(0, order, slot_in_order)
        pair = pairs.new_zeros(len(number) * width).index_copy(0, slot, pairs)
        return Slots(len(number), width, pair, slot)


class PairProduct(nn.Module):
    """The product of features with spherical harmonics, weighted for each pair.

    Args:
        irreps_in: Types of the features.
        irreps_out: Types of the product.
        max_degree: Largest degree of the harmonics.
        parity: Whether a harmonic of degree l has the parity (-1)ˡ, for fields that reflections
            act on; else all types are even, and reflections are not respected.

    Attributes:
        paths: The paths from types and harmonics to types.
        columns: For each type of the output, the number of weights a channel of it takes.
    """

    def __init__(
        self, irreps_in: Irreps, irreps_out: Irreps, max_degree: int, parity: bool
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        self.types_in, self.types_out = layout(self.irreps_in), layout(self.irreps_out)
        self.paths = paths_between(self.irreps_in, self.irreps_out, max_degree, parity)
        self.columns = columns_of(self.paths, self.types_in, self.types_out)
        self._by_source = [
            [path for path in self.paths if path.source == source]
            for source in range(len(self.types_in))
        ]

    def forward(self, x: Tensor, directions: Directions, weights: Sequence[Tensor]) -> Tensor:
        """Multiply.

        Args:
            x: Features ``(pairs, irreps_in.dim)``.
            directions: Of the pairs.
            weights: For each type of the output ``(pairs, columns, channels)``; a column is a type
                of the input, a degree of the harmonics and a channel of the input, in this order.

        Returns:
            Products ``(pairs, irreps_out.dim)``.
        """
        unmixed = self.unmixed([part.mT for part in split_types(self.types_in, x)], directions)
        outputs = []
        for part, weight, columns in zip(unmixed, weights, self.columns, strict=True):
            outputs.append((torch.bmm(part, weight) * max(columns, 1) ** -0.5).mT)
        return join_types(outputs)

    def unmixed(self, parts: Sequence[Tensor], directions: Directions) -> list[Tensor]:
        """The products of features with harmonics, their channels side by side and not mixed.

        Args:
            parts: Types of the features, ``(pairs, 2l + 1, channels)``.
            directions: Of the pairs.

        Returns:
            For each type of the output, ``(pairs, 2l + 1, columns)``.
        """
        found: list[list[Tensor]] = [[] for _ in self.types_out]
        for part, kind, paths in zip(parts, self.types_in, self._by_source, strict=True):
            if not paths:
                continue
            targets = tuple((self.types_out[p.target].degree, p.degrees) for p in paths)
            product = torch.bmm(directions.rows(kind.degree, targets), part)
            sizes = [(2 * c + 1) * len(degrees) for c, degrees in targets]
            for path, each in zip(paths, product.split(sizes, 1), strict=True):
                shape = self.types_out[path.target].size, kind.channels * len(path.degrees)
                found[path.target].append(each.reshape(len(each), *shape))
        return [
            torch.cat(each, -1) if each else parts[0].new_zeros(len(parts[0]), kind.size, 0)
            for each, kind in zip(found, self.types_out, strict=True)
        ]
