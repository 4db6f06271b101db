"""Graph network baselines: every two particles exchange a message."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from liegroups.checks import check_count
from tasks.dynamics.fields.base import DirectField, LearnedHamiltonian, perceptron
from tasks.dynamics.systems import System


class _GraphNetwork(nn.Module):
    """One round of messages between all ordered pairs, then an output for each particle."""

    def __init__(self, features: int, outputs: int, width: int) -> None:
        super().__init__()
        check_count("width", width)
        self.message = perceptron(2 * features, width, width)
        self.update = perceptron(features + width, width, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """``(batch, particles, features)`` to ``(batch, particles, outputs)``."""
        particles = features.shape[1]
        index = torch.arange(particles, device=features.device)
        target, source = torch.meshgrid(index, index, indexing="ij")
        other = target != source
        pairs = torch.cat((features[:, target[other]], features[:, source[other]]), -1)
        hidden = self.message[:-1](pairs).unflatten(1, (particles, max(particles - 1, 0)))
        # The last map is linear: a particle's messages are added first, then mapped at once.
        last = self.message[-1]
        assert isinstance(last, nn.Linear)
        messages = linear(hidden.sum(2), last.weight, (particles - 1) * last.bias)
        return self.update(torch.cat((features, messages), -1))


class OGN(DirectField):
    """dz/dt of each particle by a graph network of states and parameters.

    Args:
        system: The system.
        width: Number of hidden units.

    Raises:
        ValueError: If ``width`` is less than 1.

    Reference:
        Sanchez-Gonzalez et al. 2019, Hamiltonian Graph Networks with ODE Integrators.
    """

    def __init__(self, system: System, width: int = 256) -> None:
        super().__init__(system)
        features = 2 * system.dim + len(system.parameter_names)
        self.network = _GraphNetwork(features, 2 * system.dim, width)

    def derivative(self, state: Tensor, parameters: Tensor) -> Tensor:
        features = torch.cat((state[:, 0], state[:, 1], parameters), -1)
        return torch.stack(self.network(features).chunk(2, -1), 1)


class HOGN(LearnedHamiltonian):
    """The whole Hamiltonian, kinetic energy and all, as a sum over the particles of a graph.

    It depends on positions and momenta together, so that leapfrog does not apply.

    Args:
        system: The system.
        width: Number of hidden units.

    Raises:
        ValueError: If ``width`` is less than 1.

    Reference:
        Sanchez-Gonzalez et al. 2019, Hamiltonian Graph Networks with ODE Integrators.
    """

    def __init__(self, system: System, width: int = 256) -> None:
        super().__init__(system)
        features = 2 * system.dim + len(system.parameter_names)
        self.network = _GraphNetwork(features, 1, width)

    def energy(self, state: Tensor, parameters: Tensor, seed: int | None = None) -> Tensor:
        features = torch.cat((state[:, 0], state[:, 1], parameters), -1)
        energy: Tensor = self.network(features)
        return energy.sum((1, 2))
