"""The weights of products: perceptrons of the invariants of the pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from attention.steerable.irreps import Layout
from attention.steerable.paths import Path, columns_of
from liegroups.checks import check_count


class Radial(NamedTuple):
    """Weights of a product that are linear in hidden units: what heads that share them have.

    Attributes:
        hidden: The hidden units and a one, ``(pairs, units + 1)``.
        matrices: For each path ``(units + 1, channels in, degrees, channels out)``, the channels
            out being those of the heads: weights are sums over the units.
    """

    hidden: Tensor
    matrices: list[Tensor]


class PairPerceptron(nn.Module):
    """Perceptrons of the invariants with one hidden layer: the weights of a product.

    Heads that see the same invariants share a hidden layer.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        hidden: Number of hidden units.
        paths: The paths of the product.
        types_in: Types of the features.
        types_out: Types of the product, whose channels are divided among the heads.

    Raises:
        ValueError: If ``hidden`` is less than one.
    """

    input_mask: Tensor

    def __init__(
        self,
        head_mask: Tensor,
        hidden: int,
        paths: Sequence[Path],
        types_in: Layout,
        types_out: Layout,
    ) -> None:
        super().__init__()
        check_count("hidden", hidden)
        groups, shares = torch.unique_consecutive(head_mask, dim=0, return_counts=True)
        self.shares: list[int] = shares.tolist()
        self.register_buffer("input_mask", groups, persistent=False)
        self.first = nn.ModuleList(nn.Linear(head_mask.shape[1], hidden) for _ in self.shares)
        channels = [kind.channels // len(head_mask) for kind in types_out]
        # Of each path, its weights for a head: channels in, degrees, channels out.
        self.shapes = [
            (types_in[path.source].channels, len(path.degrees), channels[path.target])
            for path in paths
        ]
        self.sizes = [a * b * c for a, b, c in self.shapes]
        columns = columns_of(paths, types_in, types_out)
        self.scales = [columns[path.target] ** -0.5 for path in paths]
        last = [nn.Linear(hidden, n * sum(self.sizes)) for n in self.shares]
        for layer in last:
            # Weights of about unit variance, for which the product is normalized.
            nn.init.normal_(layer.weight, std=(hidden / 3) ** -0.5)
            nn.init.zeros_(layer.bias)
        self.last = nn.ModuleList(last)

    def forward(self, invariants: Tensor) -> list[Radial]:
        """Weights of invariants ``(pairs, invariants)``, for each group of heads."""
        found = []
        for mask, share, first, last in zip(
            self.input_mask, self.shares, self.first, self.last, strict=True
        ):
            assert isinstance(last, nn.Linear)
            units = nn.functional.silu(first(invariants * mask))
            hidden = torch.cat((units, units.new_ones(len(units), 1)), 1)
            # The parameters of a head stand together: (heads, weights, units + 1).
            parameters = torch.cat((last.weight, last.bias[:, None]), 1)
            parts = parameters.unflatten(0, (share, -1)).split(self.sizes, 1)
            matrices = [
                part.unflatten(1, shape).permute(4, 1, 2, 0, 3).flatten(3).contiguous() * scale
                for part, shape, scale in zip(parts, self.shapes, self.scales, strict=True)
            ]
            found.append(Radial(hidden, matrices))
        return found
