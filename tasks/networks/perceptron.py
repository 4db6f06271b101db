"""A fully connected network, which sees a cloud as one vector."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from attention import Network
from attention.clouds import check_clouds
from liegroups import Equivariance, Trivial
from liegroups.checks import DEPTH, check_count

__all__ = ["Perceptron", "maps_with_silu"]


class Perceptron(Network):
    """All points and features in one vector, through linear maps with SiLU between them.

    It has no symmetry, not even that of the order of the points, and takes clouds of one size.

    Args:
        in_features: Number of features of a point.
        out_features: Number of outputs, of a cloud or of a point.
        point_dim: Number of coordinates of a point.
        max_points: Number of points of a cloud.
        output: Whether there are outputs for each ``point``, or for the ``cloud``.
        width: Number of hidden units.
        layers: Number of hidden layers.

    Raises:
        ValueError: If a number is less than 1.
    """

    equivariance = Equivariance.NONE

    def __init__(
        self,
        in_features: int,
        out_features: int,
        point_dim: int,
        max_points: int,
        output: Literal["cloud", "point"] = "cloud",
        width: int = 256,
        layers: int = 4,
    ) -> None:
        super().__init__()
        check_count("max_points", max_points)
        check_count("width", width)
        check_count("layers", layers, most=DEPTH)
        self.space = Trivial(point_dim).default_space()
        self.in_features, self.out_features = in_features, out_features
        self.max_points, self.is_per_point = max_points, output == "point"
        outputs = out_features * (max_points if self.is_per_point else 1)
        inputs = max_points * (point_dim + in_features)
        self.maps = maps_with_silu(inputs, width, outputs, layers)

    def forward(
        self,
        features: Tensor,
        points: Tensor,
        mask: Tensor | None = None,
        *,
        edges: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        check_clouds(self.space, self.in_features, features, points, mask)
        if points.shape[1] != self.max_points or (mask is not None and not mask.all()):
            raise ValueError(
                f"Perceptron takes clouds of {self.max_points} points, all of which exist; got "
                f"{points.shape[1]}."
            )
        output: Tensor = self.maps(torch.cat((points.flatten(1), features.flatten(1)), 1))
        return output.unflatten(1, (self.max_points, -1)) if self.is_per_point else output


def maps_with_silu(inputs: int, hidden: int, outputs: int, layers: int = 2) -> nn.Sequential:
    """Linear maps with SiLU between them, which has derivatives of every order."""
    maps: list[nn.Module] = []
    for a, b in pairwise([inputs, *[hidden] * layers]):
        maps += [nn.Linear(a, b), nn.SiLU()]
    return nn.Sequential(*maps, nn.Linear(hidden, outputs))
