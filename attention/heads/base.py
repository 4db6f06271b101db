"""The base classes of output heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from torch import Tensor, nn

from attention.geometry import Geometry, Pairs
from liegroups import HomogeneousSpace, Sees
from liegroups.affine import AffineGroup
from liegroups.sees import Seeing

Pooling = Literal["mean", "softmax", "sum"]
"""How the output of a cloud comes of its points."""


class Head(Seeing, nn.Module, ABC):
    """The last module of a network, from the features of the lifted points to the output.

    Args:
        width: Number of features a point.
        out_features: Number of outputs.
        geometry: The space of the points and the invariant of their pairs.

    Attributes:
        sees: The parts of the lifted points that it looks at besides the features.
        is_per_point: Whether the output is ``(batch, points, ...)``, not ``(batch, ...)``.
        needs_pairs: Whether it looks at the neighbors of the lifted points, and not at these alone.
        pooling: How one output comes of those of the points: ``mean``, ``softmax``, or ``sum``,
            which grows with the cloud; None where it comes in another way, or there is one for
            each point.
    """

    sees: Sees = Sees.NOTHING
    pooling: Pooling | None = None
    is_per_point: bool = True
    needs_pairs: bool = False

    def __init__(self, width: int, out_features: int, geometry: Geometry) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, features: Tensor, pairs: Pairs, mask: Tensor | None, lifts: int) -> Tensor:
        """Give the output.

        Args:
            features: ``(batch, points · lifts, width)``, the lifts of a point side by side.
            pairs: The pairs of the lifted points.
            mask: Booleans ``(batch, points · lifts)``, True for points that exist, or None.
            lifts: Number of elements above each point.
        """

    def move(self, space: HomogeneousSpace, g: Tensor, output: Tensor) -> Tensor:
        """Transform the output as the element ``g`` ``(m, m)`` does when it moves the points.

        By default it stays as it is: the output is invariant.
        """
        return output


class VectorHead(Head):
    """A head that gives vectors ``(batch, points, out_features, n)``, which turn with the points.

    Raises:
        ValueError: If the group does not move differences of points by a matrix.
    """

    def __init__(self, width: int, out_features: int, geometry: Geometry) -> None:
        super().__init__(width, out_features, geometry)
        space = geometry.space
        if space.linear is None or space.linear.matrix_size != space.point_dim:
            raise ValueError(
                f"{type(self).__name__} gives vectors, which need points that the group moves by "
                f"x ↦ Ax + b; {space} is another space."
            )

    def move(self, space: HomogeneousSpace, g: Tensor, output: Tensor) -> Tensor:
        return (linear_part(space, g) @ output[..., None])[..., 0]


def average_lifts(values: Tensor, mask: Tensor | None, lifts: int) -> Tensor:
    """Mean over the elements above each point, zero at points that do not exist.

    Args:
        values: ``(batch, points · lifts, *rest)``.
        mask: Booleans ``(batch, points · lifts)``, or None.
        lifts: Number of elements above each point.

    Returns:
        ``(batch, points, *rest)``.
    """
    if mask is not None:
        values = values.masked_fill(~mask.reshape(*mask.shape, *(1,) * (values.ndim - 2)), 0)
    return values.unflatten(1, (-1, lifts)).mean(2)


def linear_part(space: HomogeneousSpace, element: Tensor) -> Tensor:
    """The matrices ``(*batch, n, n)`` by which elements move vectors."""
    if isinstance(space.group, AffineGroup):
        return space.group.split(element)[0]
    return element


def perceptron(width: int, out_features: int) -> nn.Sequential:
    """A pointwise perceptron with one hidden layer, after a normalization."""
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, out_features)
    )
