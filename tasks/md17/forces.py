"""Energies with the forces that belong to them, and how exactly they follow a group."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from tasks.md17.networks import EnergyNetwork


def energy_and_forces(
    network: EnergyNetwork,
    features: Tensor,
    positions: Tensor,
    *,
    create_graph: bool = False,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The energy of a molecule and the forces on its atoms, Fᵢ = -∂E/∂xᵢ.

    Works under ``torch.no_grad`` and ``torch.inference_mode`` too.

    Args:
        network: Gives the energy.
        features: Features of the atoms ``(batch, atoms, in_features)``.
        positions: Coordinates ``(batch, atoms, 3)``.
        create_graph: Whether the forces are to be differentiated in turn, as in training.
        generator: Source of randomness for the network.

    Returns:
        Energies ``(batch,)`` and forces ``(batch, atoms, 3)``, in the network's unit and its unit
        per that of the coordinates; without derivatives unless ``create_graph``.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # Clones, because tensors made in inference mode cannot take part in derivatives.
        moving = positions.detach().clone().requires_grad_()
        energy = network(features.clone(), moving, generator)
        (gradient,) = torch.autograd.grad(energy.sum(), moving, create_graph=create_graph)
    return (energy, -gradient) if create_graph else (energy.detach(), -gradient)


def symmetry_errors(
    network: EnergyNetwork,
    features: Tensor,
    positions: Tensor,
    *,
    draws: int = 4,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[float, float]:
    """Measure how far energy and forces are from what they should be when the group acts.

    The energy should not change. The forces should turn with the molecule: under x ↦ Ax + b, by
    the inverse transpose of A.

    Args:
        network: The network; it is left as it is.
        features: Features of the atoms ``(batch, atoms, in_features)``.
        positions: Coordinates ``(batch, atoms, 3)``, of more than one frame.
        draws: Number of random elements of the network's group.
        seed: Seed of the elements.
        dtype: Floating type to compute in.

    Returns:
        Root mean square of the energy's change in units of its deviation over the frames, and that
        of the forces' in units of their size.
    """
    # Not in inference mode, where a copy of the network could not take part in derivatives.
    with torch.inference_mode(False):
        network = deepcopy(network).to(dtype).eval()
        features, positions = features.to(dtype), positions.to(dtype)
        space = network.group.default_space()
        generator = torch.Generator().manual_seed(seed)
        elements = network.group.sample((draws,), generator=generator, dtype=torch.float64)
        energy, forces = energy_and_forces(network, features, positions)
        origin_and_axes = torch.cat((positions.new_zeros(1, 3), torch.eye(3).to(positions)))
        of_energy, of_forces = [], []
        for element in elements.to(positions):
            moved_energy, moved_forces = energy_and_forces(
                network, features, space.act(element, positions)
            )
            moved = space.act(element, origin_and_axes)
            linear = (moved[1:] - moved[0]).T
            of_energy.append(moved_energy - energy)
            of_forces.append(moved_forces - forces @ linear.inverse())
        return (
            float(torch.stack(of_energy).square().mean().sqrt() / energy.std()),
            float(torch.stack(of_forces).square().mean().sqrt() / forces.square().mean().sqrt()),
        )
