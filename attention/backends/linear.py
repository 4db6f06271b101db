"""Linear attention: the sum over the sources first."""

from __future__ import annotations

from torch import Tensor

from attention.backends.base import Backend
from attention.geometry import Fibres
from attention.kernels import Ends, Kernel
from attention.neighborhoods import DenseNeighborhood
from attention.normalizers import Linear, Normalizer
from liegroups import Sees


class LinearTime(Backend):
    """Σ_j ⟨qᵢ, kⱼ⟩ vⱼ as qᵢ (Σ_j kⱼ vⱼᵀ): time and memory linear in the number of points.

    Reference:
        Katharopoulos et al. 2020, Transformers are RNNs, section 3.2.
    """

    def obstacle(self, kernel: Kernel, normalizer: Normalizer, fibres: Fibres) -> str | None:
        if not isinstance(normalizer, Linear):
            return f"needs the normalizer Linear; got {normalizer}"
        if not kernel.is_inner_product or Sees.INVARIANTS in kernel.sees:
            return (
                "needs logits that are inner products and nothing more, such as ContentOnly with "
                f"DotProduct or Rotary; got {type(kernel).__name__}"
            )
        neighborhood = fibres.neighborhood
        if not isinstance(neighborhood, DenseNeighborhood) or not neighborhood.is_of_whole_clouds:
            return "needs every point of a cloud as a neighbor, without a cut-off"
        return None

    def __call__(
        self, kernel: Kernel, normalizer: Normalizer, fibres: Fibres, ends: Ends, values: Tensor
    ) -> Tensor:
        (query, *_), (key, *_) = ends
        neighborhood = fibres.neighborhood
        assert isinstance(neighborhood, DenseNeighborhood)
        if neighborhood.mask is not None:  # (batch, 1, sources)
            values = values.masked_fill(~neighborhood.mask.mT, 0)
        return query @ (key.mT @ values)
