"""Blocks of networks that pass messages between pairs of points: SchNet, NMP and EGNN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attention.backends import BackendName
from attention.blocks.base import Block, ConvolutionBlock, KernelMaker
from attention.geometry import Geometry, Pairs
from attention.kernels import Convolution
from attention.kernels.filters import Activation, activation_of
from attention.normalizers import Linear, Normalizer
from liegroups import Sees
from liegroups.checks import check_count
from liegroups.sees import Seeing


class InteractionBlock(ConvolutionBlock):
    """x + W₃ σ(W₂ Σⱼ (W₁ xⱼ) ⊙ w(Iᵢⱼ)): the interaction of SchNet.

    Args:
        width: Number of features a point.
        heads: Number of heads; divides ``width``.
        geometry: The space of the points and the invariant of their pairs.
        kernel: Makes the kernel, which has a filter w: ``Convolution``, with ``FilterMLP``.
        normalizer: Turns its logits into weights; ``Linear``, the sum, when absent.
        backend: ``auto``.
        activation: The function σ: ``softplus``, less its value at zero, or ``silu``.

    Raises:
        ValueError: If the kernel has no filter, or a setting is another.

    Reference:
        Schütt et al. 2017, SchNet: A continuous-filter convolutional neural network for modeling
        quantum interactions, figure 2.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: KernelMaker = Convolution,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
        activation: Activation = "softplus",
    ) -> None:
        super().__init__(width, heads, geometry, kernel, normalizer, backend)
        self.activation = activation_of(activation)
        self.value = nn.Linear(width, width, bias=False)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, pairs: Pairs, features: Tensor) -> Tensor:
        """Features ``(batch, points, width)`` to features of the same shape."""
        received = self.convolve(pairs, features, self.value(features))
        return features + pairs.map_targets(self._update, received)

    def _update(self, received: Tensor) -> Tensor:
        updated: Tensor = self.second(self.activation(self.first(received)))
        return updated


class EdgeNetworkBlock(Seeing, Block):
    """hᵢ ← GRU(Σⱼ A(Iᵢⱼ) hⱼ, hᵢ), A a matrix that a perceptron makes of the pair: neural messages.

    The matrix is linear in the hidden units φ of the perceptron, A = A₀ + Σₖ φₖ(Iᵢⱼ) Aₖ, so the
    sums of φₖ hⱼ over the neighbors come first, and no matrix of a pair is ever made.

    Args:
        width: Number of features a point.
        heads: ``1``.
        geometry: The space of the points and the invariant of their pairs.
        kernel: Not looked at: messages are not weighed by a kernel.
        normalizer: How ones become weights; ``Linear``, a sum over the neighbors, when absent.
        backend: ``auto``.
        hidden: Number of hidden units.

    Raises:
        ValueError: If a setting is another.

    Reference:
        Gilmer et al. 2017, Neural Message Passing for Quantum Chemistry, section 5: the edge
        network and its update.
    """

    sees = Sees.INVARIANTS

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: KernelMaker = Convolution,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
        hidden: int = 32,
    ) -> None:
        super().__init__(width, heads, geometry)
        _check_alone("EdgeNetworkBlock", heads, backend)
        check_count("EdgeNetworkBlock.hidden", hidden)
        self.normalizer = normalizer or Linear()
        self.first = nn.Linear(geometry.head_mask(1).shape[1], hidden)
        spread = ((hidden + 1) * width) ** -0.5
        self.matrices = nn.Parameter(torch.randn(hidden + 1, width, width) * spread)
        self.update = nn.GRUCell(width, width)

    def forward(self, pairs: Pairs, features: Tensor) -> Tensor:
        """Features ``(batch, points, width)`` to features of the same shape."""
        hidden = torch.einsum("ki,i...->k...", self.first.weight, pairs.invariants)
        hidden = hidden + self.first.bias.view(-1, *[1] * (hidden.ndim - 1))
        ones = torch.ones_like(hidden[:1])
        of_pairs = torch.cat((nn.functional.silu(hidden), ones))
        weights = self.normalizer(pairs.neighborhood, ones) * of_pairs
        sent = features.expand(len(weights), *features.shape)
        sums = pairs.neighborhood.push_forward(weights, sent)
        messages = torch.einsum("kbnc,kcd->bnd", sums, self.matrices)
        updated = self.update(messages.flatten(0, 1), features.flatten(0, 1))
        return updated.unflatten(0, features.shape[:2])


class MessageBlock(Seeing, Block):
    """mᵢⱼ = φₑ(hᵢ, hⱼ, Iᵢⱼ) and hᵢ ← hᵢ + φₕ(hᵢ, Σⱼ eᵢⱼ mᵢⱼ): a layer of EGNN on points that rest.

    φₑ has two layers with SiLU, φₕ two with SiLU between, and eᵢⱼ = sigmoid(a·mᵢⱼ + b) tells how
    much of a neighbor it is. The first layer of φₑ is a sum of terms of one end each and one of the
    pair; the second is a matrix product for every pair, which makes it the dearest of these blocks.

    Args:
        width: Number of features a point.
        heads: ``1``.
        geometry: The space of the points and the invariant of their pairs.
        kernel: Not looked at: messages are not weighed by a kernel.
        normalizer: How the eᵢⱼ become weights; ``Linear``, as they are, when absent.
        backend: ``auto``.

    Raises:
        ValueError: If a setting is another.

    Reference:
        Satorras et al. 2021, E(n) Equivariant Graph Neural Networks, equations 3 to 8 without 4, as
        on QM9.
    """

    sees = Sees.INVARIANTS

    def __init__(
        self,
        width: int,
        heads: int,
        geometry: Geometry,
        kernel: KernelMaker = Convolution,
        normalizer: Normalizer | None = None,
        backend: BackendName = "auto",
    ) -> None:
        super().__init__(width, heads, geometry)
        _check_alone("MessageBlock", heads, backend)
        self.normalizer = normalizer or Linear()
        self.of_target, self.of_source = nn.Linear(width, width), nn.Linear(width, width, False)
        self.of_pair = nn.Linear(geometry.head_mask(1).shape[1], width, bias=False)
        self.second = nn.Linear(width, width)
        self.gate = nn.Linear(width, 1)
        self.update = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, pairs: Pairs, features: Tensor) -> Tensor:
        """Features ``(batch, points, width)`` to features of the same shape."""
        silu, neighborhood = nn.functional.silu, pairs.neighborhood
        target, source = self.of_target(features), self.of_source(features)
        first = neighborhood.outer_sum(target.movedim(-1, 0), source.movedim(-1, 0))
        first = first + torch.einsum("ci,i...->c...", self.of_pair.weight, pairs.invariants)
        messages = silu(self.second(silu(first).movedim(0, -1)))  # (*pairs, width)
        gates = self.normalizer(neighborhood, self.gate(messages).sigmoid().movedim(-1, 0))
        received = neighborhood.sum_over_fibres(
            (messages * gates[0, ..., None])[None], len(features)
        )
        together = torch.cat((features, received[0]), -1)
        return features + pairs.map_targets(self.update, together)


def _check_alone(name: str, heads: int, backend: str) -> None:
    """Raise ValueError unless there is one head, and no backend to choose."""
    if heads != 1 or backend != "auto":
        raise ValueError(f"{name} has 1 head and the backend auto; got {heads} and {backend}.")
