"""QM9: twelve properties of 130,831 small organic molecules."""

from tasks.sources.qm9.data import QM9
from tasks.sources.qm9.molecules import Molecules, load
from tasks.sources.qm9.splits import SPLITS, Split, find_split
from tasks.sources.qm9.targets import ELEMENTS, TARGETS, QM9Target, find_target

__all__ = [
    "ELEMENTS",
    "QM9",
    "SPLITS",
    "TARGETS",
    "Molecules",
    "QM9Target",
    "Split",
    "find_split",
    "find_target",
    "load",
]
