"""Residual blocks: attention, and a pointwise perceptron."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from attention.backends import BackendName
from attention.geometry import Geometry, Pairs
from attention.kernels import Convolution, Kernel, Sum
from attention.kernels.content import merge_heads, split_heads
from attention.layer import LieAttention
from attention.normalizers import Linear, Normalizer

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


class ConvolutionBlock(Block):
    """A block that sums what a kernel with a filter makes of its neighbors, in one way.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``. Heads of their own invariants filter by those.
        geometry: The space of the points, the invariant of their pairs, and the lift.
        kernel: Makes the kernel, which has a filter: ``Convolution``, or ``Filtered``.
        normalizer: Turns its logits into weights; ``Linear``, the sum, when absent.
        backend: ``auto``.

    Raises:
        ValueError: If the kernel has no filter, or the backend is another.
    """

    @abstractmethod
    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: KernelMaker = Convolution,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
    ) -> None:
        super().__init__(width, heads, geometry)
        name = type(self).__name__
        if backend != "auto":
            raise ValueError(f"{name} has one way to convolve: backend auto; got {backend}.")
        self.heads, self.normalizer = heads, normalizer or Linear()
        self.kernel = kernel(width, heads, geometry)
        if self.kernel.filter is None:
            raise ValueError(
                f"{name} needs a kernel with a filter, such as Convolution or Filtered; got "
                f"{type(self.kernel).__name__}."
            )

    def convolve(self, pairs: Pairs, features: Tensor, values: Tensor) -> Tensor:
        """The sums of the filtered values, ``(batch, points, width)``.

        Args:
            pairs: The pairs.
            features: What the kernel sees of the points, ``(batch, points, width)``.
            values: What they send, of the same shape.
        """
        assert self.kernel.filter is not None
        logits = self.kernel(pairs, self.kernel.project(features, pairs.source))
        weights = self.normalizer(pairs.neighborhood, logits)
        of_pairs, coefficients = self.kernel.filter(pairs)
        split = split_heads(values, self.heads)
        return merge_heads(pairs.neighborhood.convolve(weights, of_pairs, coefficients, split))
