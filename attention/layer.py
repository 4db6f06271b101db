"""Attention as an integral transform: pull back, multiply by a kernel, push forward."""

from __future__ import annotations

from collections.abc import Callable

from einops import rearrange
from torch import Tensor, nn

from attention.kernels import Kernel, Sum
from attention.kernels.content import split_heads
from attention.neighborhood import DenseNeighborhood
from attention.normalizers import Normalizer, Softmax


class LieAttention(nn.Module):
    """Multi-head attention whose kernel sees pairs of points through invariants alone.

    out(gᵢ) = W Σ_{j ∈ N(i)} α(fᵢ, fⱼ, I(gᵢ, gⱼ)) V fⱼ, equivariant because I does not change and
    N moves along when the group acts (Hutchinson et al. 2021, section 3.2).

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        kernel: Makes the kernel.
        normalizer: Turns logits into weights.

    Raises:
        ValueError: If ``heads`` does not divide ``width``.
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
        if width % heads:
            raise ValueError(f"heads must divide width; got {heads} heads and width {width}.")
        self.heads = heads
        self.kernel = kernel(width, heads, head_mask)
        self.normalizer = normalizer or Softmax()
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(
        self, neighborhood: DenseNeighborhood, features: Tensor, invariants: Tensor
    ) -> Tensor:
        """Attend.

        Args:
            neighborhood: The pairs.
            features: ``(batch, points, width)``.
            invariants: ``(invariants, *pairs)``.

        Returns:
            New features ``(batch, points, width)``.
        """
        logits = self.kernel(neighborhood, features, invariants)  # (heads, *pairs)
        weights = self.normalizer(neighborhood, logits)  # (heads, *pairs)
        values = split_heads(self.value(features), self.heads)  # (heads, batch, points, channels)
        received = neighborhood.push_forward(weights, values)  # (heads, batch, points, channels)
        return self.out(rearrange(received, "h b n c -> b n (h c)"))
