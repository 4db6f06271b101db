"""Muon: steps of orthogonal matrices for the hidden layers, AdamW for all other weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Muon", "hidden_matrices"]

_LEAST = 32  # Rows and columns of a matrix whose steps are worth making orthogonal.
_ITERATIONS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ROOT_MEAN_SQUARE = 0.2  # Of a step of AdamW, in units of its learning rate.


def hidden_matrices(module: nn.Module) -> list[Tensor]:
    """The weights that are matrices of at least 32 rows and 32 columns, without embeddings.

    Maps of a few features and readouts of a few numbers are not among them, nor are biases, norms
    and filters.
    """
    return [
        weight
        for part in module.modules()
        if not isinstance(part, nn.Embedding)
        for weight in part.parameters(recurse=False)
        if weight.ndim == 2 and min(weight.shape) >= _LEAST
    ]


class Muon(torch.optim.AdamW):
    """AdamW in which hidden matrices take steps along the orthogonal part of their momentum.

    The momentum of a matrix, U S Vᵀ, is replaced by about U Vᵀ, so that all its directions move by
    the same amount. The step is scaled to the root mean square of one of AdamW, so that one
    learning rate and one weight decay do for all weights. Matrices of one shape are brought
    together: for small ones that is what makes it fast on a CPU. (``torch.optim.Muon`` computes in
    bfloat16, one by one.)

    Args:
        module: The module to train.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
        momentum: Decay of the average of gradients of the matrices.
        **settings: Those of ``torch.optim.AdamW``, for the other weights.

    Reference:
        Jordan et al. 2024, Muon: An optimizer for hidden layers in neural networks. The scale of
        the steps: Liu et al. 2025, Muon is scalable for LLM training, section 2.2.
    """

    def __init__(
        self,
        module: nn.Module,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        **settings: Any,
    ) -> None:
        matrices = [w for w in hidden_matrices(module) if w.requires_grad]
        known = {id(w) for w in matrices}
        others = [w for w in module.parameters() if w.requires_grad and id(w) not in known]
        groups: list[dict[str, Any]] = [
            {"params": weights, "momentum": share}
            for weights, share in ((others, None), (matrices, momentum))
            if weights
        ]
        super().__init__(groups, lr=lr, weight_decay=weight_decay, **settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step.

        Args:
            closure: Computes the loss and the gradients, and returns the loss.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients: list[tuple[Tensor, Tensor]] = []
        for group in self.param_groups:
            if group["momentum"] is None:
                continue
            moved = [w for w in group["params"] if w.grad is not None]
            for weights in _by_shape(moved):
                self._move(weights, group)
            gradients += [(w, w.grad) for w in moved]
        for weight, _ in gradients:
            weight.grad = None  # AdamW passes over it.
        super().step()
        for weight, gradient in gradients:
            weight.grad = gradient
        return loss

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        share, rate = group["momentum"], group["lr"]
        averages = []
        for w in weights:
            state = self.state[w]
            if not state:
                state["average"] = torch.zeros_like(w)
                state["step"] = torch.zeros(())  # AdamW looks for it when a state is loaded.
            averages.append(state["average"])
        gradients = [w.grad for w in weights if w.grad is not None]
        torch._foreach_lerp_(averages, gradients, 1 - share)
        # Nesterov's: the average as it would be after the same gradient again.
        ahead = torch.stack(torch._foreach_lerp(gradients, averages, share))
        rows, columns = ahead.shape[1:]
        scale = _ROOT_MEAN_SQUARE * max(rows, columns) ** 0.5
        torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        torch._foreach_add_(weights, list(orthogonalized(ahead)), alpha=-rate * scale)


def orthogonalized(x: Tensor) -> Tensor:
    """Matrices ``(n, rows, columns)`` with singular values near 1 and the same singular vectors.

    Five steps of a quintic Newton-Schulz iteration, which bring what is above a hundredth of the
    Frobenius norm to between 0.7 and 1.2.
    """
    wide = x if x.shape[1] <= x.shape[2] else x.mT
    wide = wide / (torch.linalg.matrix_norm(wide, keepdim=True) + torch.finfo(x.dtype).tiny)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        square = wide @ wide.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        wide = torch.baddbmm(wide, polynomial, wide, beta=a)
    return wide if x.shape[1] <= x.shape[2] else wide.mT


def _by_shape(weights: list[Tensor]) -> Iterator[list[Tensor]]:
    for _, alike in groupby(sorted(weights, key=lambda w: w.shape), lambda w: w.shape):
        yield list(alike)
