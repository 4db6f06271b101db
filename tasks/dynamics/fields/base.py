"""What is learned of a system: the time derivative of its states."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

from tasks.dynamics.hamiltonian import Field, HamiltonianField
from tasks.dynamics.systems import System


class LearnedField(nn.Module, ABC):
    """Gives dz/dt of a system's states. A subclass is built from the system, then its settings.

    Args:
        system: The system whose states it is for.
    """

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    @property
    def description(self) -> str:
        """The settings that matter most, as part of a folder's name."""
        return type(self).__name__

    @abstractmethod
    def of(self, parameters: Tensor, seed: int | None = None) -> Field:
        """The field of some systems.

        Args:
            parameters: Their parameters ``(batch, particles, parameters)``.
            seed: Seed of a random lift, which stays the same along a trajectory; the fixed lift of
                evaluation when absent.
        """


class LearnedHamiltonian(LearnedField):
    """Learns the energy; the field follows by Hamilton's equations.

    What it learned is conserved along its trajectories to the accuracy of the integrator.
    """

    separable = False

    def of(self, parameters: Tensor, seed: int | None = None) -> HamiltonianField:
        return HamiltonianField(_Seeded(self, seed), parameters)

    @abstractmethod
    def energy(self, state: Tensor, parameters: Tensor, seed: int | None = None) -> Tensor:
        """The learned Hamiltonian ``(batch,)``."""

    def kinetic(self, state: Tensor, parameters: Tensor) -> Tensor:
        """The kinetic energy ``(batch,)`` of a separable Hamiltonian.

        Raises:
            NotImplementedError: It is not separable.
        """
        raise NotImplementedError(f"{type(self).__name__} does not part its energy in two.")

    def potential(self, positions: Tensor, parameters: Tensor, seed: int | None = None) -> Tensor:
        """The potential energy ``(batch,)`` of a separable Hamiltonian.

        Raises:
            NotImplementedError: It is not separable.
        """
        raise NotImplementedError(f"{type(self).__name__} does not part its energy in two.")


class LearnedPotential(LearnedHamiltonian):
    """Learns the potential energy; the kinetic energy is the system's own."""

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self.separable = system.separable

    def energy(self, state: Tensor, parameters: Tensor, seed: int | None = None) -> Tensor:
        kinetic = self.kinetic(state, parameters)
        return kinetic + self.potential(state[:, 0], parameters, seed)

    def kinetic(self, state: Tensor, parameters: Tensor) -> Tensor:
        return self.system.kinetic(state, parameters)

    @abstractmethod
    def potential(self, positions: Tensor, parameters: Tensor, seed: int | None = None) -> Tensor:
        """The learned potential energy ``(batch,)``."""


class _Seeded:
    """A learned Hamiltonian with the seed of its lifts."""

    def __init__(self, learned: LearnedHamiltonian, seed: int | None) -> None:
        self._learned, self._seed = learned, seed
        self.separable = learned.separable

    def energy(self, state: Tensor, parameters: Tensor) -> Tensor:
        return self._learned.energy(state, parameters, self._seed)

    def kinetic(self, state: Tensor, parameters: Tensor) -> Tensor:
        return self._learned.kinetic(state, parameters)

    def potential(self, positions: Tensor, parameters: Tensor) -> Tensor:
        return self._learned.potential(positions, parameters, self._seed)


class DirectField(LearnedField):
    """Learns dz/dt itself, which conserves nothing."""

    def of(self, parameters: Tensor, seed: int | None = None) -> Field:
        return _Direct(self, parameters)

    @abstractmethod
    def derivative(self, state: Tensor, parameters: Tensor) -> Tensor:
        """dz/dt, of the shape of the state."""


class _Direct(Field):
    def __init__(self, learned: DirectField, parameters: Tensor) -> None:
        self._learned, self._parameters = learned, parameters

    def __call__(self, state: Tensor) -> Tensor:
        return self._learned.derivative(state, self._parameters)


class LearnedKinetic(nn.Module):
    """Σ |p|² / 2μ with a mass μ > 0 learned from the parameters of each particle.

    Args:
        parameters: Number of parameters of a particle.
        hidden: Number of hidden units.
    """

    def __init__(self, parameters: int, hidden: int = 32) -> None:
        super().__init__()
        self.log_inverse_mass = perceptron(parameters, hidden, 1)

    def forward(self, state: Tensor, parameters: Tensor) -> Tensor:
        """The kinetic energy ``(batch,)``."""
        inverse = self.log_inverse_mass(parameters)[..., 0].exp()
        return (state[:, 1].square().sum(-1) * inverse).sum(-1) / 2


def perceptron(inputs: int, hidden: int, outputs: int, layers: int = 2) -> nn.Sequential:
    """Linear maps with SiLU between them, which has derivatives of every order."""
    sizes = [inputs, *[hidden] * layers]
    maps: list[nn.Module] = []
    for a, b in pairwise(sizes):
        maps += [nn.Linear(a, b), nn.SiLU()]
    return nn.Sequential(*maps, nn.Linear(hidden, outputs))


def generator_of(seed: int | None, device: torch.device) -> torch.Generator | None:
    """A generator that gives the same numbers at every step of a trajectory."""
    return None if seed is None else torch.Generator(device).manual_seed(seed)
