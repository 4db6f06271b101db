"""Energy and forces as one list of tensor operations, without autograd and modules at run time."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor
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
    network = deepcopy(network).eval().requires_grad_(False)
    for module in network.modules():
        rule = getattr(module, "neighborhood", None)
        if isinstance(rule, Radius | Nearest):
            # The number of pairs of the sparse layout depends on the positions.
            module.neighborhood = replace(rule, layout="dense")  # type: ignore[assignment]

    def energy_and_forces(positions: Tensor) -> tuple[Tensor, Tensor]:
        moving = positions.detach().requires_grad_()
        energy = network(features, moving)
        (gradient,) = torch.autograd.grad(energy.sum(), moving)
        return energy.detach(), -gradient

    example = torch.randn_like(features[..., :3])
    try:
        # With fake tensors, whose values nobody can look at.
        graph = make_fx(energy_and_forces, tracing_mode="fake", _allow_non_fake_inputs=True)(
            example
        )
    except Exception as error:  # Whatever the network does with the values.
        raise ValueError(
            f"traced: {type(network).__name__} cannot be traced, because what it computes depends "
            f"on the values of the positions ({type(error).__name__}); leave out traced."
        ) from error
    _simplify(graph)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # It tells of a successor that is slower here.
        recorded = torch.jit.trace(graph.eval(), (example,), check_trace=False)
        return torch.jit.freeze(recorded)


def _simplify(graph: GraphModule) -> None:
    """Leave out what is for autograd alone."""
    for node in list(graph.graph.nodes):
        if node.target is _aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
