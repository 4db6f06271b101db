"""A network of attention on irreducible representations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from attention.geometry import Geometry, Pairs
from attention.interface import Network
from attention.neighborhoods import NeighborhoodRule, Radius
from attention.normalizers import Normalizer
from attention.steerable.irreps import EquivariantLinear, EquivariantNorm, Gate, transform
from attention.steerable.layer import SteerableAttention
from attention.steerable.pairing import directions, pair_up
from attention.steerable.paths import DEGREE
from attention.steerable.pooling import Pooling, check_pooling, pool
from attention.steerable.products import ProductName
from attention.steerable.tensor_product import Directions, Harmonics
from liegroups import (
    SE3,
    Distance,
    E,
    Equivariance,
    Invariant,
    LieGroup,
    PerHead,
)
from liegroups.checks import DEPTH, check_count


class SteerableTransformer(Network):
    """Attention on points of space with features of several types, exact for SE(3) or E(3).

    Input scalars and vectors pass through layers whose features are of all ``types``; the last
    layer gives the types of ``irreps_out``, at each point or pooled over the cloud. Nothing is
    lifted: a feature of type l turns by the representation of degree l.

    Args:
        in_features: Input features of a point: the number of scalars, or types in e3nn's notation,
            such as ``5x0e + 1x1o`` for five scalars and a velocity.
        out_features: Outputs, likewise: 1 or ``1x0e`` for an energy, ``1x1o`` for a vector.
        group: ``SE3``, or ``E(3)`` for features with parity. With parity the hidden features are
            true tensors, of parity (-1)ˡ, and reflected input gives reflected output. Without it
            the letters e and o are read as the same, and reflections are told apart.
        invariant: The input of the perceptrons of the pairs; a list is a mix by heads.
        types: The degrees l of the hidden features.
        channels: Number of channels of each type, of all heads together.
        layers: Number of layers.
        heads: Number of heads in each layer; divides ``channels``.
        stacks: Number of networks side by side, each with its own heads and invariant where the
            invariant is a list, whose outputs are joined by a linear map.
        max_degree: Largest degree of the harmonics; the largest of ``types`` when absent.
        neighborhood: Chooses the neighbors of each point; a point is not its own.
        residual: Whether to add the input of each hidden layer to its output.
        norm: Whether to normalize the features before each layer.
        gate: Whether a gated non-linearity follows each hidden layer.
        hidden: Number of hidden units of the perceptrons of pairs.
        normalizer: Turns logits into weights; softmax by default.
        pooling: ``sum`` or ``mean`` over the points, or ``none`` for an output at each point.
        product: The way to compute the products of features with harmonics: ``fused``, ``e3nn``, or
            ``cuequivariance`` where that is installed. The weights and, to rounding, the results
            are the same.

    Raises:
        ValueError: If the group is another, the heads do not divide the channels, or a type of the
            output is none of the hidden features.
        ModuleNotFoundError: If the library of ``product`` is not installed.

    Reference:
        Mather 2023, Choices of Invariants for SE(3) Equivariant Attention Mechanisms, section 4.

    Example:
        >>> import torch
        >>> network = SteerableTransformer("4x0e", "1x1o", channels=4, types=[0, 1], layers=2)
        >>> network(torch.randn(2, 5, 4), torch.randn(2, 5, 3)).shape
        torch.Size([2, 5, 3])
    """

    neighborhood: NeighborhoodRule

    def __init__(
        self,
        in_features: int | str,
        out_features: int | str,
        group: LieGroup = SE3(),  # noqa: B008 (immutable)
        invariant: Invariant | Sequence[Invariant] = Distance(),  # noqa: B008 (immutable)
        types: Sequence[int] = (0, 1, 2, 3),
        channels: int = 8,
        layers: int = 4,
        heads: int = 4,
        stacks: int = 1,
        max_degree: int | None = None,
        neighborhood: NeighborhoodRule = Radius(5.0, loops=False),  # noqa: B008 (immutable)
        residual: bool = False,
        norm: bool = False,
        gate: bool = False,
        hidden: int = 32,
        normalizer: Normalizer | None = None,
        pooling: Pooling = "none",
        product: ProductName = "fused",
    ) -> None:
        super().__init__()
        if group not in (SE3(), E(3)):
            raise ValueError(f"SteerableTransformer is for SE3() and E(3); got {group}.")
        check_pooling(pooling)
        check_count("layers", layers, most=DEPTH)
        check_count("stacks", stacks, most=DEPTH)
        check_count("channels", channels)
        check_count("heads", heads)
        if not types:
            raise ValueError("types: none are given; accepted: degrees such as 0 and 1.")
        for degree in (*types, *(() if max_degree is None else (max_degree,))):
            check_count("types, max_degree", degree, 0, DEGREE)
        self.space = group.default_space()
        self.parity = group == E(3)
        self.irreps_in, self.irreps_out = self._read(in_features), self._read(out_features)
        self.in_features, self.out_features = self.irreps_in.dim, self.irreps_out.dim
        self.is_per_point = pooling == "none"
        self.pooling = None if pooling == "none" else pooling
        self.invariants = [invariant] if isinstance(invariant, Invariant) else list(invariant)
        neighborhood.check(self.space)
        self.neighborhood = neighborhood
        hidden_types = Irreps(
            [
                (channels, (degree, (-1) ** degree if self.parity else 1))
                for degree in sorted(set(types))
            ]
        )
        known = [ir for _, ir in hidden_types]
        for _, ir in self.irreps_out:
            if ir not in known:
                raise ValueError(
                    f"out_features asks for type {ir}, which the hidden features do not have: they "
                    f"are {hidden_types}, of the degrees in types"
                    + (" and of parity (-1)ˡ." if self.parity else ".")
                )
        degree = max(types) if max_degree is None else max_degree
        kinds = [ir.l for _, ir in self.irreps_in + hidden_types + self.irreps_out]
        self.harmonics = Harmonics(degree, max(kinds))
        invariants = _by_stack(invariant, stacks)
        self.geometries = [Geometry(self.space, each) for each in invariants]
        self.stacks = nn.ModuleList(
            nn.ModuleList(
                SteerableBlock(
                    self.irreps_in if number == 0 else hidden_types,
                    hidden_types,
                    geometry,
                    heads,
                    degree,
                    self.parity,
                    hidden,
                    normalizer,
                    residual and number > 0,
                    norm and number > 0,
                    gate,
                    product,
                )
                for number in range(layers)
            )
            for geometry in self.geometries
        )
        self.out = EquivariantLinear(
            sum((hidden_types for _ in invariants), start=Irreps("")), self.irreps_out
        )

    @property
    def equivariance(self) -> Equivariance:
        """The kind of equivariance that the output has: exact."""
        return Equivariance.EXACT

    def forward(
        self,
        features: Tensor,
        points: Tensor,
        mask: Tensor | None = None,
        *,
        edges: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Predict, as :meth:`attention.Network.forward` says.

        Features are ``(batch, points, irreps_in.dim)``, in the order of ``irreps_in`` with vectors
        as (x, y, z); outputs ``(batch, points, irreps_out.dim)``, or ``(batch, irreps_out.dim)``
        when pooled.
        """
        features, lifted, neighborhood = pair_up(self, features, points, mask, edges, generator)
        unit = directions(neighborhood, lifted.point)
        along = Directions(neighborhood, self.harmonics, unit, (len(points), points.shape[1]))
        outputs = []
        for geometry, blocks in zip(self.geometries, self.stacks, strict=True):
            pairs = Pairs(geometry, neighborhood, lifted)
            hidden = features
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                hidden = block(pairs, along, hidden)
            outputs.append(hidden)
        return pool(self.out(torch.cat(outputs, -1)), mask, self.pooling)

    def move_features(self, g: Tensor, features: Tensor) -> Tensor:
        return transform(self.irreps_in, g, features)

    def move(self, g: Tensor, output: Tensor) -> Tensor:
        return transform(self.irreps_out, g, output)

    def _read(self, types: int | str) -> Irreps:
        """Types as written, or all even where there is no parity; scalars of a number."""
        found = Irreps(f"{types}x0e" if isinstance(types, int) else types)
        if self.parity:
            return found
        return Irreps([(mul, (ir.l, 1)) for mul, ir in found])


class SteerableBlock(nn.Module):
    """Attention, with optional normalization before it and an optional gate after it.

    Args:
        irreps_in: Types of the input.
        irreps_out: Types of the output.
        geometry: The space of the points and the invariant of their pairs.
        heads: Number of heads.
        max_degree: Largest degree of the harmonics.
        parity: Whether reflections act on the features.
        hidden: Number of hidden units of the perceptrons of pairs.
        normalizer: Turns logits into weights; softmax by default.
        residual: Whether to add the input, of the same types, to the output.
        norm: Whether to normalize the input.
        gate: Whether a gated non-linearity follows.
        product: The way to compute the products of features with harmonics.
    """

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        geometry: Geometry,
        heads: int,
        max_degree: int,
        parity: bool,
        hidden: int,
        normalizer: Normalizer | None,
        residual: bool,
        norm: bool,
        gate: bool,
        product: ProductName,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.norm = EquivariantNorm(irreps_in) if norm else None
        self.attention = SteerableAttention(
            irreps_in,
            irreps_out,
            geometry,
            heads,
            max_degree,
            parity,
            hidden,
            normalizer,
            product,
        )
        self.gate = Gate(irreps_out) if gate else None
        self.mix = None if self.gate is None else EquivariantLinear(irreps_out, self.gate.irreps_in)

    def forward(self, pairs: Pairs, directions: Directions, features: Tensor) -> Tensor:
        """Features ``(batch, points, irreps_in.dim)`` to ``(batch, points, irreps_out.dim)``."""
        normed = features if self.norm is None else self.norm(features)
        hidden = self.attention(pairs, directions, normed)
        if self.gate is not None and self.mix is not None:
            hidden = self.gate(self.mix(hidden))
        return features + hidden if self.residual else hidden


def _by_stack(invariant: Invariant | Sequence[Invariant], stacks: int) -> list[Invariant]:
    """The invariant of each stack: the list divided evenly among several, else a mix by heads."""
    if isinstance(invariant, Invariant):
        return [invariant] * stacks
    if stacks == 1:
        return [PerHead(invariant)]
    if not invariant or stacks % len(invariant):
        raise ValueError(
            f"{stacks} stacks cannot be divided evenly among {len(invariant)} invariants."
        )
    return [each for each in invariant for _ in range(stacks // len(invariant))]
