"""Frames of one molecule: positions with the energy and the forces at each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tasks.sources.atoms import LEAST_DISTANCE, check_elements

ELEMENTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "H": 1,
        "B": 5,
        "C": 6,
        "N": 7,
        "O": 8,
        "F": 9,
        "Si": 14,
        "P": 15,
        "S": 16,
        "Cl": 17,
        "Br": 35,
        "I": 53,
    }
)
"""The elements that the features tell apart, with their nuclear charges."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one molecule, whose atoms keep their order.

    Args:
        molecule: The name of the molecule.
        theory: The level of theory of the labels. Energies of different levels differ by far more
            than a model's error.
        charges: Nuclear charges, shape (atoms,).
        positions: Coordinates in angstrom, shape (frames, atoms, 3).
        energies: Total energies in meV, shape (frames,), float64.
        forces: Forces in meV/angstrom, shape (frames, atoms, 3).
        splits: The published splits by number: rows to train on, rows to test on.

    Raises:
        ValueError: The shapes do not fit, a number is not finite, an element is none of
            ``ELEMENTS``, or two atoms are on top of each other.
    """

    molecule: str
    theory: str
    charges: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float64]
    energies: npt.NDArray[np.float64]
    forces: npt.NDArray[np.float64]
    splits: Mapping[int, tuple[Rows, Rows]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frames, atoms = len(self.energies), len(self.charges)
        shapes = {
            "charges": (atoms,),
            "positions": (frames, atoms, 3),
            "energies": (frames,),
            "forces": (frames, atoms, 3),
        }
        for name, shape in shapes.items():
            given: npt.NDArray[Any] = getattr(self, name)
            if given.shape != shape:
                raise ValueError(
                    f"{self.molecule}: {name} of shape {given.shape}; expected {shape} for "
                    f"{frames} frames of {atoms} atoms."
                )
        if not frames or not atoms:
            raise ValueError(f"{self.molecule}: there are {frames} frames of {atoms} atoms.")
        check_elements(self.molecule, self.charges, ELEMENTS)
        for name in ("positions", "energies", "forces"):
            _check_finite(self.molecule, name, getattr(self, name))
        _check_distances(self.molecule, self.positions)

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.energies)


class Source(ABC):
    """Where the frames of a molecule come from."""

    @abstractmethod
    def load(self, molecule: str) -> Frames:
        """Load the frames of a molecule.

        Args:
            molecule: Its name.

        Raises:
            ValueError: The source does not have the molecule, or its data are damaged.
        """


def _check_finite(molecule: str, name: str, values: npt.NDArray[np.float64]) -> None:
    bad = ~np.isfinite(values).reshape(len(values), -1).all(1)
    if bad.any():
        raise ValueError(
            f"{molecule}: the {name} of {bad.sum()} of {len(values)} frames are not finite, "
            f"first of frame {bad.argmax()}; remove those frames."
        )


def _check_distances(molecule: str, positions: npt.NDArray[np.float64]) -> None:
    for first in range(positions.shape[1] - 1):
        others = positions[:, first + 1 :] - positions[:, first, None]
        squared = np.square(others).sum(-1)  # (frames, atoms after the first)
        if squared.min() < LEAST_DISTANCE**2:
            frame, other = np.unravel_index(squared.argmin(), squared.shape)
            raise ValueError(
                f"{molecule}: atoms {first} and {first + 1 + other} of frame {frame} overlap: "
                f"they are {squared.min() ** 0.5:.3g} Å apart. Are the coordinates in angstrom?"
            )
