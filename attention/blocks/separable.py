"""Blocks of lifted points that attend in two parts: between points, and over each fibre.

Between points a lift is paired with those at its own place of the other fibres alone, so that n
points with k lifts each have n² k pairs, where all of them together are n² k². Where the elements
over all points are the same but for translations, moving the cloud by one of them permutes the
places of all fibres alike; where they are drawn, it does so in distribution.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from attention.backends import BackendName
from attention.blocks.base import AttentionBlock, ConvolutionBlock, KernelMaker
from attention.blocks.fibres import FibreConvolution, GroupLinear, group_table
from attention.geometry import Geometry, Pairs
from attention.kernels import Convolution, Sum
from attention.layer import LieAttention
from attention.normalizers import Normalizer
from liegroups.checks import check_count, check_number


class SeparableBlock(AttentionBlock):
    """Attention between points, attention over the fibre, and a perceptron, each residual.

    It goes with every lift, also those that are drawn. Over the fibre there are n k² pairs.

    Args:
        width: Number of features a lifted point.
        heads: Number of heads; divides ``width``.
        geometry: The space of the points, the invariant of their pairs, and the lift.
        kernel: Makes the kernels.
        normalizer: Turns logits into weights.
        backend: The way to compute the attention.
    """

    is_separable = True

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: KernelMaker = Sum,
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


class GroupConvolutionBlock(AttentionBlock):
    """The block of the transformer, with a group convolution in place of every linear map.

    x + MHA(LN x), then x + MLP(LN x), where the projections of attention and the perceptron mix
    the lifts of a point. So the lifts are to be a finite group, as those of ``FullOrbit`` are;
    kernels see pairs of points at the same place. In channels of all lifts together, of which
    there are ``width`` times the lifts, time is that of an ordinary transformer.

    Args:
        width: Number of features a lifted point.
        heads: Number of heads of each lift; divides ``width``.
        geometry: The space of the points, the invariant of their pairs, and the lift.
        kernel: Makes the kernel.
        normalizer: Turns logits into weights.
        backend: The way to compute the attention.
        widening: Hidden units of the perceptron in units of the width.

    Raises:
        ValueError: If the lifts are no group, or ``widening`` is less than one.

    Reference:
        Islam et al. 2025, Platonic Transformers: A Solid Choice for Equivariance.
    """

    is_separable = True

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: KernelMaker = Convolution,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
        widening: int = 1,
    ) -> None:
        super().__init__(width, heads, geometry, kernel, normalizer, backend)
        check_count("GroupConvolutionBlock.widening", widening)
        if geometry.lift is None:
            raise ValueError("GroupConvolutionBlock needs a geometry with a lift; got none.")
        table = group_table(geometry.space, geometry.lift)
        for module in list(self.attention.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.Linear):
                    mixing = GroupLinear(child.in_features, child.out_features, table)
                    setattr(module, name, mixing)
        self.mlp = nn.Sequential(
            GroupLinear(width, widening * width, table),
            nn.GELU(),
            GroupLinear(widening * width, width, table),
        )

    def forward(self, between: Pairs, within: Pairs, features: Tensor) -> Tensor:  # type: ignore[override]
        """Attend, as :meth:`SeparableBlock.forward` says; ``within`` is not looked at."""
        normed = self.attention_norm(features)
        # Not by Pairs.map_targets, which leaves points out: the maps take all lifts together.
        features = features + self.attention.out(self.attention.receive(between, normed))
        return features + self._mlp(features)


class ConvNextBlock(ConvolutionBlock):
    """x + γ ⊙ MLP(LN(F(S x) + b)), S a convolution between points and F one over the fibre.

    Both are depth-wise, with a filter for each channel, as the kernel has. The perceptron is
    d → 4d → d with GELU.

    Args:
        width: Number of features a lifted point.
        heads: Number of heads; divides ``width``. Heads of their own invariants filter by those.
        geometry: The space of the points, the invariant of their pairs, and the lift.
        kernel: Makes the kernels, which have a filter: ``Convolution``, or ``Filtered``.
        normalizer: Turns the logits of the kernel between points into weights; ``Linear``, the sum
            over the neighbors, when absent.
        backend: ``auto``.
        widening: Hidden units of the perceptron in units of the width.
        scale: Where γ starts; None for no γ.

    Raises:
        ValueError: If the kernel has no filter, or the settings are out of range.

    Reference:
        Bekkers et al. 2024, Fast, Expressive SE(n) Equivariant Networks through Weight-Sharing in
        Position-Orientation Space (PONITA), figure 3; Liu et al. 2022, A ConvNet for the 2020s.
    """

    is_separable = True

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: KernelMaker = Convolution,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
        widening: int = 4,
        scale: float | None = None,
    ) -> None:
        super().__init__(width, heads, geometry, kernel, normalizer, backend)
        check_count("ConvNextBlock.widening", widening)
        if scale is not None:
            check_number("ConvNextBlock.scale", scale)
        over_fibre = kernel(width, heads, geometry).filter
        assert over_fibre is not None
        self.fibre = FibreConvolution(geometry, over_fibre)
        self.bias = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, widening * width), nn.GELU(), nn.Linear(widening * width, width)
        )
        self.scale = None if scale is None else nn.Parameter(torch.full((width,), scale))

    def forward(self, between: Pairs, within: Pairs, features: Tensor) -> Tensor:
        """Convolve, as :meth:`SeparableBlock.forward` says."""
        received = self.convolve(between, features, features)
        received = self.fibre(within, received) + self.bias
        return features + between.map_targets(self._mlp, received)

    def _mlp(self, features: Tensor) -> Tensor:
        mapped: Tensor = self.mlp(self.norm(features))
        return mapped if self.scale is None else self.scale * mapped
