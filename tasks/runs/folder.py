"""The folder of a run: one run makes it, one process holds it, and no link in it is followed."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tasks.errors import UserError

__all__ = [
    "BEST",
    "CONFIG",
    "LAST",
    "METRICS",
    "Busy",
    "RunFolder",
    "free_file",
    "free_name",
    "locked",
    "refuse_links",
    "release_folders",
]

CONFIG = "config.yaml"
METRICS = "metrics.json"
BEST = Path("checkpoints/best.ckpt")
LAST = Path("checkpoints/last.ckpt")

_LOCK = ".lock"
_TORN = ".*.tmp"  # Left by a process that was killed while it wrote.

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW

_held: dict[Path, tuple[IO[str], tuple[Path, ...]]] = {}
"""Of each folder that this process holds, the lock, and the folders that were made for it."""


class Busy(UserError):
    """Another process works in a folder."""


class RunFolder:
    """A folder that holds a run, or is to hold one.

    Args:
        path: The folder, as the user named it. It alone is meant, wherever it was made, and
            whatever is written in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def config(self) -> Path:
        """The settings."""
        return self.path / CONFIG

    @property
    def metrics(self) -> Path:
        """What the test found."""
        return self.path / METRICS

    def read_metrics(self) -> dict[str, Any]:
        """What an earlier test found; nothing where there is none, or what is there is damaged."""
        if self.metrics.is_symlink() or not self.metrics.is_file():
            return {}
        try:
            found = json.loads(self.metrics.read_text())
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def best(self) -> Path:
        """The weights that did best on the validation part."""
        return self.path / BEST

    @property
    def last(self) -> Path:
        """The weights at the end of the last epoch, or where the training was interrupted."""
        return self.path / LAST

    @property
    def weights(self) -> Path:
        """The best weights, or the last where none were ever validated."""
        return self.best if self.best.is_file() or not self.last.is_file() else self.last

    def holds_a_run(self) -> bool:
        """Whether a run has written here."""
        return any((self.path / name).exists() for name in (CONFIG, METRICS, "checkpoints"))

    def claim(self) -> None:
        """Make the folder that of a new run, and hold it until this process ends.

        Raises:
            UserError: If it holds a run already.
            Busy: If another process has just taken it.
        """
        self.hold()
        self.sweep()
        if self.holds_a_run():
            self.release()
            raise UserError(
                f"run: {self.path} holds a run already, and nothing is overwritten. Name another "
                f"folder, or go on with that run by --resume {self.path}."
            )

    @classmethod
    def claim_new(cls, path: Path) -> RunFolder:
        """Make a folder that nobody has, and hold it until this process ends.

        Args:
            path: What it is to be called; where there is such a folder, a number is added.
        """
        made = [each for each in path.parents if not each.exists()]
        folder = cls(free_name(path))
        folder.hold()
        file, _ = _held[folder.path.resolve()]
        _held[folder.path.resolve()] = file, (folder.path, *made)
        return folder

    def hold(self, wait: float = 0.0) -> None:
        """Keep other processes from writing here, until this one ends or lets go.

        Args:
            wait: Seconds to wait for another process.

        Raises:
            Busy: If another process holds the folder all the while.
        """
        key = self.path.resolve()
        if key in _held:
            return
        made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        for child in self.path.iterdir():
            if not child.is_file():  # In place of a file a link is replaced, not followed.
                refuse_links(self.path, child)
        file = _open_here(self.path / _LOCK)
        try:
            _lock(file, wait, self.path)
        except TimeoutError:
            file.close()
            raise Busy(
                f"another process works in {self.path}: one run writes to it at a time. Wait for "
                "it, or name another folder."
            ) from None
        _held[key] = file, tuple(made)

    def try_to_hold(self) -> bool:
        """Hold the folder unless another process does; say whether it is held."""
        try:
            self.hold()
        except Busy:
            return False
        return True

    def release(self) -> None:
        """Let others write here; folders that were made for it and hold nothing go again."""
        file, made = _held.pop(self.path.resolve(), (None, ()))
        if file is None:
            return
        if made and [each.name for each in self.path.iterdir()] == [_LOCK]:
            (self.path / _LOCK).unlink()
            with suppress(OSError):  # Somebody else has begun to use it.
                for folder in made:
                    folder.rmdir()
        file.close()

    @contextmanager
    def held(self, wait: float = 0.0) -> Iterator[None]:
        """Hold the folder for a while; see :meth:`hold`."""
        before = self.path.resolve() in _held
        self.hold(wait)
        try:
            yield
        finally:
            if not before:
                self.release()

    def sweep(self) -> None:
        """Remove what a process left that was killed while it wrote."""
        for torn in self.path.rglob(_TORN):
            torn.unlink()


def free_name(path: Path) -> Path:
    """Make a folder of a name that is not taken, adding a number where it is.

    Args:
        path: The name to begin with; ``runs/a`` becomes ``runs/a-2``, ``runs/a-3`` and so on.

    Returns:
        The folder, which this call has made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        name = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            name.mkdir()
        except FileExistsError:
            number += 1
        else:
            return name


def refuse_links(folder: Path, path: Path) -> None:
    """Raise where the way from a folder to a path in it goes over a symbolic link.

    Args:
        folder: The folder, which may itself be reached by links.
        path: A path below it.

    Raises:
        UserError: If a part of the path is a link.
    """
    for part in (path, *path.parents):
        if part == folder:
            return
        if part.is_symlink():
            raise UserError(
                f"{part} is a link, and no link in the folder of a run is followed when writing; "
                "remove it."
            )


@contextmanager
def locked(path: Path, wait: float | None = None) -> Iterator[None]:
    """Hold a lock that the system takes back when this process ends, however it ends.

    Args:
        path: The file to lock.
        wait: Seconds to wait for it; for ever when absent.

    Raises:
        TimeoutError: If another process held it all the while.
    """
    with _open_here(path) as file:
        _lock(file, wait, path.parent)
        yield


def _open_here(path: Path) -> IO[str]:
    """Open a file to append to it, unless it is a link."""
    refuse_links(path.parent, path)
    return os.fdopen(os.open(path, _APPEND, 0o666), "a")


def _lock(file: IO[str], wait: float | None, folder: Path) -> None:
    end = None if wait is None else time.monotonic() + wait
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if end is None else fcntl.LOCK_NB))
            return
        except BlockingIOError:
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"another process works in {folder}.") from None
            time.sleep(0.05)


@contextmanager
def free_file(path: Path) -> Iterator[Path]:
    """A file of a name that is not taken, adding a number where it is.

    Args:
        path: The name to begin with; ``a.csv`` becomes ``a-2.csv``, ``a-3.csv`` and so on.

    Yields:
        The file, empty and made by this call; it goes again where nothing can be written to it.
    """
    number = 1
    while True:
        name = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        try:
            name.open("x").close()
            break
        except FileExistsError:
            number += 1
    try:
        yield name
    except BaseException:
        name.unlink()
        raise


def release_folders() -> None:
    """Let go of all folders that this process holds."""
    for path in list(_held):
        RunFolder(path).release()
