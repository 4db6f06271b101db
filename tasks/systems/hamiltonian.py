"""Hamilton's equations: dq/dt = ∂H/∂p, dp/dt = -∂H/∂q."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor


class Field(ABC):
    """The time derivative of states ``(batch, 2, particles, dim)``, positions above momenta."""

    @abstractmethod
    def __call__(self, state: Tensor) -> Tensor:
        """The derivative dz/dt, of the shape of the state."""


class Energy(Protocol):
    """A Hamiltonian: a system, or what was learned of one."""

    @property
    def separable(self) -> bool:
        """Whether the kinetic energy does not depend on the positions."""

    def energy(self, state: Tensor, parameters: Tensor) -> Tensor:
        """The Hamiltonian ``(batch,)``."""

    def kinetic(self, state: Tensor, parameters: Tensor) -> Tensor:
        """The kinetic energy ``(batch,)``."""

    def potential(self, positions: Tensor, parameters: Tensor) -> Tensor:
        """The potential energy ``(batch,)``."""


class HamiltonianField(Field):
    """The field of an energy, by derivatives of it.

    Where gradients are enabled the field itself can be differentiated, with respect to the state
    and to whatever the energy is made of, so that a loss on trajectories has gradients through
    forces; elsewhere, in inference mode too, nothing is kept.

    Args:
        energy: The Hamiltonian.
        parameters: Parameters of the systems ``(batch, particles, parameters)``.
    """

    def __init__(self, energy: Energy, parameters: Tensor) -> None:
        with torch.inference_mode(False):
            # A tensor made in inference mode cannot take part in derivatives; its clone can.
            self.parameters = parameters.clone() if parameters.is_inference() else parameters
        self._energy = energy

    @property
    def separable(self) -> bool:
        """Whether :meth:`velocity` depends on the momenta alone and :meth:`force` on positions."""
        return self._energy.separable

    def __call__(self, state: Tensor) -> Tensor:
        create_graph = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            state = _differentiable(state)
            slope = _gradient(self._energy.energy(state, self.parameters), state, create_graph)
            return torch.stack((slope[:, 1], -slope[:, 0]), 1)

    def energy(self, state: Tensor) -> Tensor:
        """The Hamiltonian ``(batch,)``."""
        return self._energy.energy(state, self.parameters)

    def velocity(self, momenta: Tensor) -> Tensor:
        """∂H/∂p of a separable energy, ``(batch, particles, dim)``."""
        create_graph = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            momenta = _differentiable(momenta)
            state = torch.stack((torch.zeros_like(momenta), momenta), 1)
            return _gradient(self._energy.kinetic(state, self.parameters), momenta, create_graph)

    def force(self, positions: Tensor) -> Tensor:
        """-∂H/∂q of a separable energy, ``(batch, particles, dim)``."""
        create_graph = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            positions = _differentiable(positions)
            potential = self._energy.potential(positions, self.parameters)
            return -_gradient(potential, positions, create_graph)


def _differentiable(x: Tensor) -> Tensor:
    if x.requires_grad:
        return x
    return (x.clone() if x.is_inference() else x.detach()).requires_grad_()


def _gradient(energy: Tensor, x: Tensor, create_graph: bool) -> Tensor:
    (gradient,) = torch.autograd.grad(
        energy.sum(), x, create_graph=create_graph, materialize_grads=True
    )
    return gradient
