"""One output for the whole cloud, of features that are summed over its points."""

from __future__ import annotations

from torch import Tensor, nn

from attention.geometry import Geometry, Pairs
from attention.heads.base import Head
from liegroups.checks import check_length


class SumHead(Head):
    """Outputs of the whole cloud by a perceptron of the sum of its features.

    A perceptron on each point, the sum over points and mean over lifts, a perceptron on the
    result. A mean in place of the sum would not tell one triangle from two.

    Args:
        width: Number of features a point.
        out_features: Number of outputs.
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

    def forward(self, features: Tensor, pairs: Pairs, mask: Tensor | None, lifts: int) -> Tensor:
        """Outputs ``(batch, out_features)``."""
        hidden: Tensor = self.pointwise(features)
        if mask is not None:
            hidden = hidden.masked_fill(~mask[..., None], 0)
        outputs: Tensor = self.summed(hidden.sum(1) / (lifts * self.typical))
        return outputs


class LinearReadout(Head):
    """A linear function of the features, summed over the points and averaged over their lifts.

    Energies of pairs that the kernels hold then add up as they are.

    Args:
        width: Number of features a point.
        out_features: Number of outputs.
        geometry: The space of the points and the invariant of their pairs.
    """

    is_per_point = False
    pooling = "sum"

    def __init__(self, width: int, out_features: int, geometry: Geometry) -> None:
        super().__init__(width, out_features, geometry)
        self.linear = nn.Linear(width, out_features)

    def forward(self, features: Tensor, pairs: Pairs, mask: Tensor | None, lifts: int) -> Tensor:
        """Outputs ``(batch, out_features)``."""
        values: Tensor = self.linear(features)
        if mask is not None:
            values = values.masked_fill(~mask[..., None], 0)
        return values.sum(1) / lifts
