"""A database of ASE as a source of molecules that are read as they are needed.

What is kept in memory is an index: of each molecule its number in the database, its size, its
numbers of atoms of each element, and its targets. Positions are read when a batch needs them, by
the process that makes it.

A database is only read: nothing is written into it, nor beside it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import embedding
from tqdm import tqdm

from tasks.cache import CacheError, cache_directory, check_writable, keep_arrays, load_arrays
from tasks.data.clouds import Clouds, one_hot
from tasks.data.parts import identity
from tasks.sources.atoms import POWERS, named

_VERSION: Final = 3
_MARKS: Final = {".db": (0, b"SQLite format 3\0"), ".aselmdb": (16, struct.pack("=I", 0xBEEFC0DE))}
"""The kinds of database, and bytes that such a file has at a place."""

_HEAD: Final = 2**15
"""Bytes at the start of a file that change with every change of the database: SQLite counts changes
there, and LMDB keeps its roots there, in two pages."""

_OPENING: Final = 5.0
_READING: Final = 20.0
"""Seconds to wait for another process to release a lock."""

_REASONS: Final = {
    (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED): "is locked by another process; wait until that "
    "has written what it writes, or take a copy",
    (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR): "is damaged or "
    "truncated; take a copy that is whole",
    (sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH): "cannot be opened: there "
    "is no permission to read it and the files that SQLite keeps beside it",
    (sqlite3.SQLITE_READONLY,): "was left in the middle of a change; open it once with a program "
    "that may write to it, such as: sqlite3 FILE 'PRAGMA quick_check'",
}
"""What the error codes of SQLite mean to who reads."""

_DTYPES: Final = {
    "ids": np.dtype(np.int64),
    "sizes": np.dtype(np.int32),
    "counts": np.dtype(np.int32),
    "values": np.dtype(np.float64),
    "keys": np.dtype(np.int64),
}


@dataclass(frozen=True, eq=False)
class Index:
    """What is kept in memory of a database.

    For each molecule these are 20 bytes, 4 for each element, and 8 for each target.

    Args:
        ids: Numbers of the molecules in the database, increasing, shape (n,), int64.
        sizes: Their atoms, shape (n,), int32.
        counts: Their atoms of each element, in the order of the elements, shape (n, E), int32.
        values: Their targets, shape (n, T), float64.
        keys: What tells them apart, whatever their number: a digest of elements and positions,
            shape (n,), int64.
    """

    ids: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]
    keys: npt.NDArray[np.int64]

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
            ValueError: It is no database of ASE, it is empty, damaged or locked, or a row lacks a
                target, has another element, no atoms, or a number that is not finite.
        """
        if not path.is_file():
            raise ValueError(f"data.path: there is no file {path}.")
        what = (path.resolve(), *_state(path), *_census(path), *targets, *elements.items())
        digest = hashlib.sha256("\n".join(map(str, what)).encode()).hexdigest()[:16]
        file = cache_directory(cache_dir) / "databases" / f"{path.stem}-{digest}.npz"
        try:
            arrays = load_arrays(file, version=_VERSION)
            if {name: values.dtype for name, values in arrays.items()} == _DTYPES:
                return cls(**arrays)
        except (FileNotFoundError, CacheError):
            pass
        index = cls._read(path, targets, elements)
        keep_arrays(
            file,
            {name: getattr(index, name) for name in _DTYPES},
            version=_VERSION,
            otherwise="the database is indexed every time",
            setting="data.cache_dir",
        )
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
        with _in_words(path):
            ids = np.array(list(_ids(database)), dtype=np.int64)
        if not len(ids):
            raise ValueError(f"data.path: {path} holds no molecules.")
        sizes = np.empty(len(ids), dtype=np.int32)
        charges = list(elements.values())
        counts = np.empty((len(ids), len(charges)), dtype=np.int32)
        values = np.empty((len(ids), len(targets)))
        keys = np.empty(len(ids), dtype=np.int64)
        accepted = np.zeros(256, dtype=bool)
        accepted[charges] = True
        bar = tqdm(ids, desc=f"indexing {path.name}", unit=" molecules", disable=None)
        for place, number in enumerate(bar):
            row = _row(database, int(number), path)
            sizes[place] = len(row.numbers)
            values[place] = [_target(row, name, path) for name in targets]
            if not len(row.numbers) or not accepted[row.numbers].all():
                _refuse(row, elements, path)
            keys[place] = identity(row.numbers.astype(np.uint8), row.positions.astype(np.float32))
            counts[place] = np.bincount(row.numbers, minlength=256)[charges]
            if not np.isfinite(row.positions).all():
                raise ValueError(f"{path}: row {number} has a coordinate that is not finite.")
            if np.any(row.pbc):
                raise ValueError(
                    f"{path}: row {number} is periodic; the networks are of molecules in vacuum."
                )
        return cls(ids, sizes, counts, values, keys)


class LazyMolecules:
    """Molecules of a database, of which batches are read.

    Each process that reads opens the database for itself.

    Args:
        path: The database.
        index: What is known of it.
        elements: The elements that the features tell apart, with their nuclear charges.
        center: Whether to move each molecule's centroid to the origin.
    """

    def __init__(
        self, path: Path, index: Index, elements: Mapping[str, int], *, center: bool = True
    ) -> None:
        self.path = path
        self.index = index
        self.elements = dict(elements)
        self.center = center
        self.device = torch.device("cpu")
        self.sizes = index.sizes
        self._features = torch.from_numpy(one_hot(elements, POWERS))

    def to(self, device: torch.device | str) -> LazyMolecules:
        """These themselves: the trainer brings batches that were read to its device."""
        return self

    def close(self) -> None:
        """Close the connection of this process, as before others read."""
        disconnect(self.path)

    def batch(self, rows: Tensor) -> Clouds:
        """Read molecules.

        Args:
            rows: Their places in the index, shape (B,), int64.

        Returns:
            The batch, padded to its largest molecule.

        Raises:
            ValueError: The database has changed since its index was made, is damaged, or is
                locked.
        """
        database = connect(self.path)
        places = rows.numpy()
        sizes = self.index.sizes[places]
        charges = np.zeros((len(places), sizes.max()), dtype=np.int64)
        positions = np.zeros((*charges.shape, 3), dtype=np.float32)
        elements = list(self.elements.values())
        for slot, (place, size) in enumerate(zip(places, sizes, strict=True)):
            row = _row(database, int(self.index.ids[place]), self.path)
            counts = np.bincount(row.numbers, minlength=256)[elements]
            if len(row.numbers) != size or (counts != self.index.counts[place]).any():
                raise ValueError(
                    f"{self.path}: row {row.id} has {row.formula}, another molecule than when it "
                    "was indexed; a database must not change while it is read."
                )
            charges[slot, :size] = row.numbers
            shift = row.positions.mean(0) if self.center else 0.0
            positions[slot, :size] = row.positions - shift
        found = torch.from_numpy(charges)
        return Clouds(
            features=embedding(found, self._features),
            points=torch.from_numpy(positions),
            mask=found > 0,
            targets=torch.from_numpy(self.index.values[places].astype(np.float32)),
            ids=torch.from_numpy(self.index.ids[places]),
            weight=torch.ones(len(places)),
        )


def connect(path: Path) -> Any:
    """Open a database of ASE to read it, once in each process.

    LMDB opens a file only once in a process, and no connection is for two processes: a process that
    starts others calls :func:`disconnect` first.

    Raises:
        ImportError: ase, or what it needs for this kind of database, is not installed.
        ValueError: It is no database of ASE, damaged, or locked.
    """
    if not path.is_file():
        raise ValueError(f"data.path: there is no file {path}.")
    place, state = (path.resolve(), os.getpid()), (path.stat().st_ino, *_state(path))
    if _connections.get(place, (None, None))[0] != state:
        disconnect(path)
        with _in_words(path):
            _connections[place] = state, _open(path)
    return _connections[place][1]


def disconnect(path: Path) -> None:
    """Close the connection of this process to a database, if there is one."""
    _, database = _connections.pop((path.resolve(), os.getpid()), (None, None))
    if database is not None:
        database.__exit__(None, None, None)


_connections: dict[tuple[Path, int], tuple[Any, Any]] = {}


def _state(path: Path) -> list[tuple[int, int, str] | None]:
    """What of the files of a database changes with every change of it.

    SQLite may keep changes beside the file itself for long, in a write-ahead log.
    """
    found: list[tuple[int, int, str] | None] = []
    for file in (path, _log(path)):
        try:
            with file.open("rb") as content:
                head = content.read(_HEAD)
                state = os.fstat(content.fileno())
        except FileNotFoundError:
            found.append(None)
        except PermissionError as error:
            raise ValueError(f"data.path: there is no permission to read {file}.") from error
        else:
            digest = hashlib.sha256(head).hexdigest()
            found.append((state.st_size, state.st_mtime_ns, digest) if state.st_size else None)
    return found


def _log(path: Path) -> Path:
    """The write-ahead log of a database of SQLite."""
    return path.with_name(f"{path.name}-wal")


def _census(path: Path) -> tuple[int, ...]:
    """Number of rows, the last of them, and the sum of the times that they were made at.

    An index of SQLite has these, so that the rows are not read. The head of LMDB has them already.
    """
    if path.suffix != ".db" or not _is_marked(path):
        return ()
    with _in_words(path), closing(_sqlite(path, _OPENING)) as connection:
        _require_systems(connection, path)
        found = connection.execute("SELECT count(*), max(id), total(ctime) FROM systems").fetchone()
        return tuple(found)


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Say in words why a database cannot be read."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # Without what it details.
        words = next((words for codes, words in _REASONS.items() if code in codes), None)
        words = words or "is damaged, or no database of ASE"
        raise ValueError(f"data.path: {path} {words} ({error}).") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "lmdb":
            raise
        words = "is locked by another process" if "Lock" in type(error).__name__ else "is damaged"
        raise ValueError(f"data.path: {path} {words} ({error}).") from error


def _row(database: Any, number: int, path: Path) -> Any:
    """A row of a database.

    Raises:
        ValueError: It cannot be read.
    """
    with _in_words(path):
        try:
            return database._get_row(number)
        except (sqlite3.Error, OSError, MemoryError):
            raise
        except Exception as error:  # Bytes that are no row make ASE fail in any way.
            if type(error).__module__.partition(".")[0] == "lmdb":
                raise
            raise ValueError(
                f"data.path: row {number} of {path} cannot be read ({type(error).__name__}: "
                f"{error}); the database is damaged, or the row was deleted after it was indexed."
            ) from error


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
    if not _is_marked(path):
        raise ValueError(f"data.path: {path} is no database of ASE, but some other file.")
    if path.suffix == ".aselmdb":
        _require_whole(path)
    settings = {"readonly": True, "readahead": False} if path.suffix == ".aselmdb" else {}
    try:
        database = db.connect(path, use_lock_file=False, **settings)
        if path.suffix == ".aselmdb":
            return database.__enter__()
    except ImportError as error:
        raise ImportError(
            f"{path} is read by the package ase-db-backends: pip install 'lie-attention[lmdb]'.",
            name=error.name,
        ) from error
    # One connection for all that is read, in place of ASE's, which could write.
    connection = _sqlite(path, _READING)
    _require_systems(connection, path)
    database.connection, database.change_count = connection, 0
    return database


def _is_marked(path: Path) -> bool:
    place, mark = _MARKS[path.suffix]
    with path.open("rb") as file:
        return file.read(place + len(mark))[place:] == mark


def _sqlite(path: Path, patience: float) -> sqlite3.Connection:
    """Open a database of SQLite such that no file is made beside it."""
    with path.open("rb") as file:
        logged = file.read(20)[18:] == b"\2\2"
    mode = "mode=ro"
    if logged and _state(path)[1] is None:
        # All is in the file; SQLite would make an empty log, and leave it there.
        mode += "&immutable=1"
    elif logged and not (index := path.with_name(f"{path.name}-shm")).exists():
        check_writable(index)
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=patience)


def _require_systems(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file without molecules before ASE makes a database of it."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name='systems'").fetchall():
        raise ValueError(f"data.path: {path} is no database of ASE: it has no table of systems.")


def _require_whole(path: Path) -> None:
    """Refuse a file of LMDB that has been cut short: reading past its end ends the process."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        page = struct.unpack("=I", file.read(44)[40:])[0]
        last = []
        for start in (0, page):  # Two states of the database, of which the later one counts.
            file.seek(start)
            meta = file.read(152)
            if meta[16:20] == _MARKS[".aselmdb"][1] and len(meta) == 152:
                last.append(struct.unpack("=QQ", meta[136:])[::-1])
    if not last or size < (max(last)[1] + 1) * page:
        raise ValueError(
            f"data.path: {path} is damaged or truncated: it has {size:,} bytes, fewer than it says "
            "that it has; take a copy that is whole."
        )


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
    known = ", ".join(elements)
    raise ValueError(
        f"data.elements: row {row.id} of {path}, {row.formula}, has {named(unknown)}, which is not "
        f"among {known}; name all elements of the database."
    )
