"""Clouds of a user's own files: molecules in any format that ASE reads, and arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tasks.data.clouds import Arrays
from tasks.sources.atoms import named, overlap

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["pack", "read_arrays", "read_molecules"]


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of an ``.npz`` file.

    Args:
        path: The file.

    Raises:
        ValueError: It is damaged, or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is no file of arrays, or damaged: {error}") from error


def read_molecules(path: Path) -> Iterator[Atoms]:
    """Read the molecules of a file, one after the other.

    Args:
        path: The file, in any format that ASE reads.

    Raises:
        ImportError: ase is not installed.
        ValueError: ASE cannot read it, or it holds none.
    """
    try:
        from ase.io import iread
    except ImportError as error:
        raise ImportError(
            "files of molecules are read by the package ase: pip install 'lie-attention[md]'.",
            name="ase",
        ) from error
    try:
        found: Any = iread(path)
        empty = True
        for atoms in found:
            empty = False
            yield atoms
    except Exception as error:  # ASE's readers fail in any way.
        raise ValueError(f"ASE cannot read {path}: {error}") from error
    if empty:
        raise ValueError(f"{path} holds no molecules.")


def pack(
    found: Sequence[Atoms],
    elements: Mapping[str, int],
    features: npt.NDArray[np.float32],
    where: str = "molecule ",
    first: int = 0,
) -> Arrays:
    """Put molecules side by side as flat arrays, each with its centroid at the origin.

    Args:
        found: The molecules.
        elements: The elements that the network knows, with their nuclear charges.
        features: Features of the atoms of an element in the row of its nuclear charge.
        where: What stands before a molecule's number in a message.
        first: The number of the first molecule.

    Raises:
        ValueError: A molecule has no atoms, an unknown element, a coordinate that is not finite,
            two atoms on top of each other, or is periodic.
    """
    for number, atoms in enumerate(found, first):
        _check(atoms, elements, f"{where}{number}")
    sizes = [len(atoms) for atoms in found]
    return Arrays(
        points=np.concatenate(
            [atoms.positions - atoms.positions.mean(0) for atoms in found]
        ).astype(np.float32),
        sizes=np.array(sizes, dtype=np.int64),
        features=np.concatenate([atoms.numbers for atoms in found]).astype(np.uint8),
        kinds=features,
        targets=np.empty((len(found), 0)),
        ids=np.arange(first, first + len(found)),
    )


def _check(atoms: Atoms, elements: Mapping[str, int], name: str) -> None:
    if not len(atoms):
        raise ValueError(f"{name} has no atoms.")
    unknown = sorted(set(atoms.numbers.tolist()) - set(elements.values()))
    if unknown:
        raise ValueError(
            f"{name}, {atoms.get_chemical_formula('hill')}, has {named(unknown)}; the network "
            f"knows {', '.join(elements)} only."
        )
    if atoms.pbc.any():
        raise ValueError(f"{name} is periodic; the network is of molecules in vacuum.")
    if not np.isfinite(atoms.positions).all():
        raise ValueError(f"{name} has a coordinate that is not finite.")
    if (found := overlap(atoms.positions)) is not None:
        one, other, distance = found
        raise ValueError(
            f"{name}: atoms {one} and {other} overlap, they are {distance:.3g} Å apart; are the "
            "coordinates in angstrom?"
        )
