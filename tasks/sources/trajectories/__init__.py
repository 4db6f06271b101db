"""Trajectories of Hamiltonian systems, made on first use."""

from tasks.sources.trajectories.data import DynamicsData
from tasks.sources.trajectories.reference import Trajectories, trajectories

__all__ = ["DynamicsData", "Trajectories", "trajectories"]
