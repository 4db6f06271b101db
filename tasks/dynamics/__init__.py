"""Hamiltonian dynamics: learning how systems of particles move, and what they conserve."""

from tasks.dynamics.data import DynamicsData, TrajectoryBatch
from tasks.dynamics.fields import (
    FC,
    HFC,
    HOGN,
    OGN,
    DirectField,
    LearnedField,
    LearnedHamiltonian,
    LearnedPotential,
    LieHamiltonian,
    LinearReadout,
)
from tasks.dynamics.hamiltonian import Field, HamiltonianField
from tasks.dynamics.integrators import RK4, Adaptive, DivergenceError, Integrator, Leapfrog
from tasks.dynamics.losses import Loss, Quadrature, RollOut, Slope
from tasks.dynamics.metrics import drifts, roll_out, squared_error
from tasks.dynamics.model import DynamicsModel
from tasks.dynamics.pictures import PICTURES
from tasks.dynamics.reference import Trajectories, trajectories
from tasks.dynamics.systems import PendulumChain, Planets, Quantity, Springs, System

Model, Data = DynamicsModel, DynamicsData

__all__ = [
    "FC",
    "HFC",
    "HOGN",
    "OGN",
    "PICTURES",
    "RK4",
    "Adaptive",
    "DirectField",
    "DivergenceError",
    "DynamicsData",
    "DynamicsModel",
    "Field",
    "HamiltonianField",
    "Integrator",
    "Leapfrog",
    "LearnedField",
    "LearnedHamiltonian",
    "LearnedPotential",
    "LieHamiltonian",
    "LinearReadout",
    "Loss",
    "PendulumChain",
    "Planets",
    "Quadrature",
    "Quantity",
    "RollOut",
    "Slope",
    "Springs",
    "System",
    "Trajectories",
    "TrajectoryBatch",
    "drifts",
    "roll_out",
    "squared_error",
    "trajectories",
]
