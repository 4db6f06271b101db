"""Fully connected baselines, which see a system as one vector."""

from __future__ import annotations

import torch
from torch import Tensor

from liegroups.checks import DEPTH, check_count
from tasks.dynamics.fields.base import DirectField, LearnedPotential, perceptron
from tasks.dynamics.systems import System


class FC(DirectField):
    """dz/dt by a perceptron of the state and the parameters.

    Args:
        system: The system.
        width: Number of hidden units.
        layers: Number of hidden layers.

    Raises:
        ValueError: If a number is less than 1.
    """

    def __init__(self, system: System, width: int = 256, layers: int = 4) -> None:
        super().__init__(system)
        check_count("width", width)
        check_count("layers", layers, most=DEPTH)
        state, parameters = 2 * system.particles * system.dim, len(system.parameter_names)
        inputs = state + system.particles * parameters
        self.network = perceptron(inputs, width, state, layers)

    def derivative(self, state: Tensor, parameters: Tensor) -> Tensor:
        inputs = torch.cat((state.flatten(1), parameters.flatten(1)), 1)
        return self.network(inputs).view_as(state)


class HFC(LearnedPotential):
    """The system's kinetic energy plus a potential by a perceptron of positions and parameters.

    Args:
        system: The system.
        width: Number of hidden units.
        layers: Number of hidden layers.

    Raises:
        ValueError: If a number is less than 1.

    Reference:
        Greydanus et al. 2019, Hamiltonian Neural Networks.
    """

    def __init__(self, system: System, width: int = 256, layers: int = 4) -> None:
        super().__init__(system)
        check_count("width", width)
        check_count("layers", layers, most=DEPTH)
        inputs = system.particles * (system.dim + len(system.parameter_names))
        self.network = perceptron(inputs, width, 1, layers)

    def potential(self, positions: Tensor, parameters: Tensor, seed: int | None = None) -> Tensor:
        inputs = torch.cat((positions.flatten(1), parameters.flatten(1)), 1)
        return self.network(inputs)[:, 0]
