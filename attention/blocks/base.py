"""Residual blocks: attention, and a pointwise perceptron."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from attention.backends import BackendName
from attention.geometry import Geometry, Pairs
from attention.kernels import Kernel, Sum
from attention.layer import LieAttention
from attention.normalizers import Normalizer

KernelMaker = Callable[[int, int, Geometry], Kernel]


class Block(nn.Module, ABC):
    """Maps the features of lifted points to features of the same shape.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space of the points, the invariant of their pairs, and the lift.
        kernel: Makes the kernel.
        normalizer: Turns logits into weights.
        backend: The way to compute the attention.

    Attributes:
        is_separable: Whether it takes the pairs of points at each place of the fibre, and those of
            the lifts of each point, instead of all pairs of lifted points.
    """

    is_separable: ClassVar[bool] = False

    @abstractmethod
    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: KernelMaker = Sum,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
    ) -> None:
        super().__init__()


class AttentionBlock(Block):
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
        kernel: KernelMaker = Sum,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
    ) -> None:
        super().__init__(width, heads, geometry)
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
