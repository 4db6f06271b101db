"""A residual block of attention and a pointwise perceptron."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from attention.kernels import Kernel, Sum
from attention.layer import LieAttention
from attention.neighborhood import DenseNeighborhood
from attention.normalizers import Normalizer


class AttentionBlock(nn.Module):
    """x + MHA(LN x), then x + MLP(LN x), the perceptron being d → d → d with SiLU.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        kernel: Makes the kernel.
        normalizer: Turns logits into weights.

    Reference:
        Hutchinson et al. 2021, LieTransformer, figure 1.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_mask: Tensor,
        kernel: Callable[[int, int, Tensor], Kernel] = Sum,
        normalizer: Normalizer | None = None,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = LieAttention(width, heads, head_mask, kernel, normalizer)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self, neighborhood: DenseNeighborhood, features: Tensor, invariants: Tensor
    ) -> Tensor:
        """Features ``(batch, points, width)`` to features of the same shape."""
        attended = self.attention(neighborhood, self.attention_norm(features), invariants)
        features = features + attended
        return features + self.mlp(self.mlp_norm(features))
