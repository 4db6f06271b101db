"""Content and location combined, and each of them alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from attention.geometry import Geometry, Pairs
from attention.kernels.base import Kernel
from attention.kernels.content import Content, DotProduct, Projections
from attention.kernels.location import Location, LocationMLP
from liegroups import HomogeneousSpace, Lifted, Sees
from liegroups.checks import check_count

ContentFactory = Callable[[int, int, HomogeneousSpace], Content]
LocationFactory = Callable[[Tensor], Location]


class ContentOnly(Kernel):
    """Content alone: attention that knows where points are only if the content does.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space and the invariant.
        content: Makes the content part.
    """

    def __init__(
        self, width: int, heads: int, geometry: Geometry, content: ContentFactory = DotProduct
    ) -> None:
        super().__init__(width, heads, geometry)
        self.content = content(width, heads, geometry.space)
        self.is_inner_product = self.content.is_inner_product
        self.sees = self.content.sees

    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        return self.content.project(features, lifted)

    def forward(self, pairs: Pairs, projections: Projections) -> Tensor:
        return self.content(pairs.neighborhood, projections)


class LocationOnly(Kernel):
    """Location alone: a convolution, as in LieConv (Finzi et al. 2020) or PONITA.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space and the invariant.
        location: Makes the location part.
    """

    def __init__(
        self, width: int, heads: int, geometry: Geometry, location: LocationFactory = LocationMLP
    ) -> None:
        super().__init__(width, heads, geometry)
        self.location = location(geometry.head_mask(heads))

    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        return Projections()

    def forward(self, pairs: Pairs, projections: Projections) -> Tensor:
        return pairs.map_invariants(self.location)


class _ContentWithLocation(Kernel):
    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        content: ContentFactory = DotProduct,
        location: LocationFactory = LocationMLP,
    ) -> None:
        super().__init__(width, heads, geometry)
        self.content = content(width, heads, geometry.space)
        self.location = location(geometry.head_mask(heads))
        self.sees = Sees.INVARIANTS | self.content.sees

    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        return self.content.project(features, lifted)

    def forward(self, pairs: Pairs, projections: Projections) -> Tensor:
        content = self.content(pairs.neighborhood, projections)
        return self.combine(content, pairs.map_invariants(self.location))

    @abstractmethod
    def combine(self, content: Tensor, location: Tensor) -> Tensor:
        """Combine two sets of logits ``(heads, *pairs)`` into one."""


class Sum(_ContentWithLocation):
    """Content plus location.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space and the invariant.
        content: Makes the content part.
        location: Makes the location part.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        content: ContentFactory = DotProduct,
        location: LocationFactory = LocationMLP,
    ) -> None:
        super().__init__(width, heads, geometry, content, location)
        self.is_inner_product = self.content.is_inner_product

    def combine(self, content: Tensor, location: Tensor) -> Tensor:
        return content.add_(location)  # In place: content is new, and as large as all pairs.

    def bias(self, pairs: Pairs) -> Tensor:
        return pairs.map_invariants(self.location)


class Product(_ContentWithLocation):
    """Content times location.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space and the invariant.
        content: Makes the content part.
        location: Makes the location part.
    """

    def combine(self, content: Tensor, location: Tensor) -> Tensor:
        return content * location


class Joint(_ContentWithLocation):
    """A perceptron with one hidden layer on content and location, separate for each head.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space and the invariant.
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
        geometry: Geometry,
        content: ContentFactory = DotProduct,
        location: LocationFactory = LocationMLP,
        hidden: int = 4,
    ) -> None:
        super().__init__(width, heads, geometry, content, location)
        check_count("Joint.hidden", hidden)
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
