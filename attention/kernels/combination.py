"""Kernels: content and location, combined into the logits of the pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from attention.kernels.content import Content, DotProduct
from attention.kernels.location import Location, LocationMLP
from attention.neighborhood import DenseNeighborhood


class Kernel(nn.Module, ABC):
    """Logits of pairs from the features of both ends and the invariant of the pair.

    It sees the pair through invariants only; this is why a layer built on it is equivariant.

    Args:
        width: Number of features a point.
        heads: Number of heads.
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
    """

    @abstractmethod
    def forward(
        self, neighborhood: DenseNeighborhood, features: Tensor, invariants: Tensor
    ) -> Tensor:
        """Logits ``(heads, *pairs)``.

        Args:
            neighborhood: The pairs.
            features: ``(batch, points, width)``.
            invariants: ``(invariants, *pairs)``.
        """


class _ContentWithLocation(Kernel):
    def __init__(
        self,
        width: int,
        heads: int,
        head_mask: Tensor,
        content: Callable[[int, int], Content] = DotProduct,
        location: Callable[[Tensor], Location] = LocationMLP,
    ) -> None:
        super().__init__()
        self.content = content(width, heads)
        self.location = location(head_mask)

    def forward(
        self, neighborhood: DenseNeighborhood, features: Tensor, invariants: Tensor
    ) -> Tensor:
        return self.combine(self.content(neighborhood, features), self.location(invariants))

    @abstractmethod
    def combine(self, content: Tensor, location: Tensor) -> Tensor:
        """Combine two sets of logits ``(heads, *pairs)`` into one."""


class Sum(_ContentWithLocation):
    """Content plus location.

    Args:
        width: Number of features a point.
        heads: Number of heads.
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        content: Makes the content part.
        location: Makes the location part.
    """

    def combine(self, content: Tensor, location: Tensor) -> Tensor:
        return content.add_(location)  # In place: content is new, and as large as all pairs.


class Product(_ContentWithLocation):
    """Content times location.

    Args:
        width: Number of features a point.
        heads: Number of heads.
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        content: Makes the content part.
        location: Makes the location part.
    """

    def combine(self, content: Tensor, location: Tensor) -> Tensor:
        return content * location


class Joint(_ContentWithLocation):
    """A perceptron with one hidden layer on content and location, separate for each head.

    Args:
        width: Number of features a point.
        heads: Number of heads.
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        content: Makes the content part.
        location: Makes the location part.
        hidden: Number of hidden units a head.

    Raises:
        ValueError: If ``hidden`` is less than one.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_mask: Tensor,
        content: Callable[[int, int], Content] = DotProduct,
        location: Callable[[Tensor], Location] = LocationMLP,
        hidden: int = 4,
    ) -> None:
        super().__init__(width, heads, head_mask, content, location)
        if hidden < 1:
            raise ValueError(f"Joint takes at least 1 hidden unit; got {hidden}.")
        self.from_content = nn.Parameter(torch.randn(hidden, heads))
        self.from_location = nn.Parameter(torch.randn(hidden, heads))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden, heads))
        self.out = nn.Parameter(torch.randn(hidden, heads) * hidden**-0.5)

    def combine(self, content: Tensor, location: Tensor) -> Tensor:
        pairs = (1,) * (content.ndim - 1)
        total = torch.zeros_like(content)
        for a, b, bias, out in zip(
            self.from_content, self.from_location, self.hidden_bias, self.out, strict=True
        ):
            a, b, bias, out = (p.view(-1, *pairs) for p in (a, b, bias, out))
            total = total + out * silu(a * content + b * location + bias)
        return total
