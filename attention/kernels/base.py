"""What every kernel has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from attention.geometry import Fibres, Geometry
from attention.kernels.content import Ends
from liegroups import Lifted, Sees
from liegroups.sees import Seeing


class Kernel(Seeing, nn.Module, ABC):
    """Logits of pairs from the features of both ends and the invariant of the pair.

    It sees the pair through invariants only; this is why a layer built on it is equivariant.
    What depends on one point alone is computed in ``ends``, once a point; ``forward`` does what
    is left, once a pair, and may be given a part of the targets at a time.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space and the invariant.

    Attributes:
        sees: The parts of a pair that the logits depend on: the invariants, and the elements over
            the points where ``ends`` looks at those.
        is_inner_product: Whether the logits are the inner products of ``Ends.target[0]`` and
            ``Ends.source[0]``, plus ``bias`` where the kernel sees invariants.
    """

    sees: Sees = Sees.INVARIANTS
    is_inner_product: bool = False

    def __init__(self, width: int, heads: int, geometry: Geometry) -> None:
        super().__init__()

    @abstractmethod
    def ends(self, features: Tensor, lifted: Lifted) -> Ends:
        """What each point brings to its pairs.

        Args:
            features: ``(batch, points, width)``.
            lifted: Elements and points ``(batch, points, ...)``.
        """

    @abstractmethod
    def forward(self, fibres: Fibres, ends: Ends) -> Tensor:
        """Logits ``(heads, *pairs)``.

        Args:
            fibres: The pairs.
            ends: What the points bring, for the targets and the sources of the pairs.
        """

    def bias(self, fibres: Fibres) -> Tensor:
        """What is left of the logits without the inner products, ``(heads, *pairs)``."""
        raise NotImplementedError(f"{type(self).__name__} is not an inner product with a bias.")
