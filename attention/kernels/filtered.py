"""Kernels whose values are filtered, with a number for each channel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attention.geometry import Geometry, Pairs
from attention.kernels.base import Kernel
from attention.kernels.content import Projections
from attention.kernels.filters import Filter, LinearFilter
from liegroups import Lifted, Sees

FilterFactory = Callable[[Tensor, int], Filter]


class Filtered(Kernel):
    """Attention whose values are filtered: αᵢⱼ (vⱼ ⊙ w(I(gᵢ, gⱼ))), w with a number a channel.

    The weights α are those of another kernel, one for each head.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space and the invariant.
        kernel: Makes the kernel of the weights.
        filter: Makes the filter.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: Callable[[int, int, Geometry], Kernel],
        filter: FilterFactory = LinearFilter,
    ) -> None:
        super().__init__(width, heads, geometry)
        self.kernel = kernel(width, heads, geometry)
        self.filter = filter(geometry.head_mask(heads), width)
        self.sees = Sees.INVARIANTS | self.kernel.sees

    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        return self.kernel.project(features, lifted)

    def forward(self, pairs: Pairs, projections: Projections) -> Tensor:
        return self.kernel(pairs, projections)


class Convolution(Kernel):
    """A convolution with a filter for each channel: ``Filtered`` with all logits one.

    The normalizer ``Linear`` makes a sum over the neighbors of it, ``Count`` and ``Softmax`` a
    mean. With heads of their own invariants (``liegroups.PerHead``), each filters by its own.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space and the invariant.
        filter: Makes the filter.

    Reference:
        Schütt et al. 2017, SchNet: A continuous-filter convolutional neural network for modeling
        quantum interactions.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        filter: FilterFactory = LinearFilter,
    ) -> None:
        super().__init__(width, heads, geometry)
        self.filter = filter(geometry.head_mask(heads), width)

    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        return Projections()

    def forward(self, pairs: Pairs, projections: Projections) -> Tensor:
        return torch.ones_like(pairs.invariants[:1])
