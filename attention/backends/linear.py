"""Linear attention: the sum over the sources first."""

from __future__ import annotations

from torch import Tensor

from attention.backends.base import Backend
from attention.geometry import Pairs
from attention.kernels import Kernel, Projections
from attention.neighborhoods import DenseNeighborhood
from attention.normalizers import Linear, Normalizer
from liegroups import Sees
from liegroups.sees import includes


class LinearTime(Backend):
    """Σ_j ⟨qᵢ, kⱼ⟩ vⱼ as qᵢ (Σ_j kⱼ vⱼᵀ): time and memory linear in the number of points.

    Reference:
        Katharopoulos et al. 2020, Transformers are RNNs, section 3.2.
    """

    def limitation(self, kernel: Kernel, normalizer: Normalizer, pairs: Pairs) -> str | None:
        if kernel.filter is not None:
            return "does not filter values; got " + type(kernel).__name__
        if not isinstance(normalizer, Linear):
            return f"needs the normalizer Linear; got {normalizer}"
        if not kernel.is_inner_product or includes(kernel.sees, Sees.INVARIANTS):
            return (
                "needs logits that are inner products and nothing more, such as ContentOnly with "
                f"DotProduct or Rotary; got {type(kernel).__name__}"
            )
        neighborhood = pairs.neighborhood
        if not isinstance(neighborhood, DenseNeighborhood) or not neighborhood.is_of_whole_clouds:
            return "needs every point of a cloud as a neighbor, without a cut-off"
        return None

    def __call__(
        self,
        kernel: Kernel,
        normalizer: Normalizer,
        pairs: Pairs,
        projections: Projections,
        values: Tensor,
    ) -> Tensor:
        query, key = projections.queries[0], projections.keys[0]
        neighborhood = pairs.neighborhood
        assert isinstance(neighborhood, DenseNeighborhood)
        if neighborhood.mask is not None:  # (batch, 1, sources)
            values = values.masked_fill(~neighborhood.mask.mT, 0)
        return query @ (key.mT @ values)
