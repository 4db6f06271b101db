"""Hamiltonian systems."""

from tasks.dynamics.systems.base import Quantity, System
from tasks.dynamics.systems.pendulum import PendulumChain
from tasks.dynamics.systems.planets import Planets
from tasks.dynamics.systems.springs import Springs

__all__ = ["PendulumChain", "Planets", "Quantity", "Springs", "System"]
