"""MD17: energies and forces of small molecules in motion."""

from tasks.averaging import WeightAverage
from tasks.md17.archive import RMD17
from tasks.md17.batches import FrameBatch, element_features
from tasks.md17.data import MD17, Statistics
from tasks.md17.frames import ELEMENTS, Frames, Source
from tasks.md17.model import MD17Model
from tasks.md17.networks import ChannelwiseEnergy, EnergyNetwork, LieEnergy, SteerableEnergy
from tasks.md17.splits import SPLITS, Split, split_frames
from tasks.md17.springs import Springs
from tasks.md17.xtb import XTB

Model, Data = MD17Model, MD17

__all__ = [
    "ELEMENTS",
    "MD17",
    "RMD17",
    "SPLITS",
    "XTB",
    "ChannelwiseEnergy",
    "EnergyNetwork",
    "FrameBatch",
    "Frames",
    "LieEnergy",
    "MD17Model",
    "Source",
    "Split",
    "Springs",
    "Statistics",
    "SteerableEnergy",
    "WeightAverage",
    "element_features",
    "split_frames",
]
