"""The perceptron that runs on every pair of points, with nothing kept between its layers.

It is the largest cost of a network with a location kernel: the hidden layers of a head are
sixteen times as large as its logits. The forward pass works through the pairs in slices that fit
the processor's cache and keeps only inputs and outputs; the backward pass computes each slice
again. Both write to the same few buffers for every slice, since fresh memory costs as much as
what is done with it. Where the backward pass is itself to be differentiated it is done in
operations that can be; only the first derivative is free of stored activations.
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


def _silu_slope(z: Tensor) -> Tensor:
    s = z.sigmoid()
    return s * (1 + z * (1 - s))


class _PairwiseMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor
    ) -> Tensor:
        size = _slice_size(b1)
        outputs = x.new_empty(len(w3), w3.shape[1], x.shape[1])
        buffers = x.new_empty(2, b1.numel() * min(size, x.shape[1]))
        weight, bias = w1.flatten(0, 1), b1.reshape(-1, 1)
        for part, output in zip(x.split(size, 1), outputs.split(size, 2), strict=True):
            z, h = buffers[:, : b1.numel() * part.shape[1]].unflatten(1, (*b1.shape, -1))
            torch.addmm(bias, weight, part, out=z.flatten(0, 1))
            torch.ops.aten.silu.out(z, out=h)
            torch.baddbmm(b2[..., None], w2, h, out=z)
            torch.ops.aten.silu.out(z, out=h)
            output.copy_(torch.baddbmm(b3[..., None], w3, h))
        return outputs

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        differentiable = torch.is_grad_enabled()  # So it is under torch.func as well.
        backward = _backward if differentiable else _backward_in_place
        return backward(gradient, ctx.needs_input_grad[0], *ctx.saved_tensors)

    @staticmethod
    def vmap(info: Any, axes: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        """Over batches of all inputs: without buffers, which torch.vmap cannot write to."""
        return torch.func.vmap(lambda *one: _layers(*one)[-1], axes)(*inputs), 0


def _backward(
    gradient: Tensor,
    needs_x: bool,
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    w3: Tensor,
    b3: Tensor,
) -> tuple[Tensor | None, ...]:
    """Gradients of all inputs, in operations that can be differentiated."""
    z1, h1, z2, h2, _ = _layers(x, w1, b1, w2, b2, w3, b3)
    g2 = (w3.mT @ gradient) * _silu_slope(z2)
    g1 = (w2.mT @ g2) * _silu_slope(z1)
    return (
        w1.flatten(0, 1).T @ g1.flatten(0, 1) if needs_x else None,
        (g1.flatten(0, 1) @ x.T).unflatten(0, b1.shape),
        g1.sum(-1),
        g2 @ h1.mT,
        g2.sum(-1),
        gradient @ h2.mT,
        gradient.sum(-1),
    )


def _backward_in_place(
    gradient: Tensor,
    needs_x: bool,
    x: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    w3: Tensor,
    b3: Tensor,
) -> tuple[Tensor | None, ...]:
    """The same, a slice of the pairs at a time."""
    size = _slice_size(b1)
    gx = torch.empty_like(x) if needs_x else None
    totals = [torch.zeros_like(w) for w in (w1, b1, w2, b2, w3, b3)]
    buffers = x.new_empty(5, b1.numel() * min(size, x.shape[1]))
    weight, bias, one = w1.flatten(0, 1), b1.reshape(-1, 1), torch.ones_like(b1[0, 0])
    w2_back, w3_back = w2.mT.contiguous(), w3.mT.contiguous()
    for start in range(0, x.shape[1], size):
        own = slice(start, start + size)
        part, g = x[:, own], gradient[..., own]
        z, s1, h1, s2, h2 = buffers[:, : b1.numel() * part.shape[1]].unflatten(1, (*b1.shape, -1))
        torch.addmm(bias, weight, part, out=z.flatten(0, 1))
        torch.mul(z, torch.sigmoid(z, out=s1), out=h1)
        torch.baddbmm(b2[..., None], w2, h1, out=z)
        torch.mul(z, torch.sigmoid(z, out=s2), out=h2)
        gw3 = g @ h2.mT
        # The slope of SiLU, s + h - s h, takes the place of s.
        torch.lerp(h2, one, s2, out=s2)
        g2 = torch.bmm(w3_back, g, out=z).mul_(s2)
        torch.lerp(h1, one, s1, out=s1)
        g1 = torch.bmm(w2_back, g2, out=h2).mul_(s1)
        flat = g1.flatten(0, 1)
        if gx is not None:
            gx[:, own] = weight.T @ flat
        gw1 = (flat @ part.T).unflatten(0, b1.shape)
        terms = (gw1, g1.sum(-1), g2 @ h1.mT, g2.sum(-1), gw3, g.sum(-1))
        for total, term in zip(totals, terms, strict=True):
            total += term
    return gx, *totals


def _slice_size(b1: Tensor) -> int:
    return max(_CACHE_ELEMENTS // b1.numel(), 1)
