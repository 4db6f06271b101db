"""Location: what the invariant of a pair says."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from attention.kernels.pairwise_mlp import pairwise_mlp


class Location(nn.Module, ABC):
    """Logits from the invariants of pairs; implementations compose into a kernel.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
    """

    @abstractmethod
    def forward(self, invariants: Tensor) -> Tensor:
        """Logits ``(heads, *pairs)`` of invariants ``(invariants, *pairs)``."""


class LinearLocation(Location):
    """One linear form of the invariants for each head."""

    head_mask: Tensor

    def __init__(self, head_mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("head_mask", head_mask, persistent=False)
        self.weight = nn.Parameter(_masked_uniform(head_mask))
        self.bias = nn.Parameter(torch.zeros(len(head_mask)))

    def forward(self, invariants: Tensor) -> Tensor:
        flat = invariants.flatten(1)
        logits = (self.weight * self.head_mask) @ flat + self.bias[:, None]
        return logits.unflatten(1, invariants.shape[1:])


class LocationMLP(Location):
    """A three-layer perceptron of the invariants for each head, with SiLU between the layers.

    The activations are recomputed in the backward pass, a slice of the pairs at a time, so that
    memory holds the invariants and the logits and nothing of the layers between.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        hidden: Number of hidden units a head.

    Raises:
        ValueError: If ``hidden`` is less than one.

    Reference:
        Hutchinson et al. 2021, LieTransformer, section 3.2.
    """

    head_mask: Tensor

    def __init__(self, head_mask: Tensor, hidden: int = 16) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"LocationMLP takes at least 1 hidden unit; got {hidden}.")
        heads = len(head_mask)
        self.register_buffer("head_mask", head_mask[:, None, :], persistent=False)
        first = _masked_uniform(head_mask[:, None, :].expand(-1, hidden, -1))
        everything = torch.ones(1, dtype=torch.bool).expand(heads, hidden, hidden)
        self.first = nn.Parameter(first)
        self.first_bias = nn.Parameter(torch.empty(heads, hidden).uniform_(-1, 1))
        self.second = nn.Parameter(_masked_uniform(everything))
        self.second_bias = nn.Parameter(torch.zeros(heads, hidden))
        self.third = nn.Parameter(_masked_uniform(everything[:, :1]))
        self.third_bias = nn.Parameter(torch.zeros(heads, 1))

    def forward(self, invariants: Tensor) -> Tensor:
        logits = pairwise_mlp(
            invariants.flatten(1),
            self.first * self.head_mask,
            self.first_bias,
            self.second,
            self.second_bias,
            self.third,
            self.third_bias,
        )
        return logits.unflatten(1, invariants.shape[1:])


def _masked_uniform(mask: Tensor) -> Tensor:
    """Weights U(-b, b), b² = 3 / (number of inputs that the mask lets through): unit gain."""
    fan_in = mask.sum(-1, keepdim=True).clamp(min=1)
    return (2 * torch.rand(mask.shape) - 1) * (3 / fan_in).sqrt() * mask
