"""A graph network: every two points exchange a message."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from attention import Network
from attention.clouds import check_clouds
from liegroups import Equivariance, Trivial
from liegroups.checks import check_count
from tasks.networks.perceptron import maps_with_silu

__all__ = ["GraphNetwork"]


class GraphNetwork(Network):
    """One round of messages between all ordered pairs, then an output for each point.

    It sees coordinates as they are, and has no symmetry but that of the order of the points.

    Args:
        in_features: Number of features of a point.
        out_features: Number of outputs, of a cloud or of a point.
        point_dim: Number of coordinates of a point.
        output: Whether there are outputs for each ``point``, or their sum for the ``cloud``.
        width: Number of hidden units.

    Raises:
        ValueError: If ``width`` is less than 1.

    Reference:
        Sanchez-Gonzalez et al. 2019, Hamiltonian Graph Networks with ODE Integrators.
    """

    equivariance = Equivariance.NONE

    def __init__(
        self,
        in_features: int,
        out_features: int,
        point_dim: int,
        output: Literal["cloud", "point"] = "cloud",
        width: int = 256,
    ) -> None:
        super().__init__()
        check_count("width", width)
        self.space = Trivial(point_dim).default_space()
        self.in_features, self.out_features = in_features, out_features
        self.is_per_point = output == "point"
        self.pooling = None if self.is_per_point else "sum"
        seen = point_dim + in_features
        self.message = maps_with_silu(2 * seen, width, width)
        self.update = maps_with_silu(seen + width, width, out_features)

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
        seen, count = torch.cat((points, features), -1), points.shape[1]
        index = torch.arange(count, device=points.device)
        target, source = torch.meshgrid(index, index, indexing="ij")
        other = target != source
        pairs = torch.cat((seen[:, target[other]], seen[:, source[other]]), -1)
        hidden = self.message[:-1](pairs).unflatten(1, (count, max(count - 1, 0)))
        # The last map is linear: the messages to a point are added first, then mapped at once.
        last = self.message[-1]
        assert isinstance(last, nn.Linear)
        if mask is None:
            messages = linear(hidden.sum(2), last.weight, (count - 1) * last.bias)
        else:
            exists = mask[:, None].expand(-1, count, -1)[:, other].unflatten(1, (count, -1))
            hidden = hidden.masked_fill(~exists[..., None], 0)
            messages = linear(hidden.sum(2), last.weight) + exists.sum(2)[..., None] * last.bias
        output: Tensor = self.update(torch.cat((seen, messages), -1))
        if mask is not None:
            output = output.masked_fill(~mask[..., None], 0)
        return output if self.is_per_point else output.sum(1)
