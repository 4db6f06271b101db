"""Attention as an integral transform: pull back, multiply by a kernel, push forward."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from attention.backends import BackendName, choose_backend
from attention.backends.choice import check_backend
from attention.geometry import Geometry, Pairs
from attention.kernels import Kernel, Sum
from attention.kernels.content import merge_heads, split_heads
from attention.normalizers import Normalizer, Softmax
from liegroups.checks import check_count


class LieAttention(nn.Module):
    """Multi-head attention whose kernel sees pairs of points through invariants alone.

    out(gᵢ) = W Σ_{j ∈ N(i)} α(fᵢ, fⱼ, I(gᵢ, gⱼ)) V fⱼ, equivariant because I does not change and
    N moves along when the group acts (Hutchinson et al. 2021, section 3.2).

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space of the points and the invariant of their pairs.
        kernel: Makes the kernel.
        normalizer: Turns logits into weights.
        backend: The way to compute it, see ``attention.backends``; all agree to rounding.

    Raises:
        ValueError: If ``heads`` does not divide ``width``, or there is no such backend.
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
        check_count("heads", heads)
        if width % heads:
            raise ValueError(f"heads must divide width; got {heads} heads and width {width}.")
        check_backend(backend)
        self.heads = heads
        self.kernel = kernel(width, heads, geometry)
        self.normalizer = normalizer or Softmax()
        self.backend = backend
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, pairs: Pairs, features: Tensor) -> Tensor:
        """Attend.

        Args:
            pairs: The pairs.
            features: ``(batch, points, width)``.

        Returns:
            New features ``(batch, points, width)``.

        Raises:
            ValueError: If the backend cannot compute this attention.
        """
        return pairs.map_targets(self.out, self.receive(pairs, features))

    def receive(self, pairs: Pairs, features: Tensor) -> Tensor:
        """The values that each target receives, ``(batch, points, width)``, as ``forward`` does."""
        projections = self.kernel.project(features, pairs.source)
        values = split_heads(self.value(features), self.heads)  # (heads, batch, points, channels)
        attend = choose_backend(self.backend, self.kernel, self.normalizer, pairs, values)
        received = attend(self.kernel, self.normalizer, pairs, projections, values)
        return merge_heads(received)
