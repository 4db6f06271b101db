"""Fused attention: torch's scaled dot product attention, location as an additive bias."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attention.backends.base import Backend
from attention.geometry import Pairs
from attention.kernels import Kernel, Projections
from attention.neighborhoods import DenseNeighborhood
from attention.normalizers import Normalizer, Softmax
from liegroups import Sees
from liegroups.sees import includes


class Fused(Backend):
    """Softmax attention by torch's own implementations, which store no weights.

    Without a location part, memory is linear in the number of points. With one, the bias is
    stored for every pair. Implementations on a GPU and on a CPU have no second derivatives: where
    those are wanted, as for forces, take another backend; ``auto`` does so where the points
    require a gradient.
    """

    def limitation(self, kernel: Kernel, normalizer: Normalizer, pairs: Pairs) -> str | None:
        if kernel.filter is not None:
            return "does not filter values; got " + type(kernel).__name__
        if not isinstance(normalizer, Softmax):
            return f"needs the normalizer Softmax; got {normalizer}"
        if not kernel.is_inner_product:
            return (
                "needs logits that are inner products, with or without a bias, such as ContentOnly "
                f"or Sum with DotProduct or Rotary; got {type(kernel).__name__}"
            )
        if not isinstance(pairs.neighborhood, DenseNeighborhood):
            return "needs the dense layout"
        if pairs.neighborhood.cutoff is not None:
            return "does not know a cut-off"
        return None

    def __call__(
        self,
        kernel: Kernel,
        normalizer: Normalizer,
        pairs: Pairs,
        projections: Projections,
        values: Tensor,
    ) -> Tensor:
        neighborhood = pairs.neighborhood
        assert isinstance(neighborhood, DenseNeighborhood)
        query, key, value = (
            x.transpose(0, 1) for x in (projections.queries[0], projections.keys[0], values)
        )
        bias = None if neighborhood.mask is None else neighborhood.mask[:, None]
        if includes(kernel.sees, Sees.INVARIANTS):
            location = kernel.bias(pairs).transpose(0, 1)
            if bias is not None:
                location = location.masked_fill(~bias, torch.finfo(location.dtype).min)
            bias = location
        received = scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
        received = received.transpose(0, 1)
        if neighborhood.mask is None:
            return received
        return received.masked_fill(~neighborhood.mask.any(-1, keepdim=True), 0)
