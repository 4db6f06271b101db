"""The distance of a network from the invariance that it states, as a number."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from attention.interface import Network
from attention.network import LieTransformer
from liegroups import HomogeneousSpace, LieGroup


@torch.no_grad()
def invariance_error(
    network: nn.Module,
    features: Tensor,
    points: Tensor,
    mask: Tensor | None = None,
    *,
    draws: int = 8,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    group: LieGroup | None = None,
) -> float:
    """Measure how far the output is from what it should be when the group moves the points.

    It should not change, or, where it is made of vectors or tensors, turn with the points, as
    features of these kinds that come in do.

    The network is evaluated as at prediction time, in ``dtype``, on the clouds and on copies
    moved by random group elements. The lift uses the same table for both, so for a lift that
    is invariant in distribution this is the error of a single prediction.

    Args:
        network: An ``attention.Network``, or another module whose output is invariant and whose
            attribute ``space`` is the space of the points; it is left as it is.
        features: Input features ``(batch, points, in_features)``.
        points: Points ``(batch, points, point_dim)``.
        mask: Booleans ``(batch, points)``, True for points that exist.
        draws: Number of random elements.
        seed: Seed of the elements.
        dtype: Floating type to compute in.
        group: Measure with elements of this group, acting on its default space; by default, with
            those of the network's own.

    Returns:
        Root mean square of the difference, in units of the standard deviation of the output over
        the clouds; of its size, where there is a single cloud, and at least of √ε of its size.
    """
    network = deepcopy(network).to(dtype).eval()
    features, points = features.to(dtype), points.to(dtype)
    generator = torch.Generator().manual_seed(seed)
    space = network.space if group is None else group.default_space()
    assert isinstance(space, HomogeneousSpace)
    elements = space.group.sample((draws,), generator=generator, dtype=torch.float64)
    output = network(features, points, mask)
    changes = [
        network(_moved_features(network, g, features), space.act(g, points), mask)
        - _moved_output(network, space, g, output)
        for g in elements.to(points)
    ]
    size = output.square().mean(0).sqrt()
    scale = output.std(0) if len(output) > 1 else size
    # Where all outputs are one number, their deviation is rounding.
    scale = torch.maximum(scale, size * torch.finfo(dtype).eps ** 0.5)
    return float((torch.stack(changes).square().mean((0, 1)).sqrt() / scale).max())


def _moved_features(network: nn.Module, g: Tensor, features: Tensor) -> Tensor:
    return network.move_features(g, features) if isinstance(network, Network) else features


def _moved_output(network: nn.Module, space: HomogeneousSpace, g: Tensor, output: Tensor) -> Tensor:
    if isinstance(network, LieTransformer):
        # Its heads know how elements of any group move vectors, not of the network's alone.
        return network.head.move(space, g, output)
    return network.move(g, output) if isinstance(network, Network) else output
