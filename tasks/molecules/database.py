"""A database of ASE as a source of molecules that are read as they are needed.

What is kept in memory is an index: of each molecule its number in the database, its size, its
numbers of atoms of each element, and its targets. Positions are read when a batch needs them, by
the process that makes it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from tasks.cache import CacheError, cache_directory, load_arrays, save_arrays
from tasks.qm9.batches import SYMBOLS, MoleculeBatch, atom_features

_VERSION: Final = 2
_MARKS: Final = {".db": (0, b"SQLite format 3\0"), ".aselmdb": (16, struct.pack("=I", 0xBEEFC0DE))}
"""The kinds of database, and bytes that such a file has at a place."""

_DTYPES: Final = {
    "ids": np.dtype(np.int64),
    "sizes": np.dtype(np.int32),
    "counts": np.dtype(np.int32),
    "values": np.dtype(np.float64),
}


@dataclass(frozen=True, eq=False)
class Index:
    """What is kept in memory of a database.

    For each molecule these are 12 bytes, 4 for each element, and 8 for each target.

    Args:
        ids: Numbers of the molecules in the database, increasing, shape (n,), int64.
        sizes: Their atoms, shape (n,), int32.
        counts: Their atoms of each element, in the order of the elements, shape (n, E), int32.
        values: Their targets, shape (n, T), float64.
    """

    ids: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """Count the molecules."""
        return len(self.ids)

    @classmethod
    def of(
        cls,
        path: Path,
        targets: Sequence[str],
        elements: Mapping[str, int],
        cache_dir: str | Path | None = None,
    ) -> Index:
        """Look at every molecule of a database once, and keep what was found in the cache.

        Args:
            path: The database.
            targets: Names of the targets: key-value pairs of the rows, or properties that a
                calculator gave, such as ``energy``.
            elements: The elements that are accepted, with their nuclear charges.
            cache_dir: Folder of the index; without it, the environment variable LIE_ATTENTION_CACHE
                or the user's cache folder.

        Raises:
            ImportError: ase, or what it needs for this kind of database, is not installed.
            ValueError: It is no database of ASE, it is empty, or a row lacks a target, has another
                element, no atoms, or a number that is not finite.
        """
        state = path.stat() if path.is_file() else None
        if state is None:
            raise ValueError(f"data.path: there is no file {path}.")
        what = (path.resolve(), state.st_size, state.st_mtime_ns, *targets, *elements.items())
        digest = hashlib.sha256("\n".join(map(str, what)).encode()).hexdigest()[:16]
        file = cache_directory(cache_dir) / "databases" / f"{path.stem}-{digest}.npz"
        try:
            arrays = load_arrays(file, version=_VERSION)
            if {name: values.dtype for name, values in arrays.items()} == _DTYPES:
                return cls(**arrays)
        except (FileNotFoundError, CacheError):
            pass
        index = cls._read(path, targets, elements)
        # Where it cannot be kept it is made anew each time, which takes longer and is no error.
        with suppress(OSError):
            save_arrays(file, {name: getattr(index, name) for name in _DTYPES}, version=_VERSION)
        return index

    @classmethod
    def _read(cls, path: Path, targets: Sequence[str], elements: Mapping[str, int]) -> Index:
        try:
            return cls._scan(connect(path), path, targets, elements)
        finally:
            disconnect(path)

    @classmethod
    def _scan(
        cls, database: Any, path: Path, targets: Sequence[str], elements: Mapping[str, int]
    ) -> Index:
        ids = np.array(list(_ids(database)), dtype=np.int64)
        if not len(ids):
            raise ValueError(f"data.path: {path} holds no molecules.")
        sizes = np.empty(len(ids), dtype=np.int32)
        charges = list(elements.values())
        counts = np.empty((len(ids), len(charges)), dtype=np.int32)
        values = np.empty((len(ids), len(targets)))
        accepted = np.zeros(256, dtype=bool)
        accepted[charges] = True
        bar = tqdm(ids, desc=f"indexing {path.name}", unit=" molecules", disable=None)
        for place, number in enumerate(bar):
            row = database._get_row(int(number))
            sizes[place] = len(row.numbers)
            values[place] = [_target(row, name, path) for name in targets]
            if not len(row.numbers) or not accepted[row.numbers].all():
                _refuse(row, elements, path)
            counts[place] = np.bincount(row.numbers, minlength=256)[charges]
            if not np.isfinite(row.positions).all():
                raise ValueError(f"{path}: row {number} has a coordinate that is not finite.")
            if np.any(row.pbc):
                raise ValueError(
                    f"{path}: row {number} is periodic; the networks are of molecules in vacuum."
                )
        return cls(ids, sizes, counts, values)


class LazyMolecules(Dataset[MoleculeBatch]):
    """Molecules of a database, of which batches are read.

    Each process that reads opens the database for itself.

    Args:
        path: The database.
        index: What is known of it.
        elements: The elements that the features tell apart, with their nuclear charges.
        center: Whether to move each molecule's centroid to the origin.
    """

    device = torch.device("cpu")

    def __init__(
        self, path: Path, index: Index, elements: Mapping[str, int], *, center: bool = True
    ) -> None:
        self.path = path
        self.index = index
        self.elements = dict(elements)
        self.center = center

    def __getitem__(self, rows: Tensor) -> MoleculeBatch:
        """Read a batch, as the worker of a ``DataLoader`` asks for it."""
        return self.batch(rows)

    def batch(self, rows: Tensor) -> MoleculeBatch:
        """Read molecules.

        Args:
            rows: Their places in the index, shape (B,), int64.

        Returns:
            The batch, padded to its largest molecule.

        Raises:
            ValueError: The database has changed since its index was made.
        """
        database = connect(self.path)
        places = rows.numpy()
        sizes = self.index.sizes[places]
        charges = np.zeros((len(places), sizes.max()), dtype=np.int64)
        positions = np.zeros((*charges.shape, 3), dtype=np.float32)
        for slot, (place, size) in enumerate(zip(places, sizes, strict=True)):
            row = database._get_row(int(self.index.ids[place]))
            if len(row.numbers) != size:
                raise ValueError(
                    f"{self.path}: row {row.id} has {len(row.numbers)} atoms, {size} when it was "
                    "indexed; a database must not change while it is read."
                )
            charges[slot, :size] = row.numbers
            shift = row.positions.mean(0) if self.center else 0.0
            positions[slot, :size] = row.positions - shift
        found = torch.from_numpy(charges)
        return MoleculeBatch(
            features=atom_features(found, self.elements),
            positions=torch.from_numpy(positions),
            mask=found > 0,
            target=torch.from_numpy(self.index.values[places].astype(np.float32)),
            index=torch.from_numpy(self.index.ids[places]),
            weight=torch.ones(len(places)),
        )


def connect(path: Path) -> Any:
    """Open a database of ASE to read it, once in each process.

    LMDB opens a file only once in a process, and no connection is for two processes: a process that
    starts others calls :func:`disconnect` first.

    Raises:
        ImportError: ase, or what it needs for this kind of database, is not installed.
        ValueError: It is no database of ASE.
    """
    place, changed = (path.resolve(), os.getpid()), path.stat().st_mtime_ns
    if _connections.get(place, (0, None))[0] != changed:
        disconnect(path)
        _connections[place] = changed, _open(path)
    return _connections[place][1]


def disconnect(path: Path) -> None:
    """Close the connection of this process to a database, if there is one."""
    _, database = _connections.pop((path.resolve(), os.getpid()), (0, None))
    if database is not None:
        database.__exit__(None, None, None)


_connections: dict[tuple[Path, int], tuple[int, Any]] = {}


def _open(path: Path) -> Any:
    try:
        from ase import db
    except ImportError as error:
        raise ImportError(
            "Databases are read by the package ase: pip install 'lie-attention[md]'.", name="ase"
        ) from error
    if path.suffix not in _MARKS:
        raise ValueError(
            f"data.path: {path} is neither SQLite (.db) nor LMDB (.aselmdb); other databases of "
            f"ASE are converted by: ase db {path.name} --insert-into {path.stem}.db"
        )
    place, mark = _MARKS[path.suffix]
    with path.open("rb") as file:
        if file.read(place + len(mark))[place:] != mark:
            raise ValueError(f"data.path: {path} is no database of ASE, but some other file.")
    if path.suffix == ".db":
        _require_systems(path)
    settings = {"readonly": True, "readahead": False} if path.suffix == ".aselmdb" else {}
    try:
        # One connection for all that is read.
        return db.connect(path, use_lock_file=False, **settings).__enter__()
    except ImportError as error:
        raise ImportError(
            f"{path} is read by the package ase-db-backends: pip install 'lie-attention[lmdb]'.",
            name=error.name,
        ) from error


def _require_systems(path: Path) -> None:
    """Refuse a file without molecules before ASE makes a database of it."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE name='systems'").fetchall()
    except sqlite3.Error as error:
        raise ValueError(f"data.path: {path} cannot be read: {error}") from error
    finally:
        connection.close()
    if not found:
        raise ValueError(f"data.path: {path} is no database of ASE: it has no table of systems.")


def _ids(database: Any) -> Iterator[int]:
    """The numbers of all rows, in order."""
    if hasattr(database, "ids"):  # LMDB has them at hand.
        return iter(sorted(database.ids))
    return (row.id for row in database.select(columns=["id", "numbers"], include_data=False))


def _target(row: Any, name: str, path: Path) -> float:
    value = row.get(name)
    if value is None:
        has = sorted({*row.key_value_pairs, *(["energy"] if "energy" in row else [])})
        raise ValueError(
            f"data.target: row {row.id} of {path} has no {name!r}; it has {', '.join(has)}."
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ValueError(f"data.target: {name} of row {row.id} of {path} is {value!r}, no number.")
    return float(value)


def _refuse(row: Any, elements: Mapping[str, int], path: Path) -> None:
    if not len(row.numbers):
        raise ValueError(f"{path}: row {row.id} has no atoms.")
    unknown = sorted(set(row.numbers.tolist()) - set(elements.values()))
    named = ", ".join(f"{SYMBOLS.get(z, 'no element')} ({z})" for z in unknown)
    known = ", ".join(elements)
    raise ValueError(
        f"data.elements: row {row.id} of {path}, {row.formula}, has {named}, which is not among "
        f"{known}; name all elements of the database."
    )
