"""Attention whose features turn with the points."""

from __future__ import annotations

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from attention.geometry import Fibres, Geometry
from attention.normalizers import Normalizer, Softmax
from attention.steerable.irreps import EquivariantLinear, layout, split_types
from attention.steerable.tensor_product import Matrices, PairProduct


class SteerableAttention(nn.Module):
    """Attention between features that are irreducible representations of rotations.

    kᵢⱼ and vᵢⱼ are products of the neighbor's features hⱼ with spherical harmonics of the direction
    from i to j, each weighted by a perceptron of the invariant of the pair:

        out_i = S hᵢ + Σⱼ softmaxⱼ(⟨Q hᵢ, kᵢⱼ⟩ / √d) vᵢⱼ,

    with linear maps Q and S and d numbers a head. A head sees its own channels of every type.

    Args:
        irreps_in: Types of the input.
        irreps_out: Types of the output; their channels are divided among the heads.
        geometry: The space of the points and the invariant of their pairs.
        heads: Number of heads; divides the channels of every type of the output.
        max_degree: Largest degree of the harmonics.
        parity: Whether reflections act on the features.
        hidden: Number of hidden units of the perceptrons.
        normalizer: Turns logits into weights; softmax by default.

    Raises:
        ValueError: If ``heads`` does not divide the channels.

    Reference:
        Fuchs et al. 2020, SE(3)-Transformers, section 3; Mather 2023, Choices of Invariants for
        SE(3) Equivariant Attention Mechanisms, section 4.
    """

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        geometry: Geometry,
        heads: int = 4,
        max_degree: int = 3,
        parity: bool = False,
        hidden: int = 32,
        normalizer: Normalizer | None = None,
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        for mul, ir in self.irreps_out:
            if mul % heads:
                raise ValueError(
                    f"heads must divide the channels of every type; got {heads} heads and {mul} "
                    f"channels of type {ir}."
                )
        self.heads = heads
        self.normalizer = normalizer or Softmax()
        # One product gives both: what they have in common is computed once.
        keys_and_values = Irreps([(2 * mul, ir) for mul, ir in self.irreps_out])
        self.product = PairProduct(self.irreps_in, keys_and_values, max_degree, parity)
        self.query = EquivariantLinear(self.irreps_in, self.irreps_out)
        self.self_interaction = EquivariantLinear(self.irreps_in, self.irreps_out)
        self.types = layout(self.irreps_out)
        # Weights of a head, and numbers of a head, by type.
        self.weight_sizes = [
            columns * kind.channels // heads
            for columns, kind in zip(self.product.columns, self.types, strict=True)
        ]
        self.sizes = [kind.channels * kind.size // heads for kind in self.types]
        head_mask = geometry.head_mask(heads)
        self.key_weights = PairPerceptron(head_mask, hidden, sum(self.weight_sizes))
        self.value_weights = PairPerceptron(head_mask, hidden, sum(self.weight_sizes))

    def forward(self, fibres: Fibres, matrices: Matrices, features: Tensor) -> Tensor:
        """Attend.

        Args:
            fibres: The pairs.
            matrices: Harmonics of the pairs, ``(pairs, ...)``.
            features: ``(batch, points, irreps_in.dim)``.

        Returns:
            New features ``(batch, points, irreps_out.dim)``.
        """
        neighborhood = fibres.neighborhood
        invariants = fibres.invariants
        pairs = invariants.shape[1:]
        flat = invariants.flatten(1).T  # (pairs, invariants)
        source = neighborhood.pull_sources(features).flatten(0, -2)
        query = neighborhood.pull_targets(self.query(features)).flatten(0, -2)
        weights_of_both = zip(
            self._by_type(self.key_weights(flat)),
            self._by_type(self.value_weights(flat)),
            strict=True,
        )
        both = self.product(source, matrices, [torch.cat(pair, -1) for pair in weights_of_both])
        types = split_types(self.product.types_out, both)
        key, value = (self._by_head([part.chunk(2, 1)[k] for part in types], pairs) for k in (0, 1))
        query = self._by_head(split_types(self.types, query), pairs)
        logits = (query * key).sum(-1) * key.shape[-1] ** -0.5  # (heads, *pairs)
        weights = self.normalizer(neighborhood, logits)  # (heads, *pairs)
        messages = weights[..., None] * value
        received = neighborhood.sum_over_fibres(messages, len(features))
        return self.self_interaction(features) + self._merged(received)

    def _by_type(self, weights: Tensor) -> list[Tensor]:
        """Weights ``(heads, pairs, weights a head)`` as ``(pairs, columns, channels)`` a type."""
        found = []
        parts = weights.split(self.weight_sizes, -1)
        for part, columns in zip(parts, self.product.columns, strict=True):
            by_head = part.unflatten(-1, (columns, -1))  # (heads, pairs, columns, channels)
            found.append(by_head.movedim(0, 2).flatten(2))
        return found

    def _by_head(self, types: list[Tensor], pairs: torch.Size) -> Tensor:
        """Types ``(pairs, channels, 2l + 1)`` as ``(heads, *pairs, numbers a head)``."""
        parts = [part.unflatten(1, (self.heads, -1)).flatten(2) for part in types]
        return torch.cat(parts, -1).movedim(1, 0).unflatten(1, pairs)

    def _merged(self, x: Tensor) -> Tensor:
        """Features ``(heads, batch, points, numbers a head)`` as ``(batch, points, dim)``."""
        parts = x.split(self.sizes, -1)
        return torch.cat([part.movedim(0, -2).flatten(-2) for part in parts], -1)


class PairPerceptron(nn.Module):
    """Perceptrons of the invariants with one hidden layer: the weights of the products.

    Heads that see the same invariants share a hidden layer.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        hidden: Number of hidden units.
        weights: Number of weights of a head.

    Raises:
        ValueError: If ``hidden`` is less than one.
    """

    input_mask: Tensor

    def __init__(self, head_mask: Tensor, hidden: int, weights: int) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"a perceptron needs at least 1 hidden unit; got {hidden}.")
        groups, shares = torch.unique_consecutive(head_mask, dim=0, return_counts=True)
        self.shares: list[int] = shares.tolist()
        self.register_buffer("input_mask", groups, persistent=False)
        self.first = nn.ModuleList(nn.Linear(head_mask.shape[1], hidden) for _ in self.shares)
        last = [nn.Linear(hidden, n * weights) for n in self.shares]
        for layer in last:
            # Weights of about unit variance, for which the product is normalized.
            nn.init.normal_(layer.weight, std=(hidden / 3) ** -0.5)
            nn.init.zeros_(layer.bias)
        self.last = nn.ModuleList(last)

    def forward(self, invariants: Tensor) -> Tensor:
        """Weights ``(heads, pairs, weights a head)`` of invariants ``(pairs, invariants)``."""
        found = []
        for mask, share, first, last in zip(
            self.input_mask, self.shares, self.first, self.last, strict=True
        ):
            hidden = nn.functional.silu(first(invariants * mask))
            found.append(last(hidden).unflatten(-1, (share, -1)).movedim(1, 0))
        return torch.cat(found)
