"""Location: logits from the invariants of pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import gcd

import torch
from torch import Tensor, nn

from attention.kernels.pairwise_mlp import pairwise_mlp
from liegroups.checks import check_count

STEEPNESS = 3.0


class Location(nn.Module, ABC):
    """Logits from the invariants of pairs; a part of kernels.

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
        self.weight = nn.Parameter(masked_uniform(head_mask))
        self.bias = nn.Parameter(torch.zeros(len(head_mask)))

    def forward(self, invariants: Tensor) -> Tensor:
        flat = invariants.flatten(1)
        logits = (self.weight * self.head_mask) @ flat + self.bias[:, None]
        return logits.unflatten(1, invariants.shape[1:])


class NormLocation(Location):
    """-(Σ_b π_b |a_b|²) / τ from blocks of squared norms, closed form but for weights.

    For the invariant ``liegroups.AlgebraNorm``, which has a feature -|a_b|² for each block of
    the algebra. Each head learns the shares π of the blocks, which sum to one, and a temperature
    τ, in the unit of the features. Both are positive, so that a nearer element always has the
    larger logit; that makes the kernel, under the exponential, a Gaussian of the group distance.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
    """

    head_mask: Tensor

    def __init__(self, head_mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("head_mask", head_mask, persistent=False)
        self.share = nn.Parameter(torch.zeros(head_mask.shape))
        # From sharp to flat, so that the heads see different scales from the start.
        self.log_temperature = nn.Parameter(torch.linspace(-1, 3, len(head_mask)))

    def forward(self, invariants: Tensor) -> Tensor:
        unseen = torch.finfo(self.share.dtype).min
        share = self.share.masked_fill(~self.head_mask, unseen).softmax(-1)
        weight = share * (-self.log_temperature).exp()[:, None]
        return (weight @ invariants.flatten(1)).unflatten(1, invariants.shape[1:])


class _Perceptrons(Location):
    """Three-layer perceptrons with SiLU, each with outputs for a share of the heads.

    The first layer starts steep, its kinks spread over several units of the invariants: from a
    flat start, lengths that differ by a fraction of a unit (bonds, in angstrom) look alike for
    a long time. Invariants between 0 and 1, such as a ``RadialBasis``, still do: those are for
    ``LinearLocation``.

    The activations are recomputed in the backward pass, a slice of the pairs at a time, so that
    memory holds the invariants and the logits and nothing of the layers between.
    """

    input_mask: Tensor

    def __init__(self, input_mask: Tensor, outputs: int, hidden: int) -> None:
        super().__init__()
        check_count(f"{type(self).__name__}.hidden", hidden)
        count = len(input_mask)
        # A view that skips rows of another tensor could not be sent to other processes.
        mask = input_mask[:, None, :].clone(memory_format=torch.contiguous_format)
        self.register_buffer("input_mask", mask, persistent=False)
        full = torch.ones(1, dtype=torch.bool).expand(count, hidden, hidden)
        first = masked_uniform(self.input_mask.expand(-1, hidden, -1))
        self.first = nn.Parameter(STEEPNESS * first)
        spread = STEEPNESS**2
        self.first_bias = nn.Parameter(torch.empty(count, hidden).uniform_(-spread, spread))
        self.second = nn.Parameter(masked_uniform(full))
        self.second_bias = nn.Parameter(torch.zeros(count, hidden))
        self.third = nn.Parameter(masked_uniform(full[:, :1].expand(-1, outputs, -1)))
        self.third_bias = nn.Parameter(torch.zeros(count, outputs))

    def forward(self, invariants: Tensor) -> Tensor:
        logits = pairwise_mlp(
            invariants.flatten(1),
            self.first * self.input_mask,
            self.first_bias,
            self.second,
            self.second_bias,
            self.third,
            self.third_bias,
        )
        return logits.unflatten(1, invariants.shape[1:])


class LocationMLP(_Perceptrons):
    """A three-layer perceptron of the invariants for each head, with SiLU between the layers.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        hidden: Number of hidden units a head.

    Raises:
        ValueError: If ``hidden`` is less than one.

    Reference:
        Hutchinson et al. 2021, LieTransformer, section 3.2.
    """

    def __init__(self, head_mask: Tensor, hidden: int = 16) -> None:
        super().__init__(head_mask, outputs=1, hidden=hidden)


class SharedLocationMLP(_Perceptrons):
    """One three-layer perceptron for all heads that see the same invariants, an output for each.

    With as many hidden units as ``LocationMLP`` has for a single head it costs about as much as
    one head of that, so it can afford more of them.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        hidden: Number of hidden units of a perceptron.

    Raises:
        ValueError: If ``hidden`` is less than one.
    """

    def __init__(self, head_mask: Tensor, hidden: int = 32) -> None:
        _, runs = torch.unique_consecutive(head_mask, dim=0, return_counts=True)
        share = gcd(*runs.tolist())
        super().__init__(head_mask[::share], outputs=share, hidden=hidden)


def masked_uniform(mask: Tensor) -> Tensor:
    """Weights U(-b, b), b² = 3 / (number of inputs that the mask lets through): unit gain."""
    fan_in = mask.sum(-1, keepdim=True).clamp(min=1)
    return (2 * torch.rand(mask.shape) - 1) * (3 / fan_in).sqrt() * mask
