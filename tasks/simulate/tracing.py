"""Energy and forces of a molecule as one list of tensor operations.

At run time there are no modules and no autograd, which take most of the time for a small molecule.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import grad

from attention import Network
from tasks.objectives.gradients import Energy, energy_of
from tasks.training.recording import record, recordable

__all__ = ["trace"]


def trace(
    network: Network, features: Tensor, energy: Callable[[Network, Tensor], Energy] = energy_of
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Record how energy and forces of a molecule are computed.

    Most of the time for a small molecule goes into steering, which the record does without.

    Args:
        network: Gives the energy ``(1, 1)``; it is left as it is.
        features: Features of the atoms ``(1, atoms, in_features)``.
        energy: Gives the energy of the network, as a function of the positions.

    Returns:
        A function from positions ``(1, atoms, 3)``, of the type of the features, to the energy
        ``(1,)`` and the forces ``(1, atoms, 3)``.

    Raises:
        ValueError: What the network computes, or the shapes of it, depends on the values of the
            positions, so that one record does not do for all.
    """
    network = recordable(network).eval().requires_grad_(False)

    def energy_and_forces(positions: Tensor) -> tuple[Tensor, Tensor]:
        moving = positions.detach().requires_grad_()
        value = energy(network, features)(moving)
        (gradient,) = grad(value.sum(), moving)
        return value.detach(), -gradient

    example = torch.randn_like(features[..., :3])
    graph = record(network, "traced", energy_and_forces, example)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # It tells of a successor that is slower here.
        recorded = torch.jit.freeze(torch.jit.trace(graph.eval(), (example,), check_trace=False))

    def compute(positions: Tensor) -> tuple[Tensor, Tensor]:
        # Its optimizations gain nothing here, and fail on the products of steerable networks.
        with torch.jit.optimized_execution(False), torch.no_grad():  # type: ignore[attr-defined]
            found: tuple[Tensor, Tensor] = recorded(positions)
        return found

    return compute
