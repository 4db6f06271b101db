"""Particles in the plane, a spring between every two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tasks.systems.base import (
    Quantity,
    System,
    angular_momentum,
    euclidean_kinetic,
    linear_momentum,
    without_total_momentum,
)


@dataclass(frozen=True)
class Springs(System):
    r"""Particles in the plane joined by springs of no length, the system of the LieTransformer.

    .. math::
        H = \sum_i \frac{|p_i|^2}{2 m_i} + \frac12 \sum_{i,j} k_i k_j |q_i - q_j|^2

    over ordered pairs. The equations of motion are linear, and reference trajectories are exact.
    Masses 0.1 + 3U and k = 5U with U uniform on [0, 1]; positions
    0.4 N(0, 1), momenta 0.6 N(0, 1) less their mean over the particles of the system.

    Args:
        particles: Number of particles.
        points: Number of points on a trajectory.
        spacing: Time between two points.

    Raises:
        ValueError: If a number is out of range.

    Reference:
        Hutchinson et al. 2021, LieTransformer, section 5.3; Finzi et al. 2020, LieConv.
    """

    particles: int = 6
    points: int = 500
    spacing: float = 0.01

    parameter_names: ClassVar[tuple[str, ...]] = ("mass", "k")

    def __post_init__(self) -> None:
        self.check_settings()

    @property
    def dim(self) -> int:
        return 2

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        mass = 0.1 + 3 * rng.random((count, self.particles))
        k = 5 * rng.random((count, self.particles))
        normal = torch.from_numpy(rng.standard_normal((count, 2, self.particles, 2)))
        momenta = without_total_momentum(0.6 * normal[:, 1])
        state = torch.stack((0.4 * normal[:, 0], momenta), 1)
        return state, torch.from_numpy(np.stack((mass, k), -1))

    def kinetic(self, state: Tensor, parameters: Tensor) -> Tensor:
        return euclidean_kinetic(state, parameters[..., 0])

    def potential(self, positions: Tensor, parameters: Tensor) -> Tensor:
        k = parameters[..., 1]
        stretch = (positions[:, :, None] - positions[:, None]).square().sum(-1)
        return torch.einsum("bi,bj,bij->b", k, k, stretch) / 2

    def conserved(self, state: Tensor, parameters: Tensor) -> dict[str, Quantity]:
        energy = self.energy(state, parameters)[:, None]
        return {
            "energy": Quantity(energy, self.energy_scale(state, parameters)),
            "momentum": linear_momentum(state),
            "angular_momentum": angular_momentum(state),
        }

    def trajectory(self, state: Tensor, parameters: Tensor, points: int) -> Tensor:
        # Newton's equations are linear, so one matrix takes every point to the next, exactly.
        mass, k = parameters.unbind(-1)
        coupling = k[:, :, None] * k[:, None]
        stiffness = 2 * (coupling - torch.diag_embed(coupling.sum(-1)))
        nothing = torch.zeros_like(stiffness)
        top = torch.cat((nothing, torch.diag_embed(1 / mass)), -1)
        generator = torch.cat((top, torch.cat((stiffness, nothing), -1)), -2)
        onward = torch.linalg.matrix_exp(self.spacing * generator)
        found = [state.flatten(1, 2)]
        for _ in range(points - 1):
            found.append(onward @ found[-1])
        return torch.stack(found, 1).unflatten(2, (2, self.particles))
