"""What a network is trained for: a loss, figures, and a report."""

from tasks.objectives.base import Column, Facts, Figures, Objective, Prediction, Tested
from tasks.objectives.counting import Counting
from tasks.objectives.dynamics import HamiltonianDynamics
from tasks.objectives.forces import EnergiesAndForces
from tasks.objectives.regression import Regression

__all__ = [
    "Column",
    "Counting",
    "EnergiesAndForces",
    "Facts",
    "Figures",
    "HamiltonianDynamics",
    "Objective",
    "Prediction",
    "Regression",
    "Tested",
]
