"""Filters: multipliers of the values, for each channel, from the invariants of pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import log
from typing import Literal

import torch
from torch import Tensor, nn

from attention.geometry import Pairs
from attention.kernels.location import STEEPNESS, masked_uniform
from liegroups.checks import check_count

Activation = Literal["silu", "softplus"]

_GAIN = 0.4  # So that a sum over some ten neighbors begins at about unit size.


class Filter(nn.Module, ABC):
    """A multiplier of each channel of a value, from the invariants of its pair; a part of kernels.

    It is a linear form, for each channel, of features of the pair, which are few.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        width: Number of channels of all heads together.
    """

    def __init__(self, head_mask: Tensor, width: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Give the features of the pairs and the linear forms.

        Returns:
            Features ``(features, *pairs)``, finite also off the fibres; and coefficients
            ``(features, width)``, the channels of a head side by side.
        """


class LinearFilter(Filter):
    """A linear form of the invariants for each channel: for a basis, such as ``RadialBasis``.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        width: Number of channels of all heads together.

    Reference:
        Schütt et al. 2021, Equivariant message passing for the prediction of tensorial properties
        and molecular spectra (PaiNN), section 4: its filters of scalars.
    """

    channel_mask: Tensor

    def __init__(self, head_mask: Tensor, width: int) -> None:
        super().__init__(head_mask, width)
        mask = _channel_mask(head_mask, width)
        self.register_buffer("channel_mask", mask, persistent=False)
        self.weight = nn.Parameter(_GAIN * masked_uniform(mask))

    def forward(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        return pairs.invariants, (self.weight * self.channel_mask).T


class FilterMLP(Filter):
    """A perceptron of the invariants with one hidden layer and an output for each channel.

    Heads that see the same invariants share the hidden layer, which starts steep, as that of
    ``LocationMLP`` does. Unlike a linear form it needs no basis; and it need not vanish where that
    does.

    Args:
        head_mask: Booleans ``(heads, invariants)``: which head sees which invariant.
        width: Number of channels of all heads together.
        hidden: Number of hidden units.
        activation: ``silu``; or ``softplus``, less its value at zero, as SchNet has it.
        bias: Whether a constant is added to each filter.

    Raises:
        ValueError: If ``hidden`` is less than one, or the activation is another.

    Reference:
        Schütt et al. 2017, SchNet, section 4: continuous-filter convolutions.
    """

    input_mask: Tensor
    channel_mask: Tensor

    def __init__(
        self,
        head_mask: Tensor,
        width: int,
        hidden: int = 32,
        activation: Activation = "silu",
        bias: bool = False,
    ) -> None:
        super().__init__(head_mask, width)
        check_count("FilterMLP.hidden", hidden)
        self.activation = activation_of(activation)
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        seen, which = torch.unique(head_mask, dim=0, return_inverse=True)
        inputs = seen.repeat_interleave(hidden, 0)  # (hidden units of all, invariants)
        self.register_buffer("input_mask", inputs.contiguous(), persistent=False)
        own = which[:, None] == torch.arange(len(seen)).repeat_interleave(hidden)
        mask = _channel_mask(own, width)
        self.register_buffer("channel_mask", mask, persistent=False)
        self.first = nn.Parameter(STEEPNESS * masked_uniform(inputs))
        spread = STEEPNESS**2
        self.first_bias = nn.Parameter(torch.empty(len(inputs)).uniform_(-spread, spread))
        self.second = nn.Parameter(_GAIN / STEEPNESS * masked_uniform(mask))

    def forward(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        features = pairs.map_invariants(self._hidden)
        coefficients = (self.second * self.channel_mask).T
        if self.bias is None:
            return features, coefficients
        constant = torch.ones_like(features[:1])
        return torch.cat((features, constant)), torch.cat((coefficients, self.bias[None]))

    def _hidden(self, invariants: Tensor) -> Tensor:
        flat = invariants.flatten(1)
        weight, bias = self.first * self.input_mask, self.first_bias[:, None]
        hidden = self.activation(torch.addmm(bias, weight, flat))
        return hidden.unflatten(1, invariants.shape[1:])


def activation_of(name: str) -> Callable[[Tensor], Tensor]:
    """The function of a name.

    Raises:
        ValueError: If it is another than ``silu`` and ``softplus``.
    """
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "silu": nn.functional.silu,
        "softplus": _shifted_softplus,
    }
    if name not in functions:
        raise ValueError(f"activation: {name!r}; accepted: {', '.join(functions)}.")
    return functions[name]


def _shifted_softplus(x: Tensor) -> Tensor:
    return nn.functional.softplus(x) - log(2)


def _channel_mask(head_mask: Tensor, width: int) -> Tensor:
    """Which channel sees which feature, ``(width, features)``, of which head does."""
    return head_mask.repeat_interleave(width // len(head_mask), 0)
