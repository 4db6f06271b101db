"""Outputs of networks that carry scalars, and tensors of degree 1 and more: scalars or vectors."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from attention.geometry import Geometry, Pairs
from attention.heads import InvariantHead, PointHead, Pooling
from attention.heads.base import perceptron
from attention.steerable.pooling import pool

Output = Literal["scalars", "vectors"]


def make_head(
    output: Output,
    pooling: Literal["none"] | Pooling,
    channels: int,
    out_features: int,
    geometry: Geometry,
) -> nn.Module:
    """The head of an output, which ``read_out`` calls.

    Raises:
        ValueError: If there is no such output, or it has no such pooling.
    """
    if output not in ("scalars", "vectors"):
        raise ValueError(f"output: {output!r}; accepted: scalars or vectors.")
    if output == "vectors":
        if pooling == "softmax":
            raise ValueError("output: vectors have the poolings none, mean and sum; got softmax.")
        return GatedVectors(channels, out_features)
    if pooling == "none":
        return PointHead(channels, out_features, geometry)
    return InvariantHead(channels, out_features, geometry, pooling)


def read_out(
    head: nn.Module,
    pairs: Pairs,
    features: Tensor,
    tensors: Tensor,
    mask: Tensor | None,
    pooling: str | None,
) -> Tensor:
    """The output of a head of ``make_head``; vectors have a last axis of three.

    Args:
        head: The head.
        pairs: The pairs.
        features: Scalars ``(batch, points, channels)``.
        tensors: Those of degree 1 and more, ``(batch, points, components, channels)``.
        mask: Booleans ``(batch, points)``, or None.
        pooling: How vectors are pooled; None for one set at each point.
    """
    if isinstance(head, GatedVectors):
        return pool(head(features, tensors).flatten(2), mask, pooling).unflatten(-1, (-1, 3))
    output: Tensor = head(features, pairs, mask, 1)
    return output


class GatedVectors(nn.Module):
    """Vectors of each point: a linear map of those of all channels, each scaled by the scalars.

    Args:
        channels: Number of channels.
        out_features: Number of vectors.

    Reference:
        Weiler et al. 2018, 3D Steerable CNNs (gates); Schütt et al. 2021, PaiNN, its output blocks.
    """

    def __init__(self, channels: int, out_features: int) -> None:
        super().__init__()
        self.gates = perceptron(channels, channels)
        self.mix = nn.Linear(channels, out_features, bias=False)

    def forward(self, features: Tensor, tensors: Tensor) -> Tensor:
        """Vectors ``(batch, points, out_features, 3)``.

        Args:
            features: Scalars ``(batch, points, channels)``.
            tensors: Those of degree 1 and more, ``(batch, points, components, channels)``.
        """
        vectors: Tensor = self.mix(self.gates(features)[:, :, None] * tensors[:, :, :3])
        return vectors.transpose(-1, -2)
