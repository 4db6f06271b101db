"""Features that turn with the points: direct sums of irreducible representations.

They are stored as e3nn stores them: ``(..., irreps.dim)``, type after type, the components of a
channel side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from e3nn.o3 import Irreps
from torch import Tensor, nn
from torch.nn.functional import silu

from liegroups.interop.e3nn import wigner_matrix


class Type(NamedTuple):
    """A type of features: e3nn's ``Irreps`` in plain numbers, which ``torch.compile`` can read.

    Attributes:
        channels: Number of channels.
        degree: The degree l; a channel has 2l + 1 components.
        is_scalar: Whether rotations and reflections leave it unchanged.
    """

    channels: int
    degree: int
    is_scalar: bool

    @property
    def size(self) -> int:
        """Number of components of a channel."""
        return 2 * self.degree + 1


Layout = tuple[Type, ...]


def layout(irreps: Irreps) -> Layout:
    """The types of e3nn's ``Irreps``, in order."""
    return tuple(Type(mul, ir.l, ir.is_scalar()) for mul, ir in irreps)


def split_types(types: Layout, x: Tensor) -> list[Tensor]:
    """The types of features ``(..., dim)``, each ``(..., channels, 2l + 1)``."""
    parts = x.split([kind.channels * kind.size for kind in types], -1)
    return [
        part.unflatten(-1, (kind.channels, kind.size))
        for part, kind in zip(parts, types, strict=True)
    ]


def join_types(parts: Sequence[Tensor]) -> Tensor:
    """Features ``(..., irreps.dim)`` of their types ``(..., channels, 2l + 1)``."""
    return torch.cat([part.flatten(-2) for part in parts], -1)


def to_components(types: Layout, x: Tensor) -> Tensor:
    """Features ``(..., dim)`` whose channels stand together for each component of a type."""
    return torch.cat([part.mT.flatten(-2) for part in split_types(types, x)], -1)


def from_components(types: Layout, x: Tensor) -> Tensor:
    """Invert ``to_components``: the components of a channel stand together again."""
    return join_types([part.mT for part in by_components(types, x)])


def by_components(types: Layout, x: Tensor) -> list[Tensor]:
    """The types of features that ``to_components`` gives, each ``(..., 2l + 1, channels)``."""
    parts = x.split([kind.channels * kind.size for kind in types], -1)
    return [
        part.unflatten(-1, (kind.size, kind.channels))
        for part, kind in zip(parts, types, strict=True)
    ]


def transform(irreps: Irreps, g: Tensor, x: Tensor) -> Tensor:
    """Features as a motion of space, with a reflection or without, turns them.

    Args:
        irreps: Types of the features; reflections change the sign of those whose parity is odd.
        g: The motion, a matrix ``(3, 3)``, or ``(4, 4)`` with a translation, which changes nothing.
        x: Features ``(..., irreps.dim)``.
    """
    matrix = g[:3, :3]
    sign = matrix.det().sign()
    signs = [sign if ir.p < 0 else sign.abs() for mul, ir in irreps for _ in range(mul * ir.dim)]
    # A reflection is a rotation after the inversion of space, which has the parity as its matrix.
    rotated = x @ wigner_matrix(irreps, sign * matrix).mT.to(x)
    return rotated * torch.stack(signs).to(x)


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
        self.types_in, self.types_out = layout(self.irreps_in), layout(self.irreps_out)
        self.weights = nn.ParameterList()
        self.sources: list[list[int]] = []
        for mul_out, ir_out in self.irreps_out:
            found = [i for i, (_, ir) in enumerate(self.irreps_in) if ir == ir_out]
            fan_in = sum(self.irreps_in[i].mul for i in found)
            self.sources.append(found)
            self.weights.append(torch.randn(fan_in, mul_out) * max(fan_in, 1) ** -0.5)
        self.scalars = [kind.channels for kind in self.types_out if kind.is_scalar]
        self.bias = nn.Parameter(torch.zeros(sum(self.scalars))) if bias and self.scalars else None

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(..., irreps_in.dim)`` to ``(..., irreps_out.dim)``."""
        types = split_types(self.types_in, x)
        biases = [] if self.bias is None else list(self.bias.split(self.scalars))
        outputs = []
        for sources, weight, kind in zip(self.sources, self.weights, self.types_out, strict=True):
            if sources:
                own = torch.cat([types[i] for i in sources], -2)
                output = torch.einsum("...ui,uw->...wi", own, weight)
            else:
                output = x.new_zeros(*x.shape[:-1], kind.channels, kind.size)
            if biases and kind.is_scalar:
                output = output + biases.pop(0)[:, None]
            outputs.append(output)
        return join_types(outputs)


class EquivariantNorm(nn.Module):
    """Divides each type by the root mean square norm of its channels; scalars are centered first.

    Args:
        irreps: Types of the features.
        epsilon: Added to the mean square, so that features of zero stay so.
    """

    def __init__(self, irreps: Irreps, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.types, self.epsilon = layout(Irreps(irreps)), epsilon
        self.counts = [kind.channels for kind in self.types]
        self.scalars = [kind.channels for kind in self.types if kind.is_scalar]
        self.scale = nn.Parameter(torch.ones(sum(self.counts)))
        self.shift = nn.Parameter(torch.zeros(sum(self.scalars)))

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(..., irreps.dim)`` to the same shape."""
        scales, shifts = self.scale.split(self.counts), list(self.shift.split(self.scalars))
        outputs = []
        for part, scale, kind in zip(split_types(self.types, x), scales, self.types, strict=True):
            if kind.is_scalar:
                part = part - part.mean(-2, keepdim=True)
            square = part.square().mean((-1, -2), keepdim=True)
            part = part * (square + self.epsilon).rsqrt() * scale[:, None]
            outputs.append(part + shifts.pop(0)[:, None] if kind.is_scalar else part)
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
        irreps = Irreps(irreps)
        self.types = layout(irreps)
        self.gated = [kind.channels for kind in self.types if not kind.is_scalar]
        self.irreps_in = Irreps(f"{sum(self.gated)}x0e") + irreps

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(..., irreps_in.dim)`` to ``(..., irreps.dim)``."""
        gates, rest = x[..., : sum(self.gated)], x[..., sum(self.gated) :]
        each = list(gates.sigmoid().split(self.gated, -1))
        outputs = []
        for part, kind in zip(split_types(self.types, rest), self.types, strict=True):
            outputs.append(silu(part) if kind.is_scalar else part * each.pop(0)[..., None])
        return join_types(outputs)
