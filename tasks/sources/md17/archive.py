"""The public archive of revised MD17, read from a folder or downloaded."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from tasks.cache import cache_directory, check_name
from tasks.sources.md17.download import fetch_archive
from tasks.sources.md17.frames import Frames, Rows, Source
from tasks.sources.md17.splits import SPLITS
from tasks.units import KCAL_PER_MOL

_THEORY: Final = {"revised": "PBE/def2-SVP", "original": "PBE+vdW-TS"}
_KEYS: Final = {
    "revised": ("energies", "forces"),
    "original": ("old_energies", "old_forces"),
}


@dataclass(frozen=True)
class RMD17(Source):
    """Revised MD17: molecules in vacuum at 500 K, read from the files of the public archive.

    The files are ``rmd17_ethanol.npz`` and the like, in the folder or in ``npz_data`` below it.
    The splits are arrays in the file (``train_01``, ``test_01``) or the archive's
    ``index_train_01.csv`` and ``index_test_01.csv`` in a folder ``splits`` beside the file or its
    folder. Where there is neither, the data module draws one of its own.

    Args:
        folder: The folder of the archive. When absent the archive, 1.1 GB, is downloaded once and
            unpacked into the cache.
        labels: ``revised`` for the energies and forces of revised MD17, ``original`` for those of
            MD17, which carry more numerical noise.
        cache_dir: Folder of the downloaded archive; without it, the environment variable
            LIE_ATTENTION_CACHE or the user's cache folder.

    Raises:
        ValueError: If ``labels`` is another.

    Reference:
        Christensen and von Lilienfeld 2020, On the role of gradients for machine learning of
        molecular energies and forces; Chmiela et al. 2017, Machine learning of accurate
        energy-conserving molecular force fields.
    """

    folder: str | None = None
    labels: Literal["revised", "original"] = "revised"
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        if self.labels not in _KEYS:
            raise ValueError(f"labels: {self.labels!r}; accepted: {', '.join(_KEYS)}.")

    def load(self, molecule: str) -> Frames:
        """Read the frames of a molecule.

        Args:
            molecule: The name in the file's name, for example ``ethanol``.

        Raises:
            ValueError: The folder does not have the molecule, or its file is damaged, lacks a key
                or holds what cannot be.
            OSError: The archive is to be downloaded and cannot be.
        """
        path = self._path(molecule)
        energies, forces = _KEYS[self.labels]
        arrays = _read(path, ("nuclear_charges", "coords", energies, forces))
        return Frames(
            molecule=molecule,
            theory=_THEORY[self.labels],
            charges=arrays["nuclear_charges"].astype(np.int64),
            positions=arrays["coords"].astype(np.float64),
            energies=arrays[energies].astype(np.float64) * KCAL_PER_MOL,
            forces=arrays[forces].astype(np.float64) * KCAL_PER_MOL,
            splits=_splits(path, arrays, len(arrays[energies])),
        )

    def _path(self, molecule: str) -> Path:
        check_name("molecule", molecule)
        if self.folder is None:
            folder = fetch_archive(cache_directory(self.cache_dir) / "md17")
        else:
            folder = Path(self.folder).expanduser()
        if not folder.is_dir():
            raise ValueError(f"folder: there is no folder {folder}.")
        if (folder / "npz_data").is_dir():
            folder = folder / "npz_data"
        path = folder / f"rmd17_{molecule}.npz"
        if not path.is_file():
            found = sorted(file.stem.removeprefix("rmd17_") for file in folder.glob("rmd17_*.npz"))
            there = f"it has {', '.join(found)}" if found else "it has no file rmd17_*.npz"
            raise ValueError(f"molecule: {folder} does not have {molecule!r}; {there}.")
        return path


def _read(path: Path, needed: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in needed if key not in archive.files]
            if not missing:
                published = [f"{part}_{n:02}" for part in ("train", "test") for n in SPLITS]
                keys = (*needed, *(key for key in published if key in archive.files))
                return {key: archive[key] for key in keys}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{path} ({path.stat().st_size:,} bytes) is truncated or damaged: {error}"
        ) from error
    raise ValueError(f"{path} lacks {', '.join(missing)}; is it a file of the rMD17 archive?")


def _splits(
    path: Path, arrays: dict[str, npt.NDArray[Any]], frames: int
) -> dict[int, tuple[Rows, Rows]]:
    found = {}
    for number in SPLITS:
        parts = []
        for part in ("train", "test"):
            rows = arrays.get(f"{part}_{number:02}")
            origin = f"{path}: {part}_{number:02}"
            if rows is None:
                table = _table(path, f"index_{part}_{number:02}.csv")
                if table is None:
                    break
                origin = str(table)
                try:
                    rows = np.loadtxt(table, dtype=np.int64, ndmin=1)
                except ValueError as error:
                    raise ValueError(
                        f"{origin} is not a column of frame numbers: {error}"
                    ) from error
            if not len(rows) or rows.min() < 0 or rows.max() >= frames:
                raise ValueError(
                    f"{origin} does not go with the {frames:,} frames of {path.name}: it should "
                    f"hold numbers from 0 to {frames - 1:,}."
                )
            parts.append(rows.astype(np.int64))
        if len(parts) == 2:
            train, test = parts
            if np.isin(train, test).any():
                raise ValueError(f"{path}: split {number} has frames both to train and to test on.")
            found[number] = train, test
    return found


def _table(path: Path, name: str) -> Path | None:
    """The file of a split, in ``splits`` beside the data or beside their folder."""
    for folder in (path.parent, path.parent.parent):
        if (folder / "splits" / name).is_file():
            return folder / "splits" / name
    return None
