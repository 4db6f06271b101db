"""Outputs for each point: scalars, and vectors in two ways."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from attention.backends import BackendName, choose_backend
from attention.backends.choice import check_backend
from attention.geometry import Geometry, Pairs
from attention.heads.base import Head, VectorHead, average_lifts, linear_part, perceptron
from attention.kernels import Kernel, Sum
from attention.normalizers import Normalizer, Softmax
from liegroups import Sees
from liegroups.checks import check_count


class PointHead(Head):
    """Invariant outputs for each point: a perceptron, averaged over the lifts of the point.

    Args:
        width: Number of features a point.
        out_features: Number of outputs a point.
        geometry: The space of the points and the invariant of their pairs.
    """

    def __init__(self, width: int, out_features: int, geometry: Geometry) -> None:
        super().__init__(width, out_features, geometry)
        self.pointwise = perceptron(width, out_features)

    def forward(self, features: Tensor, pairs: Pairs, mask: Tensor | None, lifts: int) -> Tensor:
        """Outputs ``(batch, points, out_features)``, zero at points that do not exist."""
        return average_lifts(self.pointwise(features), mask, lifts)


class RelativeVectorHead(VectorHead):
    """Vectors for each point: relative positions of its neighbors, weighted by attention.

    vᵢ = Σ_h cₕ(fᵢ) Σ_j αₕ(fᵢ, fⱼ, Iᵢⱼ) (xⱼ - xᵢ), with coefficients c from a perceptron. Under
    x ↦ Ax + b the vectors turn into Avᵢ, with the kind of equivariance that the features have.
    They lie in the span of the relative positions: in the plane of a planar cloud, for example.

    Args:
        width: Number of features a point.
        out_features: Number of vectors a point.
        geometry: The space of the points and the invariant of their pairs.
        heads: Number of attention heads; divides ``width``.
        kernel: Makes the kernel.
        normalizer: Turns logits into weights; softmax by default.
        backend: The way to compute the attention.

    Raises:
        ValueError: If the group does not move vectors, ``heads`` does not divide ``width``, or the
            kernel has a filter.
    """

    needs_pairs = True

    def __init__(
        self,
        width: int,
        out_features: int,
        geometry: Geometry,
        heads: int = 8,
        kernel: Callable[[int, int, Geometry], Kernel] = Sum,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
    ) -> None:
        super().__init__(width, out_features, geometry)
        check_count("heads", heads)
        if width % heads:
            raise ValueError(f"heads must divide width; got {heads} heads and width {width}.")
        check_backend(backend)
        self.heads = heads
        self.kernel = kernel(width, heads, geometry)
        if self.kernel.filter is not None:
            raise ValueError(
                "RelativeVectorHead sends positions, which have no channels to filter: give it a "
                f"kernel without a filter; got {type(self.kernel).__name__}."
            )
        self.sees = Sees.POINTS | self.kernel.sees
        self.normalizer = normalizer or Softmax()
        self.backend = backend
        self.coefficients = perceptron(width, out_features * heads)

    def forward(self, features: Tensor, pairs: Pairs, mask: Tensor | None, lifts: int) -> Tensor:
        """Vectors ``(batch, points, out_features, n)``, zero at points that do not exist."""
        # As seen from the first point, so that nothing is lost far from the origin. The ones
        # give the sum of the weights, by which a target's own position is subtracted.
        position = pairs.source.point - pairs.source.point[:, :1]
        carried = torch.cat((position, torch.ones_like(position[..., :1])), -1)
        values = carried.expand(self.heads, *carried.shape)
        attend = choose_backend(self.backend, self.kernel, self.normalizer, pairs, values)
        projections = self.kernel.project(features, pairs.source)
        received = attend(self.kernel, self.normalizer, pairs, projections, values)
        relative = received[..., :-1] - received[..., -1:] * position
        coefficients = self.coefficients(features).unflatten(-1, (-1, self.heads))
        vectors = torch.einsum("bnoh,hbnc->bnoc", coefficients, relative)
        return average_lifts(vectors, mask, lifts)


class FrameVectorHead(VectorHead):
    """Vectors for each point: components from a perceptron, turned by the element's linear part.

    vᵢ = mean over the lifts of A(gᵢ) c(fᵢ). Since g moves to hg and f stays, v moves to A(h)v,
    with the kind of equivariance of the lift: exact with frames, in distribution with Haar
    samples. Unlike relative positions, they reach every vector.

    Args:
        width: Number of features a point.
        out_features: Number of vectors a point.
        geometry: The space of the points and the invariant of their pairs.

    Raises:
        ValueError: If the group does not move vectors.
    """

    sees = Sees.ELEMENTS

    def __init__(self, width: int, out_features: int, geometry: Geometry) -> None:
        super().__init__(width, out_features, geometry)
        self.components = perceptron(width, out_features * geometry.space.point_dim)

    def forward(self, features: Tensor, pairs: Pairs, mask: Tensor | None, lifts: int) -> Tensor:
        """Vectors ``(batch, points, out_features, n)``, zero at points that do not exist."""
        space = pairs.geometry.space
        components = self.components(features).unflatten(-1, (-1, space.point_dim))
        matrices = linear_part(space, pairs.source.element)
        vectors = torch.einsum("bnij,bnoj->bnoi", matrices, components)
        return average_lifts(vectors, mask, lifts)
