"""A residual block of attention and a pointwise perceptron."""

from __future__ import annotations

from collections.abc import Callable

from einops import rearrange
from torch import Tensor, nn

from attention.backends import BackendName
from attention.geometry import Geometry, Pairs
from attention.kernels import Kernel, Sum
from attention.layer import LieAttention
from attention.normalizers import Normalizer


class AttentionBlock(nn.Module):
    """x + MHA(LN x), then x + MLP(LN x), the perceptron being d → d → d with SiLU.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space of the points and the invariant of their pairs.
        kernel: Makes the kernel.
        normalizer: Turns logits into weights.
        backend: The way to compute the attention.

    Reference:
        Hutchinson et al. 2021, LieTransformer, figure 1.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: Callable[[int, int, Geometry], Kernel] = Sum,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = LieAttention(width, heads, geometry, kernel, normalizer, backend)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, pairs: Pairs, features: Tensor) -> Tensor:
        """Features ``(batch, points, width)`` to features of the same shape."""
        features = features + self.attention(pairs, self.attention_norm(features))
        return features + pairs.map_targets(self._mlp, features)

    def _mlp(self, features: Tensor) -> Tensor:
        return self.mlp(self.mlp_norm(features))


class SeparableBlock(AttentionBlock):
    """A residual block of lifted points whose attention is done in two parts.

    First between points at the same place of the fibre, then over the fibre of each point, then
    the perceptron: n² k and n k² pairs for n points with k lifts each, where all of them together
    are n² k². Where the elements over all points are the same but for translations, moving the
    cloud by one of the elements permutes the places of all fibres alike; where they are drawn, it
    does so in distribution.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space of the points and the invariant of their pairs.
        kernel: Makes the kernels.
        normalizer: Turns logits into weights.
        backend: The way to compute the attention.

    Reference:
        Bekkers et al. 2024, Fast, expressive SE(n) equivariant networks through weight-sharing in
        position-orientation space (PONITA), section 3.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: Callable[[int, int, Geometry], Kernel] = Sum,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
    ) -> None:
        super().__init__(width, heads, geometry, kernel, normalizer, backend)
        self.fibre_norm = nn.LayerNorm(width)
        self.fibre = LieAttention(width, heads, geometry, kernel, normalizer, backend)

    def forward(self, between: Pairs, within: Pairs, features: Tensor) -> Tensor:  # type: ignore[override]
        """Attend.

        Args:
            between: Pairs of the points at each place, ``(batch · lifts, points, ...)``.
            within: Pairs of the lifts of each point, ``(batch · points, lifts, ...)``.
            features: ``(batch · lifts, points, width)``.

        Returns:
            Features of the same shape.
        """
        features = features + self.attention(between, self.attention_norm(features))
        lifts = within.target.element.shape[1]
        fibres = rearrange(features, "(b k) n c -> (b n) k c", k=lifts)
        fibres = fibres + self.fibre(within, self.fibre_norm(fibres))
        back = rearrange(fibres, "(b n) k c -> (b k) n c", n=features.shape[1])
        return back + between.map_targets(self._mlp, back)
