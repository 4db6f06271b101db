"""What training makes small."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.systems.base import System
from tasks.systems.hamiltonian import Field
from tasks.systems.integrators import RK4, Integrator
from tasks.systems.metrics import roll_out


class Loss(ABC):
    """Compares a learned field with stretches of true trajectories."""

    least_points: int = 2
    """Number of points in time that a stretch must have."""

    @abstractmethod
    def __call__(self, system: System, field: Field, states: Tensor) -> Tensor:
        """The loss, a number.

        Args:
            system: The system.
            field: What was learned of it.
            states: True states ``(batch, points, 2, particles, dim)``.
        """


@dataclass(frozen=True)
class RollOut(Loss):
    """Mean squared error of a roll-out from the first point of the stretch.

    Every step of it differentiates through the forces: 16 evaluations of the network for a stretch
    of 5 points.

    Args:
        integrator: Makes the trajectory; ``RK4`` with one step between two points by default.

    Reference:
        Hutchinson et al. 2021, LieTransformer, section 5.3.
    """

    integrator: Integrator = RK4()  # noqa: RUF009 (immutable)

    def __call__(self, system: System, field: Field, states: Tensor) -> Tensor:
        predicted = roll_out(system, field, self.integrator, states[:, 0], states.shape[1])
        return (predicted - states).square().mean()


@dataclass(frozen=True)
class Slope(Loss):
    r"""Mean squared error of dz/dt in the middle of the stretch, against a difference of states.

    The derivative is the central difference of fourth order,

    .. math::
        \dot z(t) \approx \frac{z(t - 2h) - 8 z(t - h) + 8 z(t + h) - z(t + 2h)}{12 h},

    so the stretch has 5 points at least. It uses what the roll-out uses and evaluates the network
    once, at an error of order h⁴ in what is learned.
    """

    least_points: int = 5

    def __call__(self, system: System, field: Field, states: Tensor) -> Tensor:
        if states.shape[1] < self.least_points:
            raise ValueError(f"Slope needs 5 points in time; got {states.shape[1]}.")
        middle = states.shape[1] // 2
        a, b, c, d = (states[:, middle + shift] for shift in (-2, -1, 1, 2))
        slope = (a - d + 8 * (c - b)) / (12 * system.spacing)
        return (field(states[:, middle]) - slope).square().mean()


@dataclass(frozen=True)
class Quadrature(Loss):
    r"""Mean squared error of the changes between neighboring points, against integrals of dz/dt.

    .. math::
        \frac{z(t_{i+1}) - z(t_i)}{h} \approx \sum_j w_{ij} \dot z(t_j)

    with the weights that integrate the polynomial through all n points of the stretch, as in the
    implicit methods of Adams; the error is of order hⁿ. It evaluates the network at the true
    states alone, once at each, where ``RollOut`` does so four times, each after the one before.

    Reference:
        Hairer, Nørsett, Wanner 1993, Solving Ordinary Differential Equations I, section III.1.
    """

    def __call__(self, system: System, field: Field, states: Tensor) -> Tensor:
        weights = _weights(states.shape[1]).to(states)
        slopes = torch.stack([field(state) for state in states.unbind(1)], 1)
        expected = torch.einsum("ij,bj...->bi...", weights, slopes)
        return (expected - states.diff(dim=1) / system.spacing).square().mean()


def _weights(points: int) -> Tensor:
    """Row i integrates polynomials of degree n - 1 from i to i + 1, by their values at 0 … n-1."""
    power = torch.arange(points, dtype=torch.float64)[:, None]
    ends = torch.arange(points, dtype=torch.float64)
    integrals = (ends ** (power + 1) / (power + 1)).diff(dim=1)
    weights: Tensor = torch.linalg.solve(ends**power, integrals)
    return weights.T
