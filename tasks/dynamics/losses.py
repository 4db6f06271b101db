"""What training makes small."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from tasks.dynamics.hamiltonian import Field
from tasks.dynamics.integrators import RK4, Integrator
from tasks.dynamics.metrics import roll_out
from tasks.dynamics.systems import System


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
