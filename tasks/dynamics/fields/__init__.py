"""Fields that are learned: on Lie groups, and baselines."""

from tasks.dynamics.fields.base import (
    DirectField,
    LearnedField,
    LearnedHamiltonian,
    LearnedPotential,
)
from tasks.dynamics.fields.graphs import HOGN, OGN
from tasks.dynamics.fields.lie import LieHamiltonian, LinearReadout
from tasks.dynamics.fields.perceptrons import FC, HFC

__all__ = [
    "FC",
    "HFC",
    "HOGN",
    "OGN",
    "DirectField",
    "LearnedField",
    "LearnedHamiltonian",
    "LearnedPotential",
    "LieHamiltonian",
    "LinearReadout",
]
