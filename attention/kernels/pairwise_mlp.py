"""The perceptron that runs on every pair of points, with nothing kept between its layers.

It is the largest cost of a network with a location kernel: the hidden layers of a head are
sixteen times as large as its logits. The forward pass works through the pairs in slices that fit
the processor's cache and keeps only inputs and outputs; the backward pass computes each slice
again. It is written in differentiable operations, so derivatives of any order are right; only
the first is free of stored activations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

_CACHE_ELEMENTS = 2**18


def pairwise_mlp(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
) -> Tensor:
    """Evaluate w₃ σ(w₂ σ(w₁x + b₁) + b₂) + b₃, σ = SiLU, for several perceptrons at once.

    Args:
        x: Inputs ``(inputs, pairs)``, the same for all perceptrons.
        w1: ``(perceptrons, hidden, inputs)``.
        b1: ``(perceptrons, hidden)``.
        w2: ``(perceptrons, hidden, hidden)``.
        b2: ``(perceptrons, hidden)``.
        w3: ``(perceptrons, outputs, hidden)``.
        b3: ``(perceptrons, outputs)``.

    Returns:
        Outputs ``(perceptrons · outputs, pairs)``.
    """
    if torch.compiler.is_compiling():
        return _layers(x, w1, b1, w2, b2, w3, b3)[-1].flatten(0, 1)
    outputs: Tensor = _PairwiseMLP.apply(x, w1, b1, w2, b2, w3, b3)
    return outputs.flatten(0, 1)


def _layers(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Both hidden layers before and after σ, ``(perceptrons, hidden, pairs)``, and the outputs."""
    z1 = torch.addmm(b1.reshape(-1, 1), w1.flatten(0, 1), x).unflatten(0, b1.shape)
    h1 = silu(z1)
    z2 = torch.baddbmm(b2[..., None], w2, h1)
    h2 = silu(z2)
    return z1, h1, z2, h2, torch.baddbmm(b3[..., None], w3, h2)


def _silu_backward(gradient: Tensor, z: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return torch.ops.aten.silu_backward(gradient, z)
    s = z.sigmoid()
    return gradient * s * (1 + z * (1 - s))


class _PairwiseMLP(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
    ) -> Tensor:
        slices = x.split(_slice_size(b1), 1)
        return torch.cat([_layers(part, w1, b1, w2, b2, w3, b3)[-1] for part in slices], 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, w1, b1, w2, b2, w3, b3 = ctx.saved_tensors
        size = _slice_size(b1)
        x_parts: list[Tensor] = []
        totals: list[Tensor] = []
        for part, g in zip(x.split(size, 1), gradient.split(size, 2), strict=True):
            z1, h1, z2, h2, _ = _layers(part, w1, b1, w2, b2, w3, b3)
            g2 = _silu_backward(w3.mT @ g, z2)
            g1 = _silu_backward(w2.mT @ g2, z1)
            if ctx.needs_input_grad[0]:
                x_parts.append(w1.flatten(0, 1).T @ g1.flatten(0, 1))
            terms = [
                (g1.flatten(0, 1) @ part.T).unflatten(0, b1.shape),
                g1.sum(-1),
                g2 @ h1.mT,
                g2.sum(-1),
                g @ h2.mT,
                g.sum(-1),
            ]
            totals = [a + b for a, b in zip(totals, terms, strict=True)] if totals else terms
        return torch.cat(x_parts, 1) if x_parts else None, *totals


def _slice_size(b1: Tensor) -> int:
    return max(_CACHE_ELEMENTS // b1.numel(), 1)
