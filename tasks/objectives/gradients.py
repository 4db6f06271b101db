"""Energies with the forces that belong to them, and how exactly they follow a group."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from attention import Network
from attention.heads.base import linear_part

__all__ = ["Energy", "energy_and_forces", "energy_of", "symmetry_errors"]

Energy = Callable[[Tensor], Tensor]
"""The energy ``(batch,)`` of positions ``(batch, atoms, dim)``."""


def energy_of(
    network: Network,
    features: Tensor,
    mask: Tensor | None = None,
    *,
    scale: float = 1.0,
    prior: Energy | None = None,
    generator: torch.Generator | None = None,
) -> Energy:
    """What a network of one output says of the energy, as a function of the positions alone.

    Args:
        network: Gives ``(batch, 1)``, or ``(batch, atoms, 1)``, of which the sum is taken.
        features: Features of the atoms ``(batch, atoms, in_features)``.
        mask: Booleans ``(batch, atoms)``, or None.
        scale: Factor on what the network gives.
        prior: An energy of its own, in the unit of the scaled output, that is added to it.
        generator: Source of randomness for the network.
    """

    def energy(positions: Tensor) -> Tensor:
        # Tensors that were made in inference mode cannot take part in derivatives; clones can.
        seen, exists = _usable(features), None if mask is None else _usable(mask)
        output: Tensor = network(seen, positions, exists, generator=generator)
        if network.is_per_point:
            output = output.sum(1)
        found = output[:, 0] if scale == 1 else scale * output[:, 0]
        return found if prior is None else found + prior(positions)

    return energy


def energy_and_forces(
    energy: Energy, positions: Tensor, *, create_graph: bool = False
) -> tuple[Tensor, Tensor]:
    r"""The energy of a molecule and the forces on its atoms, Fᵢ = -∂E/∂xᵢ.

    Works under ``torch.no_grad`` and ``torch.inference_mode`` too.

    Args:
        energy: Gives the energy.
        positions: Coordinates ``(batch, atoms, 3)``.
        create_graph: Whether the forces are to be differentiated in turn, as in training.

    Returns:
        Energies ``(batch,)`` and forces ``(batch, atoms, 3)``, in the unit of the energy and that
        per unit of the coordinates; without derivatives unless ``create_graph``.
    """
    with torch.inference_mode(False), torch.enable_grad():
        moving = positions.detach().clone().requires_grad_()
        value = energy(moving)
        (gradient,) = torch.autograd.grad(value.sum(), moving, create_graph=create_graph)
    return (value, -gradient) if create_graph else (value.detach(), -gradient)


def symmetry_errors(
    network: Network,
    features: Tensor,
    positions: Tensor,
    mask: Tensor | None = None,
    *,
    draws: int = 4,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[float, float]:
    """Measure how far energy and forces are from what they should be when the group acts.

    The energy should not change. The forces should turn with the molecule: under x ↦ Ax + b, by
    the inverse transpose of A.

    Args:
        network: The network, of one output; it is left as it is.
        features: Features of the atoms ``(batch, atoms, in_features)``.
        positions: Coordinates ``(batch, atoms, 3)``, of more than one frame.
        mask: Booleans ``(batch, atoms)``, or None.
        draws: Number of random elements of the network's group.
        seed: Seed of the elements.
        dtype: Floating type to compute in.

    Returns:
        Root mean square of the energy's change in units of its deviation over the frames, at least
        of √ε of its size, and that of the forces' in units of their size.
    """
    # Not in inference mode, where a copy of the network could not take part in derivatives.
    with torch.inference_mode(False):
        network = deepcopy(network).to(dtype).eval()
        features, positions = features.to(dtype), positions.to(dtype)
        space = network.space
        generator = torch.Generator().manual_seed(seed)
        elements = space.group.sample((draws,), generator=generator, dtype=torch.float64)
        function = energy_of(network, features, mask)
        energy, forces = energy_and_forces(function, positions)
        of_energy, of_forces = [], []
        for element in elements.to(positions):
            moved_energy, moved_forces = energy_and_forces(function, space.act(element, positions))
            of_energy.append(moved_energy - energy)
            of_forces.append(moved_forces - forces @ linear_part(space, element).inverse())
        least = torch.finfo(dtype).eps ** 0.5  # Where all is one number, that is rounding.
        deviation = torch.maximum(energy.std(), least * energy.square().mean().sqrt())
        size = torch.maximum(forces.square().mean().sqrt(), least * deviation)
        energy_error = torch.stack(of_energy).square().mean().sqrt() / deviation
        force_error = torch.stack(of_forces).square().mean().sqrt() / size
    return float(energy_error), float(force_error)


def _usable(x: Tensor) -> Tensor:
    return x.clone() if x.is_inference() else x
