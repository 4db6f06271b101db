"""The base class of kernels."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from attention.geometry import Geometry, Pairs
from attention.kernels.content import Projections
from attention.kernels.filters import Filter
from liegroups import Lifted, Sees
from liegroups.deprecation import RenamedMethods
from liegroups.sees import Seeing


class Kernel(Seeing, RenamedMethods, nn.Module, ABC):
    """Logits of pairs from the features of target and source and the invariant of the pair.

    It sees the pair through invariants only; this is why a layer built on it is equivariant.
    Terms of one point alone are computed in ``project``, once a point; ``forward`` computes the
    rest, once a pair, and may be given a part of the targets at a time.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space and the invariant.

    Attributes:
        filter: Multiplies the values of the sources, channel by channel, by a function of the
            invariants; None where they are received as they are.
        sees: The parts of a pair that the logits depend on: the invariants, and the elements over
            the points where ``project`` looks at those.
        is_inner_product: Whether the logits are the inner products of ``queries[0]`` and
            ``keys[0]`` of the projections, plus ``bias`` where the kernel sees invariants.
    """

    renamed_methods = {"ends": "project"}  # noqa: RUF012
    sees: Sees = Sees.INVARIANTS
    is_inner_product: bool = False

    def __init__(self, width: int, heads: int, geometry: Geometry) -> None:
        super().__init__()
        self.filter: Filter | None = None

    @abstractmethod
    def project(self, features: Tensor, lifted: Lifted) -> Projections:
        """Project the features of the points to queries and keys.

        Args:
            features: ``(batch, points, width)``.
            lifted: Elements and points ``(batch, points, ...)``.
        """

    @abstractmethod
    def forward(self, pairs: Pairs, projections: Projections) -> Tensor:
        """Logits ``(heads, *pairs)``, or ``(1, *pairs)`` where the heads have the same.

        Args:
            pairs: The pairs.
            projections: Queries of the targets and keys of the sources.
        """

    def bias(self, pairs: Pairs) -> Tensor:
        """The logits without the inner products, ``(heads, *pairs)``."""
        raise NotImplementedError(f"{type(self).__name__} is not an inner product with a bias.")
