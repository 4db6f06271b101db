"""A star and planets that attract each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from liegroups.checks import check_length, check_number
from tasks.systems.base import (
    Quantity,
    System,
    angular_momentum,
    euclidean_kinetic,
    linear_momentum,
)


@dataclass(frozen=True)
class Planets(System):
    r"""A star and planets in the plane under gravity, softened at small distances.

    .. math::
        H = \sum_i \frac{|p_i|^2}{2 m_i} - G \sum_{i<j} \frac{m_i m_j}{\sqrt{|q_i - q_j|^2 + s^2}}

    The star has mass 50, the planets 0.1 to 4.5, uniform; G = 0.06 and s = 0.15. The planets
    start in all directions, at distances from the star uniform on [1, 3], with the velocity of a
    circular orbit about it times a factor uniform on [0.9, 1.1]; all in the rest frame of the
    center of mass.

    Args:
        particles: Number of particles, the star among them; the star alone does not move.
        points: Number of points on a trajectory.
        spacing: Time between two points.
        substeps: Runge-Kutta steps of the reference between two points.
        gravity: The constant G.
        softening: The length s.

    Raises:
        ValueError: If a number is out of range.

    Reference:
        Masses, G, s and time as in the public code of Hutchinson et al. 2021, LieTransformer;
        the law of the orbits is ours.
    """

    particles: int = 6
    points: int = 200
    spacing: float = 0.01
    substeps: int = 2
    gravity: float = 0.06
    softening: float = 0.15

    parameter_names: ClassVar[tuple[str, ...]] = ("mass",)

    def __post_init__(self) -> None:
        self.check_settings()
        check_number("gravity", self.gravity, least=-1_000, most=1_000)
        check_length("softening", self.softening)  # Above 0, so that bodies may coincide.

    @property
    def dim(self) -> int:
        return 2

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        planets = (count, self.particles - 1)
        mass = np.concatenate((np.full((count, 1), 50.0), 0.1 + 4.4 * rng.random(planets)), 1)
        angle, distance = 2 * np.pi * rng.random(planets), 1 + 2 * rng.random(planets)
        factor = 0.9 + 0.2 * rng.random(planets)
        outward = np.stack((np.cos(angle), np.sin(angle)), -1)
        onward = np.stack((-np.sin(angle), np.cos(angle)), -1)
        pull = self.gravity * 50.0 * distance / (distance**2 + self.softening**2) ** 1.5
        speed = factor * np.sqrt(pull * distance)
        star = np.zeros((count, 1, 2))
        positions = np.concatenate((star, distance[..., None] * outward), 1)
        velocities = np.concatenate((star, speed[..., None] * onward), 1)
        weight = (mass / mass.sum(1, keepdims=True))[..., None]
        positions -= (weight * positions).sum(1, keepdims=True)
        velocities -= (weight * velocities).sum(1, keepdims=True)
        state = np.stack((positions, mass[..., None] * velocities), 1)
        return torch.from_numpy(state), torch.from_numpy(mass[..., None])

    def kinetic(self, state: Tensor, parameters: Tensor) -> Tensor:
        return euclidean_kinetic(state, parameters[..., 0])

    def potential(self, positions: Tensor, parameters: Tensor) -> Tensor:
        first, second = torch.triu_indices(self.particles, self.particles, 1)
        mass = parameters[..., 0]
        between = (positions[:, first] - positions[:, second]).square().sum(-1)
        distance = (between + self.softening**2).sqrt()
        return -self.gravity * (mass[:, first] * mass[:, second] / distance).sum(-1)

    def conserved(self, state: Tensor, parameters: Tensor) -> dict[str, Quantity]:
        energy = self.energy(state, parameters)[:, None]
        return {
            "energy": Quantity(energy, self.energy_scale(state, parameters)),
            "momentum": linear_momentum(state),
            "angular_momentum": angular_momentum(state),
        }
