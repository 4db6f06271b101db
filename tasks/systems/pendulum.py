"""Rods that hang from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from liegroups.checks import check_number
from tasks.systems.base import Quantity, System


@dataclass(frozen=True)
class PendulumChain(System):
    r"""A chain of massless rods that hangs from a pivot, a mass at the end of each rod.

    The coordinates are the angles of the rods from the downward vertical, and the momenta those
    conjugate to them:

    .. math::
        H = \tfrac12 p^\top M(\theta)^{-1} p - g \sum_i m_i y_i, \qquad
        M_{ij} = l_i l_j \cos(\theta_i - \theta_j) \sum_{n \ge \max(i, j)} m_n

    with :math:`y_i` the depth of mass i below the pivot. The kinetic energy depends on the angles,
    so that leapfrog does not apply. Masses 0.5 + U, lengths 0.5 + 0.5 U, angles uniform on
    ±1.5 rad, angular velocities N(0, 1).

    Networks see the masses as points of the plane, below a pivot at the origin that has mass and
    length zero: gravity leaves horizontal translations alone, but against the pivot it can be
    seen.

    Args:
        particles: Number of rods.
        points: Number of points on a trajectory.
        spacing: Time between two points.
        substeps: Runge-Kutta steps of the reference between two points.
        gravity: Acceleration downwards. Without gravity the total momentum, which is the angular
            momentum about the pivot, is conserved too.

    Raises:
        ValueError: If a number is out of range.
    """

    particles: int = 3
    points: int = 200
    spacing: float = 0.01
    substeps: int = 3
    gravity: float = 1.0

    separable: ClassVar[bool] = False
    parameter_names: ClassVar[tuple[str, ...]] = ("mass", "length")

    def __post_init__(self) -> None:
        self.check_settings()
        check_number("gravity", self.gravity, least=0, most=1_000)

    @property
    def dim(self) -> int:
        return 1

    @property
    def scene_points(self) -> int:
        return self.particles + 1

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        shape = (count, self.particles)
        mass, length = 0.5 + rng.random(shape), 0.5 + 0.5 * rng.random(shape)
        parameters = torch.from_numpy(np.stack((mass, length), -1))
        angles = torch.from_numpy(3.0 * rng.random(shape) - 1.5)
        velocities = torch.from_numpy(rng.standard_normal(shape))
        momenta = (self.mass_matrix(angles, parameters) @ velocities[..., None])[..., 0]
        return torch.stack((angles, momenta), 1)[..., None], parameters

    def mass_matrix(self, angles: Tensor, parameters: Tensor) -> Tensor:
        """M of angles ``(batch, particles)``, ``(batch, particles, particles)``."""
        mass, length = parameters.unbind(-1)
        below = mass.flip(-1).cumsum(-1).flip(-1)
        index = torch.arange(self.particles, device=mass.device)
        carried = below[:, torch.maximum(index[:, None], index)]
        cosine = (angles[:, :, None] - angles[:, None]).cos()
        return carried * length[:, :, None] * length[:, None] * cosine

    def kinetic(self, state: Tensor, parameters: Tensor) -> Tensor:
        angles, momenta = state[:, 0, :, 0], state[:, 1]
        velocities = torch.linalg.solve(self.mass_matrix(angles, parameters), momenta)
        return (momenta * velocities).sum((-2, -1)) / 2

    def potential(self, positions: Tensor, parameters: Tensor) -> Tensor:
        bobs = self._bobs(positions, parameters)
        return self.gravity * (parameters[..., 0] * bobs[..., 1]).sum(-1)

    def conserved(self, state: Tensor, parameters: Tensor) -> dict[str, Quantity]:
        energy = self.energy(state, parameters)[:, None]
        found = {"energy": Quantity(energy, self.energy_scale(state, parameters))}
        if self.gravity == 0:
            momenta = state[:, 1, :, 0]
            found["angular_momentum"] = Quantity(
                momenta.sum(-1, keepdim=True), momenta.abs().sum(-1)
            )
        return found

    def scene(self, positions: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        bobs = self._bobs(positions, parameters)
        pivot = torch.zeros_like(bobs[:, :1])
        features = torch.cat((torch.zeros_like(parameters[:, :1]), parameters), 1)
        return features, torch.cat((pivot, bobs), 1)

    def _bobs(self, positions: Tensor, parameters: Tensor) -> Tensor:
        """The masses in the plane, y upwards, ``(batch, particles, 2)``."""
        rods = torch.cat((positions.sin(), -positions.cos()), -1)
        return (parameters[..., 1:] * rods).cumsum(1)
