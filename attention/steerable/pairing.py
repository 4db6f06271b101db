"""What steerable networks do first: find the neighbors, and the directions to them."""

from __future__ import annotations

import torch
from torch import Tensor

from attention.clouds import check_clouds
from attention.interface import Network
from attention.neighborhoods import Neighborhood, given_edges
from liegroups import Lifted
from liegroups.numerics import safe_norm


def pair_up(
    network: Network,
    features: Tensor,
    points: Tensor,
    mask: Tensor | None,
    edges: Tensor | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Lifted, Neighborhood]:
    """Check clouds, put zeros where no point is, and choose neighbors.

    Args:
        network: The network, which has a rule of neighbors.
        features: ``(batch, points, in_features)``.
        points: ``(batch, points, 3)``.
        mask: Booleans ``(batch, points)``, or None.
        edges: Pairs to take in place of the rule's, or None.
        generator: Source of randomness for the rule.

    Returns:
        The features, the points with their section, and the neighborhood.

    Raises:
        ValueError: If the clouds or the edges are not what the network takes.
    """
    check_clouds(network.space, network.in_features, features, points, mask)
    if mask is not None:
        points = points.masked_fill(~mask[..., None], 0)
        features = features.masked_fill(~mask[..., None], 0)
    lifted = Lifted(network.space.section(points), points)
    if edges is not None:
        return features, lifted, given_edges(edges, mask, *points.shape[:2])
    fixed = not network.training and generator is None
    assert network.neighborhood is not None
    chosen = network.neighborhood(network.space, lifted, mask, generator=generator, fixed=fixed)
    return features, lifted, chosen


def directions(neighborhood: Neighborhood, points: Tensor) -> Tensor:
    """Unit vectors from targets to sources, ``(*pairs, 3)``; zero where the two coincide."""
    relative = neighborhood.pull_sources(points) - neighborhood.pull_targets(points)
    distance = safe_norm(relative)[..., None]
    return relative / torch.where(distance > 0, distance, 1)
