"""The product of features with spherical harmonics, weighted for each pair of points.

For a channel u of type l₁ and harmonics of degree l₂, the Clebsch-Gordan coefficients C give every
type l₃ between |l₁ - l₂| and l₁ + l₂:

    outₖ^w = Σ_paths α Σ_u W_uw Σ_ij C_ijk xᵢ^u Yⱼ .

The harmonics of a pair do not change from layer to layer. So Σⱼ C_ijk Yⱼ, a small matrix for each
path, is computed once for all layers. What is left are two batched matrix products for each pair of
types: one that turns the features, one that mixes their channels by the weights of the pair.
"""

from __future__ import annotations

import torch
from e3nn import o3
from e3nn.o3 import Irreps
from torch import Tensor, nn

from attention.steerable.irreps import join_types, layout, split_types

Matrices = dict[tuple[int, int], Tensor]


class Harmonics(nn.Module):
    """Spherical harmonics of directions, contracted with Clebsch-Gordan coefficients.

    Args:
        max_degree: Largest degree of the harmonics.
        max_type: Largest type that is multiplied with them, and that comes out.
    """

    table: Tensor

    def __init__(self, max_degree: int, max_type: int) -> None:
        super().__init__()
        self.max_degree = max_degree
        self.triples = [
            (a, b, c)
            for a in range(max_type + 1)
            for c in range(max_type + 1)
            for b in degrees_between(a, c, max_degree)
        ]
        columns = []
        for a, b, c in self.triples:
            # Component normalization: a product of features of unit variance has unit variance.
            coefficients = o3.wigner_3j(a, b, c, dtype=torch.float64) * (2 * c + 1) ** 0.5
            column = coefficients.new_zeros((max_degree + 1) ** 2, (2 * a + 1) * (2 * c + 1))
            column[b * b : (b + 1) ** 2] = coefficients.movedim(1, 0).flatten(1)
            columns.append(column)
        self.register_buffer("table", torch.cat(columns, 1), persistent=False)

    def forward(self, direction: Tensor) -> Matrices:
        """The matrices Σⱼ C_ijk Yⱼ from type to type.

        Args:
            direction: Unit vectors ``(pairs, 3)``; zero where there is no direction.

        Returns:
            For types (a, c), matrices ``(pairs, 2a + 1, degrees, 2c + 1)``, for all degrees
            between.
        """
        degrees = list(range(self.max_degree + 1))
        values = o3.spherical_harmonics(degrees, direction, False, "component")
        sizes = [(2 * a + 1) * (2 * c + 1) for a, _, c in self.triples]
        parts = (values @ self.table.to(values)).split(sizes, -1)
        found: dict[tuple[int, int], list[Tensor]] = {}
        for (a, _, c), part in zip(self.triples, parts, strict=True):
            found.setdefault((a, c), []).append(part.unflatten(-1, (2 * a + 1, 2 * c + 1)))
        return {types: torch.stack(matrices, 2) for types, matrices in found.items()}


class PairProduct(nn.Module):
    """The product of features with spherical harmonics, weighted for each pair.

    Args:
        irreps_in: Types of the features.
        irreps_out: Types of the product.
        max_degree: Largest degree of the harmonics.
        parity: Whether a harmonic of degree l has the parity (-1)ˡ, for fields that reflections
            act on; else all types are even, and reflections are not respected.

    Attributes:
        columns: For each type of the output, the number of weights a channel of it takes.
    """

    def __init__(
        self, irreps_in: Irreps, irreps_out: Irreps, max_degree: int, parity: bool
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        self.types_in, self.types_out = layout(self.irreps_in), layout(self.irreps_out)
        self.max_degree = max_degree
        self.paths: list[list[tuple[int, list[int]]]] = []
        self.columns: list[int] = []
        for _, ir_out in self.irreps_out:
            paths = []
            for source, (_, ir) in enumerate(self.irreps_in):
                degrees = [
                    number
                    for number, degree in enumerate(degrees_between(ir.l, ir_out.l, max_degree))
                    if ir.p * (-1) ** (degree * parity) == ir_out.p
                ]
                if degrees:
                    paths.append((source, degrees))
            self.paths.append(paths)
            self.columns.append(sum(self.irreps_in[s].mul * len(d) for s, d in paths))

    def forward(self, x: Tensor, matrices: Matrices, weights: list[Tensor]) -> Tensor:
        """Multiply.

        Args:
            x: Features ``(pairs, irreps_in.dim)``.
            matrices: What `Harmonics` gives.
            weights: For each type of the output, ``(pairs, columns, channels)``.

        Returns:
            Products ``(pairs, irreps_out.dim)``.
        """
        types = split_types(self.types_in, x)
        outputs = []
        for paths, columns, weight, kind in zip(
            self.paths, self.columns, weights, self.types_out, strict=True
        ):
            if not paths:
                outputs.append(x.new_zeros(len(x), kind.channels, kind.size))
                continue
            turned = []
            for source, degrees in paths:
                matrix = matrices[self.types_in[source].degree, kind.degree]
                if len(degrees) < matrix.shape[2]:
                    matrix = matrix[:, :, degrees]
                product = types[source] @ matrix.flatten(2)  # (pairs, channels, degrees · (2c + 1))
                turned.append(product.unflatten(-1, (-1, kind.size)).flatten(1, 2))
            together = torch.cat(turned, 1) if len(turned) > 1 else turned[0]
            outputs.append(weight.mT @ together * columns**-0.5)
        return join_types(outputs)


def degrees_between(a: int, c: int, max_degree: int) -> range:
    """Degrees of harmonics that take type a to type c."""
    return range(abs(a - c), min(a + c, max_degree) + 1)
