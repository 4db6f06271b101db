"""Attention on irreducible representations in which each channel is multiplied by itself.

The products of `SteerableTransformer` mix the channels of a pair by a matrix for every path, which
the perceptrons have to make for each pair: c² numbers. Here the perceptrons give c numbers for each
path, the products act on each channel by itself, and the channels are mixed once at each point,
after the sum over its neighbors. That is how NequIP and MACE do it, and many times cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple

import torch
from e3nn import o3
from torch import Tensor, nn

from attention.geometry import Geometry, Pairs
from attention.interface import Network
from attention.neighborhoods import Neighborhood, NeighborhoodRule, Radius
from attention.normalizers import Normalizer, Softmax
from attention.steerable.pairing import directions, pair_up
from attention.steerable.paths import DEGREE
from attention.steerable.pooling import Pooling, check_pooling, pool
from liegroups import E, Equivariance, Invariant, PerHead, RadialBasis
from liegroups.checks import DEPTH, check_count


class ChannelwiseTransformer(Network):
    """Attention on irreducible representations, channel by channel, that gives scalars.

    Features are true tensors of degrees 0 to ``max_degree``, of parity (-1)ˡ, so that the output is
    invariant under E(3). A layer is

        kᵢⱼ^cp = Rᵢⱼ^cp (hⱼ^c ⊗ Y(rᵢⱼ))^p,   vᵢⱼ likewise,
        hᵢ ← hᵢ + W ( Σⱼ softmaxⱼ(⟨Q hᵢ, kᵢⱼ⟩ / √d) vᵢⱼ ),

    for the channels c and the paths p of the Clebsch-Gordan product, with a linear map W from the
    paths and channels to the channels. Then the inner products of two linear maps of the features
    join the scalars in a perceptron, which adds to the scalars and scales what it adds to the other
    types. A perceptron of the last scalars gives the outputs of each point.

    Args:
        in_features: Number of scalar features of a point.
        out_features: Number of outputs of a point.
        invariant: The input of the perceptrons of the pairs; a list is a mix by heads.
        max_degree: Largest degree of the features and of the harmonics.
        channels: Number of channels of each type.
        layers: Number of layers, 2 or more.
        heads: Number of heads; divides ``channels``.
        neighborhood: Chooses the neighbors of each point; a point is not its own.
        hidden: Number of hidden units of the perceptrons of pairs.
        normalizer: Turns logits into weights.
        pooling: ``sum`` or ``mean`` over the points, or ``none`` for an output at each point.
        bounded: Whether messages and logits are of features of unit size, and products grow no
            faster than features. Without it, what a layer gives is a cubic of what it gets, so that
            a network of four has an output of degree 54, which is beyond all bounds where the
            features are unusual; and a neighbor with a large logit hides the others until it is
            all but gone.
        by_kind: Whether what a layer keeps of a point's features goes through a linear map of its
            own for each kind of points, as it does in NequIP; the input features are then one-hot
            kinds, or any of which the map is to be a linear form.
        attention: Whether neighbors are weighed by queries and keys. Without it the logits are
            ones, and the sum, by the normalizer ``Linear``, is the convolution of tensor field
            networks and of NequIP: of degree 1 that of L1Net.
        parities: ``natural``, features of degree l that reflections multiply by (-1)ˡ, as they do
            harmonics; or ``both``, with those of the opposite sign beside them, such as the normals
            of planes: twice the features, and up to four times the products.

    Raises:
        ValueError: If the settings do not fit each other.

    Reference:
        Fuchs et al. 2020, SE(3)-Transformers; Batzner et al. 2022, E(3)-equivariant graph neural
        networks for interatomic potentials (the products); Schütt et al. 2021, Equivariant message
        passing for the prediction of tensorial properties (the inner products).

    Example:
        >>> import torch
        >>> from liegroups import RadialBasis
        >>> network = ChannelwiseTransformer(4, 1, RadialBasis(5.0), channels=8)
        >>> network(torch.randn(2, 9, 4), torch.randn(2, 9, 3)).shape
        torch.Size([2, 9, 1])
    """

    equivariance = Equivariance.EXACT
    neighborhood: NeighborhoodRule

    def __init__(
        self,
        in_features: int,
        out_features: int,
        invariant: Invariant | Sequence[Invariant] = RadialBasis(5.0),  # noqa: B008 (immutable)
        max_degree: int = 2,
        channels: int = 32,
        layers: int = 3,
        heads: int = 4,
        neighborhood: NeighborhoodRule = Radius(5.0, loops=False),  # noqa: B008 (immutable)
        hidden: int = 32,
        normalizer: Normalizer = Softmax(),  # noqa: B008 (immutable)
        pooling: Pooling = "none",
        bounded: bool = False,
        by_kind: bool = False,
        attention: bool = True,
        parities: Literal["natural", "both"] = "natural",
    ) -> None:
        super().__init__()
        check_pooling(pooling)
        if parities not in ("natural", "both"):
            raise ValueError(f"parities: {parities!r}; accepted: natural or both.")
        check_count("layers", layers, 2, DEPTH)
        check_count("channels", channels)
        check_count("heads", heads)
        check_count("max_degree", max_degree, 0, DEGREE)
        if channels % heads:
            raise ValueError(f"heads must divide channels; got {heads} and {channels}.")
        self.space = E(3).default_space()
        neighborhood.check(self.space)
        self.neighborhood = neighborhood
        one = invariant if isinstance(invariant, Invariant) else PerHead(invariant)
        self.geometry = Geometry(self.space, one)
        self.max_degree = max_degree
        self.in_features, self.out_features = in_features, out_features
        self.is_per_point = pooling == "none"
        self.pooling = None if pooling == "none" else pooling
        self.invariants = [invariant] if isinstance(invariant, Invariant) else list(invariant)
        scalars = [Type(0)]
        every = [Type(degree) for degree in range(max_degree + 1)]
        if parities == "both":
            every += [Type(degree, pseudo=True) for degree in range(max_degree + 1)]
        self.embedding = nn.Linear(in_features, channels)
        ends = [scalars, *[every] * (layers - 1), scalars]
        self.layers = nn.ModuleList(
            ChannelwiseLayer(
                *(self.geometry, channels, heads, hidden, normalizer, max_degree, *types),
                bounded,
                in_features if by_kind else None,
                attention,
            )
            for types in pairwise(ends)
        )
        self.out = nn.Sequential(
            nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, out_features)
        )

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

        Features are scalars, points in the unit of the neighborhood, and outputs scalars at each
        point, ``(batch, points, out_features)``, or pooled, ``(batch, out_features)``.
        """
        features, lifted, neighborhood = pair_up(self, features, points, mask, edges, generator)
        direction = directions(neighborhood, lifted.point).flatten(0, -2)
        harmonics = o3.spherical_harmonics(
            list(range(self.max_degree + 1)), direction, False, "component"
        )
        pairs = Pairs(self.geometry, neighborhood, lifted)
        hidden = self.embedding(features)[..., None, :]  # (batch, points, components, channels)
        matrices: dict[tuple[int, int], Tensor] = {}
        for layer in self.layers:
            assert isinstance(layer, ChannelwiseLayer)
            key = len(layer.types_in), len(layer.types_out)
            if key not in matrices:
                matrices[key] = layer.product(harmonics)
            hidden = layer(pairs, matrices[key], hidden, features)
        return pool(self.out(hidden[..., 0, :]), mask, self.pooling)


class Type(NamedTuple):
    """A kind of features: an irreducible representation of rotations and reflections.

    Attributes:
        degree: The degree l, of 2l + 1 components.
        pseudo: Whether reflections multiply it by -(-1)ˡ, in place of (-1)ˡ.
    """

    degree: int
    pseudo: bool = False

    @property
    def size(self) -> int:
        """Number of components."""
        return 2 * self.degree + 1


class PairMatrices(nn.Module):
    """The Clebsch-Gordan product with the harmonics of a pair, as a matrix from all to all types.

    The product is ordered by the type of the output, then the path, then the component.

    Args:
        types_in: Types of the features.
        types_out: Types of the product.
        max_degree: Largest degree of the harmonics.
    """

    table: Tensor

    def __init__(
        self, types_in: Sequence[Type], types_out: Sequence[Type], max_degree: int
    ) -> None:
        super().__init__()
        rows = sum(each.size for each in types_in)
        columns, self.paths = [], []
        for out in types_out:
            count = start = 0
            for each in types_in:
                a, c = each.degree, out.degree
                for b in range(abs(a - c), min(a + c, max_degree) + 1):
                    # The harmonics have the parity of their degree.
                    if (a + b + c) % 2 != (each.pseudo != out.pseudo):
                        continue
                    # Component normalization: features of unit variance have such products.
                    coefficients = o3.wigner_3j(a, b, c, dtype=torch.float64) * out.size**0.5
                    column = torch.zeros((max_degree + 1) ** 2, out.size, rows, dtype=torch.float64)
                    column[b * b : (b + 1) ** 2, :, start : start + each.size] = (
                        coefficients.permute(1, 2, 0)
                    )
                    columns.append(column)
                    count += 1
                start += each.size
            self.paths.append(count)
        self.register_buffer("table", torch.cat(columns, 1), persistent=False)

    def forward(self, harmonics: Tensor) -> Tensor:
        """Matrices ``(pairs, columns, rows)`` of harmonics ``(pairs, (max_degree + 1)²)``."""
        table = self.table.to(harmonics)
        return (harmonics @ table.flatten(1)).unflatten(-1, table.shape[1:])


class ChannelwiseLayer(nn.Module):
    """Attention, then a perceptron of the scalars and inner products.

    Args:
        geometry: The space of the points and the invariant of their pairs.
        channels: Number of channels.
        heads: Number of heads; divides ``channels``.
        hidden: Number of hidden units of the perceptrons of pairs.
        normalizer: Turns logits into weights.
        max_degree: Largest degree of the harmonics.
        types_in: Types of the input.
        types_out: Types of the output, of which either are the first of the others.
        bounded: Whether products of features grow no faster than the features.
        kinds: Number of features of the kinds of points, each of which has its own self-connection;
            None where all have the same.
        attention: Whether neighbors are weighed by queries and keys.
    """

    def __init__(
        self,
        geometry: Geometry,
        channels: int,
        heads: int,
        hidden: int,
        normalizer: Normalizer,
        max_degree: int,
        types_in: Sequence[Type],
        types_out: Sequence[Type],
        bounded: bool = False,
        kinds: int | None = None,
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.types_in, self.types_out, self.bounded = types_in, types_out, bounded
        self.starts = [0, *accumulate(each.size for each in types_out)]
        self.channels, self.heads, self.normalizer = channels, heads, normalizer
        self.product = PairMatrices(types_in, types_out, max_degree)
        paths = self.product.paths
        self.has_attention = attention
        count = (1 + attention) * sum(paths)
        self.weights = PairWeights(geometry.head_mask(heads), hidden, count, channels)
        # Types of both input and output can be compared, and kept.
        self.both = [each for each in types_in if each in types_out]
        self.query_and_keep = ByType(channels, (1 + attention) * channels, self.both)
        self.keep_by_kind = None if kinds is None else ByKind(kinds, channels, self.both)
        compared = zip(paths[: len(self.both)], self.both, strict=True)
        numbers = channels // heads * sum(count * each.size for count, each in compared)
        self.scale = numbers**-0.5
        self.mix = nn.ParameterList(
            torch.randn(count * channels, channels) * (count * channels) ** -0.5
            for count in paths
            if count
        )
        self.first_and_second = ByType(channels, 2 * channels, types_out)
        kept = len(types_out)
        self.perceptron = nn.Sequential(
            nn.Linear((kept + 1) * channels, 2 * channels),
            nn.SiLU(),
            nn.Linear(2 * channels, kept * channels),
        )

    def forward(
        self, pairs: Pairs, matrices: Tensor, features: Tensor, kinds: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Args:
            pairs: The pairs.
            matrices: Their matrices of the product, ``(pairs, columns, rows)``.
            features: ``(batch, points, components, channels)``.
            kinds: Features of the kinds of the points, ``(batch, points, kinds)``, where each has
                its own self-connection.

        Returns:
            New features, of the types of the output, in the same order.
        """
        kept = features[..., : sum(each.size for each in self.both), :]
        *queries, keep = self.query_and_keep(kept).split(self.channels, -1)
        if self.bounded:
            # Queries are linear in the features, so that they can be scaled with them.
            size = _size(features)
            queries, features = [query / size for query in queries], features / size
        if self.keep_by_kind is not None:
            assert kinds is not None
            keep = keep + self.keep_by_kind(kept, kinds)
        received = self._attend(pairs, matrices, features, *queries)
        hidden: list[Tensor] = []
        mixes = iter(self.mix)
        for part in self._by_path(received):
            if part.shape[-3]:
                mixed = part.transpose(-3, -2).flatten(-2) @ next(mixes)
            else:  # No path leads there, as to pseudotensors from scalars.
                mixed = part.sum(-3)
            have = len(hidden) < len(self.both)
            hidden.append(mixed + self._of_type(keep, len(hidden)) if have else mixed)
        together = torch.cat(hidden, -2)
        first, second = self.first_and_second(together).chunk(2, -1)
        if self.bounded:
            # Small features stay as they are; large ones multiply others as if of unit size.
            first = first / _size(first)
        product = first * second
        inner = [
            self._of_type(product, place).sum(-2) * each.size**-0.5
            for place, each in enumerate(self.types_out)
        ]
        scalars = self.perceptron(torch.cat([hidden[0][..., 0, :], *inner], -1))
        added, *gates = scalars.unsqueeze(-2).chunk(len(self.types_out), -1)
        parts = [added]
        parts += [gate * self._of_type(first, place) for place, gate in enumerate(gates, start=1)]
        return together + torch.cat(parts, -2)

    def _attend(
        self, pairs: Pairs, matrices: Tensor, features: Tensor, query: Tensor | None = None
    ) -> Tensor:
        """The sums of the messages of all neighbors, ``(batch, points, columns, channels)``."""
        neighborhood: Neighborhood = pairs.neighborhood
        shape = pairs.invariants.shape[1:]
        source = neighborhood.pull_sources(features.flatten(2)).expand(*shape, -1).flatten(0, -2)
        product = matrices @ source.unflatten(-1, (-1, self.channels))  # (pairs, columns, channels)
        by_path = self._by_path(product)  # (pairs, paths, components, channels)
        # (pairs, paths, channels) each
        *key_weights, value_weights = self.weights(pairs.invariants.flatten(1).T).split(
            sum(self.product.paths), 1
        )
        if query is None:
            logits = torch.ones_like(pairs.invariants[:1]).flatten(1)
        else:
            logits = self._logits(pairs, by_path, query, key_weights[0])
        shares = self.normalizer(neighborhood, logits.unflatten(1, shape)).flatten(1).T
        shares = shares.repeat_interleave(self.channels // shares.shape[1], -1)  # (pairs, channels)
        weights = (shares[:, None] * value_weights).split(self.product.paths, 1)
        values = [
            (part * weight[:, :, None]).flatten(1)
            for part, weight in zip(by_path, weights, strict=True)
        ]
        sent = torch.cat(values, -1).unflatten(0, shape)[None]
        received = neighborhood.sum_over_fibres(sent, len(features))[0]
        return received.unflatten(-1, (-1, self.channels))

    def _logits(
        self, pairs: Pairs, by_path: list[Tensor], query: Tensor, key_weights: Tensor
    ) -> Tensor:
        """Inner products of queries and keys, ``(heads, pairs)``."""
        neighborhood, shape = pairs.neighborhood, pairs.invariants.shape[1:]
        at_pairs = neighborhood.pull_targets(query.flatten(2)).expand(*shape, -1).flatten(0, -2)
        at_pairs = at_pairs.unflatten(-1, (-1, self.channels))
        overlaps = [
            (part * self._of_type(at_pairs, place)[:, None]).sum(-2)
            for place, part in enumerate(by_path[: len(self.both)])
        ]
        overlap = torch.cat(overlaps, 1)
        overlap = (overlap * key_weights[:, : overlap.shape[1]]).sum(1)
        return overlap.unflatten(-1, (self.heads, -1)).sum(-1).T * self.scale

    def _by_path(self, x: Tensor) -> list[Tensor]:
        """Columns ``(..., columns, channels)`` by type, ``(..., paths, components, channels)``."""
        sizes = [each.size for each in self.types_out]
        counts = self.product.paths
        parts = x.split([n * size for n, size in zip(counts, sizes, strict=True)], -2)
        return [part.unflatten(-2, (-1, n)) for part, n in zip(parts, sizes, strict=True)]

    def _of_type(self, x: Tensor, place: int) -> Tensor:
        """The components of the type at a place, of features ``(..., components, channels)``."""
        return x[..., self.starts[place] : self.starts[place + 1], :]


def _size(x: Tensor) -> Tensor:
    """√(1 + x²) of the mean square of features ``(..., components, channels)``."""
    return (1 + x.square().mean((-2, -1), keepdim=True)).sqrt()


class PairWeights(nn.Module):
    """A perceptron of the invariants with one hidden layer: the weights of the products.

    Heads that see the same invariants share a hidden layer.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        hidden: Number of hidden units.
        weights: Number of weights of a channel.
        channels: Number of channels of all heads together.

    Raises:
        ValueError: If ``hidden`` is less than one.
    """

    input_mask: Tensor

    def __init__(self, head_mask: Tensor, hidden: int, weights: int, channels: int) -> None:
        super().__init__()
        check_count("hidden", hidden)
        groups, shares = torch.unique_consecutive(head_mask, dim=0, return_counts=True)
        self.weights = weights
        self.register_buffer("input_mask", groups, persistent=False)
        self.first = nn.ModuleList(nn.Linear(head_mask.shape[1], hidden) for _ in shares)
        own = [channels * int(share) // len(head_mask) for share in shares]
        last = [nn.Linear(hidden, weights * n) for n in own]
        for layer in last:
            nn.init.normal_(layer.weight, std=(hidden / 3) ** -0.5)
            nn.init.zeros_(layer.bias)
        self.last = nn.ModuleList(last)

    def forward(self, invariants: Tensor) -> Tensor:
        """Weights ``(pairs, weights, channels)`` of invariants ``(pairs, invariants)``."""
        found = []
        for mask, first, last in zip(self.input_mask, self.first, self.last, strict=True):
            seen = invariants if len(self.input_mask) == 1 else invariants * mask
            hidden = nn.functional.silu(first(seen))
            found.append(last(hidden).unflatten(-1, (self.weights, -1)))
        return found[0] if len(found) == 1 else torch.cat(found, -1)


class ByType(nn.Module):
    """A linear map of the channels of each type, without a bias.

    Args:
        channels_in: Number of channels that come in.
        channels_out: Number of channels that go out.
        types: The types.
    """

    def __init__(self, channels_in: int, channels_out: int, types: Sequence[Type]) -> None:
        super().__init__()
        self.sizes = [each.size for each in types]
        self.weights = nn.ParameterList(
            torch.randn(channels_in, channels_out) * channels_in**-0.5 for _ in types
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(..., components, channels_in)`` to ``(..., components, channels_out)``."""
        parts = x.split(self.sizes, -2)
        return torch.cat([p @ w for p, w in zip(parts, self.weights, strict=True)], -2)


class ByKind(nn.Module):
    """A linear map of the channels of each type for each kind of points, without a bias.

    Args:
        kinds: Number of features of the kinds, of which the map is a linear form.
        channels: Number of channels.
        types: The types.
    """

    def __init__(self, kinds: int, channels: int, types: Sequence[Type]) -> None:
        super().__init__()
        self.sizes, self.channels = [each.size for each in types], channels
        self.weights = nn.ParameterList(
            torch.randn(kinds, channels**2) * channels**-0.5 for _ in types
        )

    def forward(self, x: Tensor, kinds: Tensor) -> Tensor:
        """Features ``(..., components, channels)`` to others, kinds being ``(..., kinds)``."""
        parts = x.split(self.sizes, -2)
        maps = [(kinds @ w).unflatten(-1, (self.channels, -1)) for w in self.weights]
        return torch.cat([p @ w for p, w in zip(parts, maps, strict=True)], -2)
