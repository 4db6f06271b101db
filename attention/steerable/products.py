"""Ways to compute the products of a layer: the same results from the same weights.

A layer multiplies features of points with harmonics of pairs, by weights that are linear in the
hidden units φ_u of a perceptron of the pair:

    out_ij = Σ_u φ_u(ij) Σ_paths W_u (h_j ⊗ Y_ij) .

The sums can be taken in several orders, whose costs depend on the numbers of channels, of hidden
units, and of pairs for each point.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from e3nn import o3
from e3nn.o3 import Irreps
from torch import Tensor, nn

from attention.neighborhoods import DenseNeighborhood
from attention.steerable.irreps import by_components, from_components, layout, to_components
from attention.steerable.paths import columns_of, paths_between
from attention.steerable.perceptron import Radial
from attention.steerable.tensor_product import Directions, PairProduct

ProductName = Literal["fused", "e3nn", "cuequivariance"]

_CHUNK = 2**21  # Numbers made at a time where only sums of them are kept.


class TensorProduct(nn.Module, ABC):
    """The product of features of points with harmonics of the pairs. It has no parameters.

    Args:
        irreps_in: Types of the features.
        irreps_out: Types of the product.
        max_degree: Largest degree of the harmonics.
        parity: Whether a harmonic of degree l has the parity (-1)ˡ.
    """

    def __init__(
        self, irreps_in: Irreps, irreps_out: Irreps, max_degree: int, parity: bool
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        self.types_in, self.types_out = layout(self.irreps_in), layout(self.irreps_out)
        self.paths = paths_between(self.irreps_in, self.irreps_out, max_degree, parity)
        self.columns = columns_of(self.paths, self.types_in, self.types_out)

    @abstractmethod
    def forward(
        self, features: Tensor, directions: Directions, weights: Sequence[Sequence[Radial]]
    ) -> list[list[Tensor]]:
        """Multiply.

        Args:
            features: ``(batch, points, irreps_in.dim)``, each type by components,
                ``(2l + 1, channels)``.
            directions: Of the pairs.
            weights: For each product to compute, the weights of its groups of heads.

        Returns:
            For each product, its types ``(pairs, 2l + 1, channels)``.
        """


class FusedProduct(TensorProduct):
    """Matrix products for each pair of types, in the cheaper of two orders.

    By pairs: the weights of every pair, then the product of its features with its harmonics, then
    the mixing of the channels. By points: the features of every point times the weights of all
    hidden units, then for each pair the sum over the units, then the product with the harmonics.
    The second never makes the weights of a pair; it does more for a point and less for a pair, and
    wins where points have many channels and neighbors.

    Args:
        irreps_in: Types of the features.
        irreps_out: Types of the product.
        max_degree: Largest degree of the harmonics.
        parity: Whether a harmonic of degree l has the parity (-1)ˡ.
        order: ``pairs``, ``points``, or ``auto``: the one with fewer multiplications, counted at
            every call; ``pairs`` where ``torch.compile`` could not count those of sparse pairs.
    """

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        max_degree: int,
        parity: bool,
        order: Literal["auto", "pairs", "points"] = "auto",
    ) -> None:
        super().__init__(irreps_in, irreps_out, max_degree, parity)
        self.order = order
        self.pairwise = PairProduct(self.irreps_in, self.irreps_out, max_degree, parity)

    def forward(
        self, features: Tensor, directions: Directions, weights: Sequence[Sequence[Radial]]
    ) -> list[list[Tensor]]:
        order = self.order
        if order == "auto" and _slots_are_unknown(directions):
            order = "pairs"
        elif order == "auto":
            by_pairs, by_points = self.multiplications(directions, weights)
            order = "points" if by_points < by_pairs else "pairs"
        is_empty = not self.paths or not len(directions.values)
        compute = self._by_points if order == "points" and not is_empty else self._by_pairs
        pairs = directions.values
        return [
            [
                types[target]
                if target in types
                else pairs.new_zeros(len(pairs), kind.size, kind.channels)
                for target, kind in enumerate(self.types_out)
            ]
            for types in compute(features, directions, weights)
        ]

    def multiplications(
        self, directions: Directions, weights: Sequence[Sequence[Radial]]
    ) -> tuple[int, int]:
        """The numbers of multiplications of the two orders, by pairs and by points."""
        batch, points = directions.clouds
        pairs, slots = len(directions.values), len(directions.slots.pair)
        by_pairs = by_points = 0
        for radial in (each for product in weights for each in product):
            for path, matrix in zip(self.paths, radial.matrices, strict=True):
                units, channels, degrees, out = matrix.shape
                source, target = self.types_in[path.source], self.types_out[path.target]
                by_pairs += pairs * channels * degrees * out * (units + target.size)
                of_a_unit = degrees * out * source.size
                by_points += batch * points * units * channels * of_a_unit
                by_points += slots * (units + target.size) * of_a_unit
        return by_pairs, by_points

    def _by_pairs(
        self, features: Tensor, directions: Directions, weights: Sequence[Sequence[Radial]]
    ) -> list[dict[int, Tensor]]:
        pulled = directions.pull_sources(features)
        unmixed = self.pairwise.unmixed(by_components(self.types_in, pulled), directions)
        found = []
        for product in weights:
            types: dict[int, Tensor] = {}
            for target, own in self._into.items():
                heads = []
                for hidden, matrices in product:
                    # Columns, as in the unmixed products: type of the input, degree, channel.
                    columns = torch.cat([matrices[n].transpose(1, 2).flatten(1, 2) for n in own], 1)
                    weight = (hidden @ columns.flatten(1)).unflatten(1, columns.shape[1:])
                    heads.append(torch.bmm(unmixed[target], weight))
                types[target] = torch.cat(heads, -1)
            found.append(types)
        return found

    def _by_points(
        self, features: Tensor, directions: Directions, weights: Sequence[Sequence[Radial]]
    ) -> list[dict[int, Tensor]]:
        slots = directions.slots
        # A few points at a time, so that what they send stays in the cache of a processor.
        step = max(1, _CHUNK // max(self._sent_by_a_point(each) for p in weights for each in p))
        parts = by_components(self.types_in, features.flatten(0, -2))
        couplings = [
            directions.in_slots(
                self.types_in[path.source].degree, self.types_out[path.target].degree, path.degrees
            )
            for path in self.paths
        ]
        some_parts = list(zip(*(part.split(step) for part in parts), strict=True))
        some_couplings = list(
            zip(*(coupling.split(step * slots.width) for coupling in couplings), strict=True)
        )
        found = []
        for product in weights:
            of_heads = []
            for hidden, matrices in product:
                units = (
                    hidden.index_select(0, slots.pair).unflatten(0, (slots.sources, -1)).split(step)
                )
                received = [
                    self._received(*own, matrices)
                    for own in zip(some_parts, some_couplings, units, strict=True)
                ]
                of_heads.append(
                    {
                        c: torch.cat([each[c] for each in received]).index_select(0, slots.slot)
                        for c in self._into
                    }
                )
            found.append({c: torch.cat([each[c] for each in of_heads], -1) for c in self._into})
        return found

    def _received(
        self,
        parts: Sequence[Tensor],
        couplings: Sequence[Tensor],
        units: Tensor,
        matrices: Sequence[Tensor],
    ) -> dict[int, Tensor]:
        """The messages of the pairs whose sources are these points.

        Args:
            parts: Types of the features, ``(points, 2a + 1, channels)``.
            couplings: For each path, ``(points · width, 2c + 1, (2a + 1) · degrees)``.
            units: Hidden units ``(points, width, units)``.
            matrices: For each path, ``(units, channels, degrees, channels out)``.

        Returns:
            Types ``(points · width, 2c + 1, channels out)`` by their number.
        """
        found: dict[int, Tensor] = {}
        for path, coupling, matrix in zip(self.paths, couplings, matrices, strict=True):
            rows = parts[path.source].flatten(0, 1).expand(len(matrix), -1, -1)
            sent = torch.bmm(rows, matrix.flatten(2))  # (units, points · (2a + 1), degrees · out)
            sent = sent.view(len(matrix), len(units), -1).transpose(0, 1)
            at_pairs = torch.bmm(units, sent).view(len(coupling), coupling.shape[2], -1)
            each = torch.bmm(coupling, at_pairs)
            found[path.target] = found[path.target] + each if path.target in found else each
        return found

    @property
    def _into(self) -> dict[int, list[int]]:
        """The numbers of the paths to each type of the output that has one."""
        found: dict[int, list[int]] = {}
        for number, path in enumerate(self.paths):
            found.setdefault(path.target, []).append(number)
        return found

    def _sent_by_a_point(self, radial: Radial) -> int:
        """The most numbers that a point sends along a path."""
        return max(
            matrix[:, 0].numel() * self.types_in[path.source].size
            for path, matrix in zip(self.paths, radial.matrices, strict=True)
        )


class PairwiseProduct(TensorProduct):
    """A product by another library, from the weights of every pair.

    Args:
        irreps_in: Types of the features.
        irreps_out: Types of the product.
        max_degree: Largest degree of the harmonics.
        parity: Whether a harmonic of degree l has the parity (-1)ˡ.
    """

    def __init__(
        self, irreps_in: Irreps, irreps_out: Irreps, max_degree: int, parity: bool
    ) -> None:
        super().__init__(irreps_in, irreps_out, max_degree, parity)
        self.irreps_harmonics = Irreps.spherical_harmonics(max_degree, p=-1 if parity else 1)
        # In no state_dict: coefficients that the libraries store, of a device and a type of number.
        self._made: dict[tuple[torch.device, torch.dtype], nn.Module] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_made": {}}

    def forward(
        self, features: Tensor, directions: Directions, weights: Sequence[Sequence[Radial]]
    ) -> list[list[Tensor]]:
        x = directions.pull_sources(features)
        harmonics = directions.values
        key = x.device, x.dtype
        if key not in self._made:
            default = torch.get_default_dtype()
            torch.set_default_dtype(torch.float64)  # In which the libraries round coefficients.
            try:
                self._made[key] = self.make(*key)
            finally:
                torch.set_default_dtype(default)
        module = self._made[key]
        return [
            by_components(self.types_out, self.multiply(module, x, harmonics, self._in_order(each)))
            for each in weights
        ]

    @abstractmethod
    def make(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """The library's own module, for a device and a type of number."""

    @abstractmethod
    def multiply(self, module: nn.Module, x: Tensor, harmonics: Tensor, weights: Tensor) -> Tensor:
        """Multiply.

        Args:
            module: The module that `make` returns.
            x: Features ``(pairs, irreps_in.dim)``, each type by components.
            harmonics: ``(pairs, (max_degree + 1)²)``.
            weights: ``(pairs, weights)``; those of a type of the input, a degree and a type of the
                output stand together, in this order, ``(channels in, channels out)`` each.

        Returns:
            Products ``(pairs, irreps_out.dim)``, each type by components.
        """

    def _in_order(self, product: Sequence[Radial]) -> Tensor:
        """The weights of every pair, in the order of ``multiply``."""
        order = sorted(
            (path.source, degree, path.target, number, column)
            for number, path in enumerate(self.paths)
            for column, degree in enumerate(path.degrees)
        )
        heads = []
        for hidden, matrices in product:
            parts = [
                # The library has factors of its own where ours are in the matrices.
                matrices[number][:, :, column] * self.columns[target] ** 0.5
                for _, _, target, number, column in order
            ]
            sizes = [part[0].numel() for part in parts]
            each = (hidden @ torch.cat([part.flatten(1) for part in parts], 1)).split(sizes, 1)
            heads.append([x.unflatten(1, y.shape[1:]) for x, y in zip(each, parts, strict=True)])
        return torch.cat([torch.cat(own, -1).flatten(1) for own in zip(*heads, strict=True)], 1)


class E3nnProduct(PairwiseProduct):
    """The product by e3nn's ``FullyConnectedTensorProduct``."""

    def make(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        product = o3.FullyConnectedTensorProduct(
            self.irreps_in,
            self.irreps_harmonics,
            self.irreps_out,
            shared_weights=False,
            internal_weights=False,
        )
        return product.to(device, dtype)

    def multiply(self, module: nn.Module, x: Tensor, harmonics: Tensor, weights: Tensor) -> Tensor:
        product = module(from_components(self.types_in, x), harmonics, weights)
        return to_components(self.types_out, product)


class CuEquivarianceProduct(PairwiseProduct):
    """The product by NVIDIA's cuEquivariance: on a GPU by its kernels, where those are installed.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """

    def __init__(
        self, irreps_in: Irreps, irreps_out: Irreps, max_degree: int, parity: bool
    ) -> None:
        super().__init__(irreps_in, irreps_out, max_degree, parity)
        _cuequivariance()

    def make(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        cue, cuet = _cuequivariance()
        kernels = importlib.util.find_spec("cuequivariance_ops_torch") is not None
        product: nn.Module = cuet.FullyConnectedTensorProduct(
            *(
                cue.Irreps("O3", str(types))
                for types in (self.irreps_in, self.irreps_harmonics, self.irreps_out)
            ),
            layout=cue.ir_mul,
            shared_weights=False,
            internal_weights=False,
            device=device,
            math_dtype=dtype,
            method="fused_tp" if device.type == "cuda" and kernels else "naive",
        )
        return product

    def multiply(self, module: nn.Module, x: Tensor, harmonics: Tensor, weights: Tensor) -> Tensor:
        product: Tensor = module(x, harmonics, weights)
        return product


PRODUCTS: dict[str, type[TensorProduct]] = {
    "fused": FusedProduct,
    "e3nn": E3nnProduct,
    "cuequivariance": CuEquivarianceProduct,
}


def _slots_are_unknown(directions: Directions) -> bool:
    """Whether the number of slots depends on data that ``torch.compile`` does not look at."""
    dense = isinstance(directions.neighborhood, DenseNeighborhood)
    return torch.compiler.is_compiling() and not dense


def make_product(
    name: ProductName, irreps_in: Irreps, irreps_out: Irreps, max_degree: int, parity: bool
) -> TensorProduct:
    """The product of a name.

    Raises:
        ValueError: If there is none of that name.
        ModuleNotFoundError: If its library is not installed.
    """
    if name not in PRODUCTS:
        raise ValueError(f"product is one of {', '.join(map(repr, PRODUCTS))}; got {name!r}.")
    return PRODUCTS[name](irreps_in, irreps_out, max_degree, parity)


def _cuequivariance():  # type: ignore[no-untyped-def]
    try:
        import cuequivariance
        import cuequivariance_torch
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "product='cuequivariance' needs the packages cuequivariance and cuequivariance-torch, "
            "which are not installed; use product='fused', or install them with "
            "pip install 'lie-attention[cuequivariance]'."
        ) from None
    return cuequivariance, cuequivariance_torch
