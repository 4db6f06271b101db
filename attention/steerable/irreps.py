"""Features that turn with the points: direct sums of irreducible representations.

They are stored as e3nn stores them: ``(..., irreps.dim)``, type after type, the components of a
channel side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn


def split_types(irreps: Irreps, x: Tensor) -> list[Tensor]:
    """The types of features ``(..., irreps.dim)``, each ``(..., channels, 2l + 1)``."""
    parts = x.split([mul * ir.dim for mul, ir in irreps], -1)
    return [
        part.unflatten(-1, (mul, ir.dim)) for part, (mul, ir) in zip(parts, irreps, strict=True)
    ]


def join_types(parts: Sequence[Tensor]) -> Tensor:
    """Features ``(..., irreps.dim)`` of their types ``(..., channels, 2l + 1)``."""
    return torch.cat([part.flatten(-2) for part in parts], -1)


class EquivariantLinear(nn.Module):
    """Mixes the channels of each type, the same for all components; a bias for invariants.

    Schur's lemma leaves no other linear maps between irreducible representations. Types of the
    output that the input does not have are zero.

    Args:
        irreps_in: Types of the input.
        irreps_out: Types of the output.
        bias: Whether invariant outputs get a bias.
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, bias: bool = True) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = Irreps(irreps_in), Irreps(irreps_out)
        self.weights = nn.ParameterList()
        self.sources: list[list[int]] = []
        for mul_out, ir_out in self.irreps_out:
            found = [i for i, (_, ir) in enumerate(self.irreps_in) if ir == ir_out]
            fan_in = sum(self.irreps_in[i].mul for i in found)
            self.sources.append(found)
            self.weights.append(torch.randn(fan_in, mul_out) * max(fan_in, 1) ** -0.5)
        scalars = sum(mul for mul, ir in self.irreps_out if ir.is_scalar())
        self.bias = nn.Parameter(torch.zeros(scalars)) if bias and scalars else None

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(..., irreps_in.dim)`` to ``(..., irreps_out.dim)``."""
        types = split_types(self.irreps_in, x)
        biases = iter(() if self.bias is None else self._biases(self.bias))
        outputs = []
        for sources, weight, (mul, ir) in zip(
            self.sources, self.weights, self.irreps_out, strict=True
        ):
            if not sources:
                output = x.new_zeros(*x.shape[:-1], mul, ir.dim)
            else:
                own = torch.cat([types[i] for i in sources], -2)
                output = torch.einsum("...ui,uw->...wi", own, weight)
            if self.bias is not None and ir.is_scalar():
                output = output + next(biases)[:, None]
            outputs.append(output)
        return join_types(outputs)

    def _biases(self, bias: Tensor) -> list[Tensor]:
        return list(bias.split([mul for mul, ir in self.irreps_out if ir.is_scalar()]))


class EquivariantNorm(nn.Module):
    """Divides each type by the root mean square norm of its channels; scalars are centered first.

    Args:
        irreps: Types of the features.
        epsilon: Added to the mean square, so that features of zero stay so.
    """

    def __init__(self, irreps: Irreps, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.irreps, self.epsilon = Irreps(irreps), epsilon
        self.scale = nn.Parameter(torch.ones(self.irreps.num_irreps))
        self.shift = nn.Parameter(
            torch.zeros(sum(mul for mul, ir in self.irreps if ir.is_scalar()))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(..., irreps.dim)`` to the same shape."""
        scales = self.scale.split([mul for mul, _ in self.irreps])
        shifts = iter(self.shift.split([mul for mul, ir in self.irreps if ir.is_scalar()]))
        outputs = []
        for part, scale, (_, ir) in zip(
            split_types(self.irreps, x), scales, self.irreps, strict=True
        ):
            if ir.is_scalar():
                part = part - part.mean(-2, keepdim=True)
            square = part.square().mean((-1, -2), keepdim=True)
            part = part * (square + self.epsilon).rsqrt() * scale[:, None]
            outputs.append(part + next(shifts)[:, None] if ir.is_scalar() else part)
        return join_types(outputs)


class Gate(nn.Module):
    """SiLU of the scalars; the other types times the sigmoid of as many more scalars.

    Args:
        irreps: Types of the output.

    Attributes:
        irreps_in: Types of the input: a scalar more for each channel that is not one.

    Reference:
        Weiler et al. 2018, 3D Steerable CNNs, section 4.3.
    """

    def __init__(self, irreps: Irreps) -> None:
        super().__init__()
        self.irreps = Irreps(irreps)
        self.gated = [mul for mul, ir in self.irreps if not ir.is_scalar()]
        self.irreps_in = Irreps(f"{sum(self.gated)}x0e") + self.irreps

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(..., irreps_in.dim)`` to ``(..., irreps.dim)``."""
        gates, rest = x.split([sum(self.gated), self.irreps.dim], -1)
        each = iter(gates.sigmoid().split(self.gated, -1))
        outputs = [
            torch.nn.functional.silu(part) if ir.is_scalar() else part * next(each)[..., None]
            for part, (_, ir) in zip(split_types(self.irreps, rest), self.irreps, strict=True)
        ]
        return join_types(outputs)
