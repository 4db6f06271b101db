"""QM9: twelve properties of 130,831 small organic molecules."""

from tasks.qm9.batches import MoleculeBatch, atom_features, padding_fraction
from tasks.qm9.data import QM9
from tasks.qm9.model import QM9Model
from tasks.qm9.molecules import Composition, MoleculeData, Statistics
from tasks.qm9.networks import ChannelwiseProperty, PropertyNetwork, SteerableProperty
from tasks.qm9.source import Molecules, load
from tasks.qm9.splits import SPLITS, Split
from tasks.qm9.targets import ELEMENTS, TARGETS, Target, reference

Model, Data = QM9Model, QM9

__all__ = [
    "ELEMENTS",
    "QM9",
    "SPLITS",
    "TARGETS",
    "ChannelwiseProperty",
    "Composition",
    "MoleculeBatch",
    "MoleculeData",
    "Molecules",
    "PropertyNetwork",
    "QM9Model",
    "Split",
    "Statistics",
    "SteerableProperty",
    "Target",
    "atom_features",
    "load",
    "padding_fraction",
    "reference",
]
