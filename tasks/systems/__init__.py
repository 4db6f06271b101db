"""Hamiltonian systems: their energies, their equations, and how they are integrated."""

from tasks.systems.base import Quantity, System, system_of
from tasks.systems.hamiltonian import Field, HamiltonianField
from tasks.systems.integrators import RK4, Adaptive, DivergenceError, Integrator, Leapfrog
from tasks.systems.losses import Loss, Quadrature, RollOut, Slope
from tasks.systems.metrics import drifts, roll_out, squared_error
from tasks.systems.pendulum import PendulumChain
from tasks.systems.planets import Planets
from tasks.systems.springs import Springs

__all__ = [
    "RK4",
    "Adaptive",
    "DivergenceError",
    "Field",
    "HamiltonianField",
    "Integrator",
    "Leapfrog",
    "Loss",
    "PendulumChain",
    "Planets",
    "Quadrature",
    "Quantity",
    "RollOut",
    "Slope",
    "Springs",
    "System",
    "drifts",
    "roll_out",
    "squared_error",
    "system_of",
]
