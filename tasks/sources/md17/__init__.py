"""MD17: energies and forces of small molecules in motion."""

from tasks.sources.md17.archive import RMD17
from tasks.sources.md17.data import MD17, Molecule
from tasks.sources.md17.frames import ELEMENTS, Frames, Source
from tasks.sources.md17.splits import SPLITS, Split, split_frames
from tasks.sources.md17.springs import Springs
from tasks.sources.md17.xtb import XTB

__all__ = [
    "ELEMENTS",
    "MD17",
    "RMD17",
    "SPLITS",
    "XTB",
    "Frames",
    "Molecule",
    "Source",
    "Split",
    "Springs",
    "split_frames",
]
