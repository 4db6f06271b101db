"""Energies, forces and training steps as one list of tensor operations.

At run time there are no modules and no autograd, which take most of the time for a small molecule.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd import grad
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from attention import Nearest, Radius
from tasks.md17.networks import EnergyNetwork

_aten = torch.ops.aten


def trace(network: EnergyNetwork, features: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Record how energy and forces of a molecule are computed.

    Most of the time for a small molecule goes into steering, which the record does without.

    Args:
        network: Gives the energy; it is left as it is.
        features: Features of the atoms ``(1, atoms, in_features)``.

    Returns:
        A function from positions ``(1, atoms, 3)``, of the type of the features, to the energy
        ``(1,)`` and the forces ``(1, atoms, 3)``.

    Raises:
        ValueError: What the network computes, or the shapes of it, depends on the values of the
            positions, so that one record does not do for all.
    """
    network = _recordable(network).eval().requires_grad_(False)

    def energy_and_forces(positions: Tensor) -> tuple[Tensor, Tensor]:
        moving = positions.detach().requires_grad_()
        energy = network(features, moving)
        (gradient,) = grad(energy.sum(), moving)
        return energy.detach(), -gradient

    example = torch.randn_like(features[..., :3])
    graph = _record(network, "traced", energy_and_forces, example)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # It tells of a successor that is slower here.
        recorded = torch.jit.freeze(torch.jit.trace(graph.eval(), (example,), check_trace=False))

    def compute(positions: Tensor) -> tuple[Tensor, Tensor]:
        # Its optimizations gain nothing here, and fail on the products of steerable networks.
        with torch.jit.optimized_execution(False), torch.no_grad():  # type: ignore[attr-defined]
            found: tuple[Tensor, Tensor] = recorded(positions)
        return found

    return compute


class CompiledStep:
    """The loss of a batch with the gradients of all weights, compiled as a whole.

    ``torch.compile`` cannot differentiate twice, which a loss of forces needs. Here both
    derivatives are recorded first, as plain operations; the record is what is compiled. That
    happens once for each number of frames, at the first batch that has it, and takes minutes; a
    step then takes less than half of the time on a CPU.

    Args:
        network: Gives the energy. Its weights are those of the moment at each call, and its
            settings those of the first.
        loss: The loss of energies ``(batch,)``, forces ``(batch, atoms, 3)`` and the targets.
    """

    def __init__(self, network: EnergyNetwork, loss: Callable[..., Tensor]) -> None:
        self.network, self.loss = network, loss
        self._made: dict[torch.Size, Callable[..., list[Tensor]]] = {}

    def __call__(
        self, features: Tensor, positions: Tensor, *targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute.

        Args:
            features: Features of the atoms ``(batch, atoms, in_features)``.
            positions: Coordinates ``(batch, atoms, 3)``.
            targets: What the loss takes after energies and forces.

        Returns:
            The loss, whose derivatives by the weights are known already; energies and forces,
            without derivatives.

        Raises:
            ValueError: What the network computes is random, or depends on values of the positions.
        """
        weights = [w for w in self.network.parameters() if w.requires_grad]
        every = {name: w.detach() for name, w in self.network.named_parameters()}
        given = every, features.contiguous(), positions, *targets
        with torch.no_grad():
            if positions.shape not in self._made:
                self._made[positions.shape] = self._compile(*given)
            loss, energy, forces, *gradients = self._made[positions.shape](*given)
        known: Tensor = _KnownGradients.apply(loss, gradients, *weights)
        return known, energy, forces

    def _compile(self, *example: Any) -> Callable[..., list[Tensor]]:
        network = _recordable(self.network)
        learned = [name for name, w in network.named_parameters() if w.requires_grad]

        def step(
            weights: dict[str, Tensor], features: Tensor, positions: Tensor, *targets: Tensor
        ) -> list[Tensor]:
            with torch.enable_grad():
                used = {name: w.detach().requires_grad_() for name, w in weights.items()}
                moving = positions.detach().requires_grad_()
                energy = torch.func.functional_call(network, used, (features, moving))
                (gradient,) = grad(energy.sum(), moving, create_graph=True)
                loss = self.loss(energy, -gradient, *targets)
                by = [used[name] for name in learned]
                gradients = grad(loss, by, allow_unused=True, materialize_grads=True)
            return [x.detach() for x in (loss, energy, -gradient, *gradients)]

        graph = _record(network, "compile", step, *example)
        for node in graph.graph.nodes:
            if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
                raise ValueError(
                    f"compile: {type(network).__name__} draws random numbers, which a record would "
                    "repeat at every step; take a lift that is not random, or leave out compile."
                )
        print(
            f"Compiling the training step for {len(example[2])} frames at a time; this takes some "
            "minutes.",
            file=sys.stderr,
        )
        compiled: Callable[..., list[Tensor]] = torch.compile(graph)
        compiled(*example)
        return compiled


class _KnownGradients(torch.autograd.Function):
    """A loss whose derivatives by the weights are known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor) -> Any:
        return None, None, *(of_loss * gradient for gradient in ctx.gradients)


def _recordable(network: EnergyNetwork) -> EnergyNetwork:
    """A copy whose number of pairs does not depend on the positions."""
    network = deepcopy(network)
    for module in network.modules():
        rule = getattr(module, "neighborhood", None)
        if isinstance(rule, Radius | Nearest):
            module.neighborhood = replace(rule, layout="dense")  # type: ignore[assignment]
    return network


def _record(
    network: EnergyNetwork, setting: str, function: Callable[..., Any], *example: Any
) -> GraphModule:
    """The operations of a function of tensors, without what is for autograd alone."""
    try:
        # With fake tensors, whose values nobody can look at.
        graph = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*example)
    except Exception as error:  # Whatever the network does with the values.
        raise ValueError(
            f"{setting}: {type(network).__name__} cannot be recorded, because what it computes "
            f"depends on the values of the positions ({type(error).__name__}); leave out {setting}."
        ) from error
    for node in list(graph.graph.nodes):
        if node.target is _aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph
