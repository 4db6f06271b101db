"""What every network of point clouds has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from attention.heads.base import Pooling
from attention.neighborhoods import NeighborhoodRule
from liegroups import Equivariance, HomogeneousSpace, Invariant


class Network(nn.Module, ABC):
    """A function of point clouds that says how it behaves when a group moves the points.

    ``LieTransformer`` and the networks of ``attention.steerable`` are networks; one of your own is
    a subclass that sets the attributes below, has ``forward``, and, where the features that come in
    or the outputs turn with the points, ``move_features`` and ``move``. ``attention.testing`` holds
    every network to what it says.

    Attributes:
        space: The space that the points lie in, with the group that moves them.
        in_features: Number of features of a point.
        out_features: Number of outputs of a cloud, or of a point.
        is_per_point: Whether the output is ``(batch, points, ...)``, not ``(batch, ...)``.
        neighborhood: The rule that chooses the neighbors of a point, in whose place ``edges`` can
            be given; None for a network without one.
        pooling: How the output of a cloud comes of its points: ``mean``, ``softmax``, or ``sum``,
            which grows with the cloud; None where it comes in another way, or there is one for
            each point.
        invariants: What the network sees of a pair, for its label.

    Example:
        A sum over the pairs of a function of their distance, which no rigid motion changes:

        >>> import torch
        >>> from liegroups import SE3, Equivariance
        >>> class Distances(Network):
        ...     equivariance = Equivariance.EXACT
        ...     in_features, out_features, is_per_point = 4, 1, False
        ...
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.space = SE3().default_space()
        ...         self.weight = torch.nn.Linear(4, 1)
        ...
        ...     def forward(self, features, points, mask=None, *, edges=None, generator=None):
        ...         sent = self.weight(features)
        ...         if mask is not None:
        ...             sent = sent.masked_fill(~mask[..., None], 0)
        ...         square = (points[:, :, None] - points[:, None]).square().sum(-1)
        ...         return (sent * (torch.exp(-square) @ sent)).sum(1)
        >>> network = Distances()
        >>> features, points = torch.randn(2, 5, 4), torch.randn(2, 5, 3)
        >>> network(features, points).shape
        torch.Size([2, 1])
        >>> from attention import invariance_error
        >>> invariance_error(network, features, points) < 1e-9
        True
    """

    space: HomogeneousSpace
    in_features: int
    out_features: int
    is_per_point: bool
    neighborhood: NeighborhoodRule | None = None
    pooling: Pooling | None = None
    invariants: Sequence[Invariant] = ()

    @property
    @abstractmethod
    def equivariance(self) -> Equivariance:
        """The kind of equivariance that the output has; a class attribute will do."""

    @property
    def label(self) -> str:
        """What matters most of it, as part of a name: its group, its class and its invariants."""
        names = [type(self.space.group).__name__, type(self).__name__]
        seen = "+".join(type(each).__name__ for each in self.invariants)
        return "-".join(name for name in (*names, seen) if name)

    @abstractmethod
    def forward(
        self,
        features: Tensor,
        points: Tensor,
        mask: Tensor | None = None,
        *,
        edges: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Predict.

        Args:
            features: Input features ``(batch, points, in_features)``.
            points: Points of the space ``(batch, points, point_dim)``.
            mask: Booleans ``(batch, points)``, True for points that exist; all when absent.
                What stands at the others never changes the result.
            edges: Integers ``(2, edges)``, sources above targets, to use in place of the
                neighborhood's rule; point n of cloud b is number b · points + n. Of lifted points,
                the lifts of neighbors are neighbors.
            generator: Draw what is random from this source of randomness, in either mode. A network
                in which nothing is has no use for it.

        Returns:
            Outputs ``(batch, points, ...)``, zero at points that do not exist, where
            ``is_per_point``; else ``(batch, ...)``.

        Raises:
            ValueError: If the shapes do not fit, a cloud is empty, a point is not finite, or the
                edges name other points.
        """

    def move_features(self, g: Tensor, features: Tensor) -> Tensor:
        """What becomes of input features when an element of the group moves the points.

        By default nothing: they are invariant.

        Args:
            g: The element ``(m, m)``.
            features: ``(batch, points, in_features)``.
        """
        return features

    def move(self, g: Tensor, output: Tensor) -> Tensor:
        """What becomes of the output when an element of the group moves the points.

        By default nothing: it is invariant.

        Args:
            g: The element ``(m, m)``.
            output: What ``forward`` gives.
        """
        return output
