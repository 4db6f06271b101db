"""A training step with all its derivatives, compiled as a whole."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import grad

from attention import Network
from tasks.data.clouds import Clouds
from tasks.objectives.base import Objective, Prediction
from tasks.training.recording import record, recordable

__all__ = ["CompiledStep"]


class CompiledStep:
    """The loss of a batch with the gradients of all weights, compiled as a whole.

    ``torch.compile`` cannot differentiate twice, which a loss of forces needs. Here both
    derivatives are recorded first, as plain operations; the record is what is compiled. That
    happens once for each size of a batch, at the first that has it, and takes minutes; a step then
    takes less than half of the time on a CPU.

    Args:
        network: The network. Its weights are those of the moment at each call, and its settings
            those of the first.
        objective: The objective.
    """

    def __init__(self, network: Network, objective: Objective[Any]) -> None:
        self.network, self.objective = network, objective
        self._made: dict[tuple[int, ...], Callable[..., list[Tensor]]] = {}

    def __call__(self, batch: Clouds) -> tuple[Tensor, Prediction]:
        """Compute.

        Args:
            batch: The clouds.

        Returns:
            The loss, whose derivatives by the weights are known already; and what was predicted,
            without derivatives.

        Raises:
            ValueError: What the network computes is random, or depends on values of the positions.
        """
        both = nn.ModuleList((self.network, self.objective))
        weights = [w for w in both.parameters() if w.requires_grad]
        every = {name: w.detach() for name, w in both.named_parameters()}
        # What the objective changes while it trains; the buffers of a network are constants.
        every |= {f"1.{name}": x for name, x in self.objective.named_buffers()}
        given = {
            name: part.contiguous()
            for name, part in batch._asdict().items()
            if part is not None and name not in ("ids", "weight")
        }
        size = tuple(batch.points.shape)
        with torch.no_grad():
            if size not in self._made:
                self._made[size] = self._compile(every, given)
            loss, *rest = self._made[size](every, given)
        gradients, prediction = rest[: len(weights)], tuple(rest[len(weights) :])
        known: Tensor = _KnownGradients.apply(loss, gradients, *weights)
        return known, prediction

    def _compile(self, *example: Any) -> Callable[..., list[Tensor]]:
        step = _Step(recordable(self.network), self.objective)
        learned = [name for name, w in step.both.named_parameters() if w.requires_grad]

        def derivatives(weights: dict[str, Tensor], given: dict[str, Tensor]) -> list[Tensor]:
            with torch.enable_grad():
                used = {f"both.{n}": w.detach() for n, w in weights.items()}
                for name in learned:
                    used[f"both.{name}"].requires_grad_()
                loss, *prediction = torch.func.functional_call(step, used, (given,))
                by = [used[f"both.{name}"] for name in learned]
                gradients = grad(loss, by, allow_unused=True, materialize_grads=True)
            return [x.detach() for x in (loss, *gradients, *prediction)]

        graph = record(self.network, "compile", derivatives, *example)
        for node in graph.graph.nodes:
            if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                raise ValueError(
                    f"compile: {type(self.network).__name__} draws random numbers, which a record "
                    "would repeat at every step; take a lift that is not random, or leave out "
                    "compile."
                )
        count = len(example[1]["points"])
        print(
            f"Compiling the training step for {count} clouds at a time; this takes some minutes.",
            file=sys.stderr,
        )
        compiled: Callable[..., list[Tensor]] = torch.compile(graph)
        compiled(*example)
        return compiled


class _Step(nn.Module):
    """The loss of an objective and what it predicts, of the tensors of a batch."""

    def __init__(self, network: Network, objective: Objective[Any]) -> None:
        super().__init__()
        self.both = nn.ModuleList((network, objective))

    def forward(self, given: dict[str, Tensor]) -> list[Tensor]:
        network, objective = self.both
        assert isinstance(network, Network) and isinstance(objective, Objective)
        loss, prediction = objective.loss(network, Clouds.of(given))
        return [loss, *prediction]


class _KnownGradients(torch.autograd.Function):
    """A loss whose derivatives by the weights are known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor) -> Any:
        return None, None, *(of_loss * gradient for gradient in ctx.gradients)
