"""How far a predicted trajectory is from the true one, and from what it should conserve."""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.systems.base import Quantity, System
from tasks.systems.integrators import Derivative, Integrator

SHORT, LONG = 5, 100
"""Numbers of points in time of the roll-out errors, the one at time 0 among them."""


def roll_out(
    system: System, field: Derivative, integrator: Integrator, state: Tensor, points: int
) -> Tensor:
    """Integrate a field over points in time at the system's spacing.

    Args:
        system: The system.
        field: Its true or learned field.
        integrator: The integrator.
        state: The states at time 0, ``(batch, 2, particles, dim)``.
        points: Number of points in time, that of time 0 among them.

    Returns:
        States ``(batch, points, 2, particles, dim)``.

    Raises:
        DivergenceError: The trajectory left every bound.
    """
    return integrator(field, state, [system.spacing * point for point in range(points)])


def squared_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared error of each system and point in time, ``(batch, points)``.

    Over particles, coordinates, positions and momenta alike, as in the LieTransformer's results.
    The error at a point is that of the state there; the roll-out error of n points is the mean
    over the first n, the exact one at time 0 among them.
    """
    return (predicted - true).square().flatten(2).mean(-1)


def quantities(system: System, states: Tensor, parameters: Tensor) -> dict[str, list[Quantity]]:
    """The conserved quantities at every point in time of ``(batch, points, ...)``, by name."""
    found = [system.conserved(state, parameters) for state in states.unbind(1)]
    return {name: [each[name] for each in found] for name in found[0]}


def drift(series: list[Quantity]) -> Tensor:
    """Distance of a quantity from its value at time 0 at every point, ``(batch, points)``.

    In units of the quantity's scale.
    """
    return torch.stack([each.drift(series[0]) for each in series], 1)


def drifts(system: System, states: Tensor, parameters: Tensor) -> dict[str, Tensor]:
    """Drift of every conserved quantity along trajectories, ``(batch, points)``, by name."""
    series = quantities(system, states, parameters)
    return {name: drift(each) for name, each in series.items()}
