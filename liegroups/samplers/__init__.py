"""Samplers: rules that choose the group elements over each point."""

from liegroups.samplers.base import Sampler
from liegroups.samplers.frames import Frames
from liegroups.samplers.grids import FullOrbit, GivenElements, Grid
from liegroups.samplers.random import Haar, Proposal, RandomSampler

__all__ = [
    "Frames",
    "FullOrbit",
    "GivenElements",
    "Grid",
    "Haar",
    "Proposal",
    "RandomSampler",
    "Sampler",
]
