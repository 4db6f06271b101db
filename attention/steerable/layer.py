"""Attention whose features turn with the points."""

from __future__ import annotations

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn

from attention.geometry import Geometry, Pairs
from attention.normalizers import Normalizer, Softmax
from attention.steerable.irreps import (
    EquivariantLinear,
    by_components,
    from_components,
    layout,
    to_components,
)
from attention.steerable.perceptron import PairPerceptron
from attention.steerable.products import ProductName, make_product
from attention.steerable.tensor_product import Directions


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
        product: The way to compute the products: ``fused``, ``e3nn``, or ``cuequivariance`` where
            that is installed. The weights and, to rounding, the results are the same.

    Raises:
        ValueError: If ``heads`` does not divide the channels, or there is no such ``product``.
        ModuleNotFoundError: If the library of ``product`` is not installed.

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
        product: ProductName = "fused",
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
        self.product = make_product(product, self.irreps_in, self.irreps_out, max_degree, parity)
        self.query = EquivariantLinear(self.irreps_in, self.irreps_out)
        self.self_interaction = EquivariantLinear(self.irreps_in, self.irreps_out)
        self.types_in, self.types = layout(self.irreps_in), layout(self.irreps_out)
        self.scale = (self.irreps_out.dim // heads) ** -0.5
        head_mask = geometry.head_mask(heads)
        settings = head_mask, hidden, self.product.paths, self.types_in, self.types
        self.key_weights = PairPerceptron(*settings)
        self.value_weights = PairPerceptron(*settings)

    def forward(self, pairs: Pairs, directions: Directions, features: Tensor) -> Tensor:
        """Attend.

        Args:
            pairs: The pairs.
            directions: Of the pairs, with the harmonics of them.
            features: ``(batch, points, irreps_in.dim)``.

        Returns:
            New features ``(batch, points, irreps_out.dim)``.
        """
        neighborhood = pairs.neighborhood
        invariants = pairs.invariants
        shape = invariants.shape[1:]
        flat = invariants.flatten(1).T  # (pairs, invariants)
        keys, values = self.product(
            to_components(self.types_in, features),
            directions,
            [self.key_weights(flat), self.value_weights(flat)],
        )
        query = neighborhood.pull_targets(to_components(self.types, self.query(features)))
        queries = by_components(self.types, query.expand(*shape, -1).flatten(0, -2))
        logits = sum(
            (q * k).unflatten(-1, (self.heads, -1)).sum((1, 3))  # (pairs, heads)
            for q, k in zip(queries, keys, strict=True)
        )
        weights = self.normalizer(neighborhood, logits.T.unflatten(1, shape) * self.scale)
        weight = weights.flatten(1).T[:, None, :, None]  # (pairs, 1, heads, 1)
        messages = torch.cat(
            [(weight * v.unflatten(-1, (self.heads, -1))).flatten(1) for v in values], 1
        )
        received = neighborhood.sum_over_fibres(messages.unflatten(0, shape)[None], len(features))
        return self.self_interaction(features) + from_components(self.types, received[0])
