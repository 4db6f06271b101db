"""Atoms as points: elements and their symbols, features, and the least distance of two."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "LEAST_DISTANCE",
    "POWERS",
    "SYMBOLS",
    "charges_of",
    "check_elements",
    "columns",
    "named",
    "overlap",
]

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn"
)
SYMBOLS: Final = dict(enumerate(_SYMBOLS.split(), start=1))
"""The symbols of the elements by their nuclear charge."""

LEAST_DISTANCE: Final = 0.3
"""Atoms nearer than this, in angstrom, are on top of each other: no bond is so short."""

POWERS: Final = 3
"""Powers of the nuclear charge among the features of an atom whose properties are predicted."""


def charges_of(symbols: Collection[str]) -> dict[str, int]:
    """The nuclear charges of elements by their symbols; empty where one is no element."""
    charges = {symbol: charge for charge, symbol in SYMBOLS.items()}
    return {each: charges[each] for each in symbols} if charges.keys() >= set(symbols) else {}


def columns(elements: Collection[str], powers: int = 1) -> dict[str, int]:
    """The columns of features that are one at the atoms of an element, by its symbol.

    Args:
        elements: The symbols, in the order of the features.
        powers: Number of features of an element; the first is one.
    """
    return {symbol: powers * place for place, symbol in enumerate(elements)}


def named(charges: Collection[int]) -> str:
    """Nuclear charges with their symbols, for messages."""
    return ", ".join(f"{SYMBOLS[z]} ({z})" if z in SYMBOLS else f"Z = {z}" for z in charges)


def check_elements(where: str, charges: npt.NDArray[Any], elements: Mapping[str, int]) -> None:
    """Raise ValueError unless the elements of all atoms are known.

    Args:
        where: What has the atoms, for the message.
        charges: Nuclear charges of the atoms.
        elements: The elements that are known, with their nuclear charges.
    """
    unknown = sorted(set(charges.tolist()) - set(elements.values()))
    if unknown:
        raise ValueError(
            f"{where}: unknown element{'s' * (len(unknown) > 1)} {named(unknown)}; accepted: "
            f"{', '.join(elements)}."
        )


def overlap(positions: npt.NDArray[np.floating[Any]]) -> tuple[int, int, float] | None:
    """Two atoms that are on top of each other, and their distance; None where none are.

    Args:
        positions: Coordinates in angstrom, shape (atoms, 3).
    """
    squared = np.square(positions[:, None] - positions).sum(-1)
    squared[np.diag_indices(len(squared))] = np.inf
    if squared.min(initial=np.inf) >= LEAST_DISTANCE**2:
        return None
    one, other = np.unravel_index(squared.argmin(), squared.shape)
    return int(one), int(other), float(squared.min() ** 0.5)
