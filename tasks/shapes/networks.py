"""Networks that give the scores of the counts of a cloud."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from attention import (
    AllPairs,
    BackendName,
    Count,
    Fibres,
    Geometry,
    Head,
    Kernel,
    LieTransformer,
    NeighborhoodRule,
    Normalizer,
    Sum,
)
from liegroups import T2, Equivariance, Haar, Invariant, LieGroup, RelativePose, Sampler
from liegroups.checks import check_length


class CountingNetwork(nn.Module, ABC):
    """Gives scores for a cloud of points of the plane.

    A subclass is built from the number of features of a point and the number of scores, in this
    order, and settings of its own with defaults.
    """

    @abstractmethod
    def forward(
        self,
        features: Tensor,
        points: Tensor,
        mask: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The scores ``(batch, scores)``.

        Args:
            features: Features of the points ``(batch, points, in_features)``.
            points: Coordinates ``(batch, points, 2)``.
            mask: Booleans ``(batch, points)``, True for points that exist.
            generator: Source of randomness, for a network that has any.
        """

    @property
    @abstractmethod
    def group(self) -> LieGroup | None:
        """The group that the network is made for, if any."""

    @property
    @abstractmethod
    def equivariance(self) -> Equivariance:
        """Which invariance under the group holds."""


class SumHead(Head):
    """Scores of the whole cloud from features that are summed over its points.

    A perceptron on each point, the sum over points and mean over lifts, a perceptron on the
    result. A mean in place of the sum would not tell one triangle from two.

    Args:
        width: Number of features a point.
        out_features: Number of scores.
        geometry: The space of the points and the invariant of their pairs.
        typical: Divides the sum: a typical number of points of a cloud.

    Raises:
        ValueError: If ``typical`` is not positive.
    """

    is_per_point = False

    def __init__(
        self, width: int, out_features: int, geometry: Geometry, typical: float = 16.0
    ) -> None:
        super().__init__(width, out_features, geometry)
        check_length("SumHead.typical", typical)
        self.typical = typical
        self.pointwise = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU())
        self.summed = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, out_features)
        )

    def forward(self, features: Tensor, fibres: Fibres, mask: Tensor | None, lifts: int) -> Tensor:
        """Scores ``(batch, out_features)``."""
        hidden: Tensor = self.pointwise(features)
        if mask is not None:
            hidden = hidden.masked_fill(~mask[..., None], 0)
        scores: Tensor = self.summed(hidden.sum(1) / (lifts * self.typical))
        return scores


class LieCounter(CountingNetwork):
    """A LieTransformer on the points.

    With constant features and ``Softmax`` every point would receive the same, wherever the others
    are: the first layer needs a normalizer whose weights do not sum to one.

    Args:
        in_features: Number of features of a point.
        out_features: Number of scores.
        group: The group, which acts on points of the plane.
        invariant: What the kernel sees of a pair; a list is a mix by heads.
        lift: Chooses the group elements over each point, where the invariant sees them.
        unit: Length in the coordinates of the clouds that the network takes as 1. Perceptrons of
            pairs see lengths from about a tenth to ten, so this is a length that tells shapes
            apart.
        width: Number of features a point in the hidden layers.
        layers: Number of attention blocks.
        heads: Number of attention heads; divides ``width``.
        kernel: Makes the kernel of each layer, for example ``Product`` of content and location.
        normalizer: Turns logits into weights.
        neighborhood: Chooses the neighbors of each lifted point, in units of ``unit``.
        head: Makes the scores of the features.
        backend: How to compute the attention: ``auto``, or a name of ``attention.BACKENDS``.

    Raises:
        ValueError: If the settings do not fit each other, or the group's space is not the plane.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        group: LieGroup = T2(),  # noqa: B008 (immutable)
        invariant: Invariant | Sequence[Invariant] = RelativePose(),  # noqa: B008 (immutable)
        lift: Sampler = Haar(count=4),  # noqa: B008 (immutable)
        unit: float = 1.0,
        width: int = 64,
        layers: int = 4,
        heads: int = 8,
        kernel: Callable[[int, int, Geometry], Kernel] = Sum,
        normalizer: Normalizer = Count(),  # noqa: B008 (immutable)
        neighborhood: NeighborhoodRule = AllPairs(),  # noqa: B008 (immutable)
        head: Callable[[int, int, Geometry], Head] = SumHead,
        backend: BackendName = "auto",
    ) -> None:
        super().__init__()
        check_length("unit", unit)
        self.unit = unit
        self.network = LieTransformer(
            group,
            in_features,
            out_features,
            invariant=invariant,
            lift=lift,
            width=width,
            layers=layers,
            heads=heads,
            kernel=kernel,
            normalizer=normalizer,
            neighborhood=neighborhood,
            head=head,
            backend=backend,
        )
        if self.network.space.point_dim != 2:
            raise ValueError(
                f"model.counter.group: {group} acts on points of {self.network.space.point_dim} "
                "coordinates, but the shapes lie in the plane; use T2, SE2, SO2 or another group "
                "of the plane."
            )

    @property
    def group(self) -> LieGroup:
        return self.network.space.group

    @property
    def equivariance(self) -> Equivariance:
        return self.network.equivariance

    def forward(
        self,
        features: Tensor,
        points: Tensor,
        mask: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        scores: Tensor = self.network(features, points / self.unit, mask, generator=generator)
        return scores
