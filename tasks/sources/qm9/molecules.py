"""The molecules of QM9, read from the package ``qm9pack`` and kept in a compact cache."""

import csv
import hashlib
import importlib.util
import logging
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tasks.cache import CacheError, cache_directory, keep_arrays, load_arrays
from tasks.sources.qm9.splits import MOLECULES
from tasks.sources.qm9.targets import ELEMENTS, TARGETS, find_target, reference

logger = logging.getLogger(__name__)

CACHE_FILE: Final = "qm9.npz"
CACHE_VERSION: Final = 1

# SHA-256 of the files of qm9pack 1.0.3
_FILES: Final = {
    "qm9_part1.csv": "19f0a5d595462d52cd82eef3370f3e9eb55a1f52cb14985657200349568deff3",
    "qm9_part2.csv": "2bca113fdc0b28a13563c80ed9b240e934f3da6c64c64fe74ddb4f0f36036e61",
    "qm9_part3.csv": "9c5efb5733d2af149db8d95d36ff198b4ffed12d9f7b344220a1e5877d5c6a43",
}
_REINSTALL: Final = "install it again: pip install --force-reinstall --no-deps qm9pack==1.0.3"
_DTYPES: Final = {
    "charges": np.dtype(np.uint8),
    "positions": np.dtype(np.float32),
    "offsets": np.dtype(np.int64),
    "index": np.dtype(np.int32),
    "values": np.dtype(np.float64),
}


@dataclass(frozen=True, eq=False, slots=True)
class Molecules:
    """Molecules as flat arrays, in the order of the QM9 index.

    The atoms of molecule ``i`` are the rows ``offsets[i]`` to ``offsets[i + 1]``.

    Args:
        charges: Nuclear charges, shape (atoms,), uint8.
        positions: Coordinates in angstrom, shape (atoms, 3), float32.
        offsets: First atom of each molecule and, last, their total, shape (n + 1,), int64.
        index: The index of each molecule in QM9, from 1 to 133885, shape (n,), int32.
        values: The raw values of the targets in their units, in the order of ``TARGETS``,
            shape (n, 12), float64.
    """

    charges: npt.NDArray[np.uint8]
    positions: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    index: npt.NDArray[np.int32]
    values: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """Count the molecules."""
        return len(self.index)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The atoms of each molecule, shape (n,)."""
        return np.diff(self.offsets)

    def element_counts(self) -> npt.NDArray[np.int64]:
        """Count the atoms of each element, shape (n, 5), in the order of ``ELEMENTS``."""
        starts = self.offsets[:-1]
        return np.stack(
            [
                np.add.reduceat(self.charges == charge, starts, dtype=np.int64)
                for charge in ELEMENTS.values()
            ],
            axis=-1,
        )

    def target(self, name: str) -> npt.NDArray[np.float64]:
        """Give the values of a target less those of the free atoms, in its unit, shape (n,).

        Args:
            name: One of the keys of ``TARGETS``.

        Raises:
            ValueError: There is no such target.
        """
        find_target(name)
        raw: npt.NDArray[np.float64] = self.values[:, list(TARGETS).index(name)]
        return raw - reference(name, self.element_counts())


def load(cache_dir: str | Path | None = None) -> Molecules:
    """Load the 130,831 molecules of QM9.

    The first call reads the CSV files of ``qm9pack``, which takes some seconds, and keeps a
    compact copy; later calls read the copy. A copy that is damaged or of an older format is
    reported as a warning and built again. Where the folder cannot be written, a warning says so
    and the molecules are in memory only.

    Args:
        cache_dir: Folder of the copy; without it, the environment variable
            ``LIE_ATTENTION_CACHE`` or the user's cache folder.

    Returns:
        The molecules.

    Raises:
        ImportError: There is no copy and ``qm9pack`` is not installed.
        FileNotFoundError: A file of ``qm9pack`` is missing.
        ValueError: A file of ``qm9pack`` is truncated or damaged, or the copy, though whole,
            holds what QM9 does not, such as coordinates that are not finite.
    """
    path = cache_directory(cache_dir) / CACHE_FILE
    try:
        return _from_cache(path)
    except FileNotFoundError:
        pass
    except CacheError as error:
        logger.warning("%s; it is built again", error)
    molecules = _from_csv(_data_folder())
    arrays = {name: getattr(molecules, name) for name in _DTYPES}
    keep_arrays(
        path,
        arrays,
        version=CACHE_VERSION,
        otherwise="QM9 is read from its CSV files every time",
        setting="data.cache_dir",
    )
    return molecules


def _from_cache(path: Path) -> Molecules:
    arrays = load_arrays(path, version=CACHE_VERSION)
    if {name: values.dtype for name, values in arrays.items()} != _DTYPES:
        raise CacheError(f"{path} does not hold the arrays of this version")
    return _checked(Molecules(**arrays), path)


def _data_folder() -> Path:
    # qm9pack cannot be imported any more: its __init__ wants pkg_resources
    spec = importlib.util.find_spec("qm9pack")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "The QM9 molecules come with the package 'qm9pack', which is not installed. "
            "Install it with: pip install 'lie-attention[qm9]'",
            name="qm9pack",
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _from_csv(folder: Path) -> Molecules:
    _verify_files(folder)
    charges, sizes, index = array("B"), array("q"), array("i")
    positions, values = array("d"), array("d")
    with tqdm(total=MOLECULES, desc="reading QM9", unit=" molecules", disable=None) as bar:
        for name in _FILES:
            with (folder / name).open(newline="", encoding="utf-8") as file:
                reader = csv.reader(file, strict=True)
                column = {name: place for place, name in enumerate(next(reader))}
                number, elements, xyz = (column[key] for key in ("Index", "Elements", "XYZ_Ang"))
                targets = [column[target.column] for target in TARGETS.values()]
                for row in reader:
                    # "['C','H']" and "[[x,y,z],[x,y,z]]"
                    symbols = row[elements][2:-2].split("','")
                    coordinates = row[xyz].replace("[", "").replace("]", "").split(",")
                    index.append(int(row[number]))
                    sizes.append(len(symbols))
                    charges.extend(ELEMENTS[symbol] for symbol in symbols)
                    positions.extend(map(float, coordinates))
                    values.extend(float(row[place]) for place in targets)
                    bar.update()
    factors = np.array([target.factor for target in TARGETS.values()])
    return _checked(
        Molecules(
            charges=np.array(charges, dtype=np.uint8),
            positions=np.array(positions, dtype=np.float32).reshape(-1, 3),
            offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            index=np.array(index, dtype=np.int32),
            values=np.array(values).reshape(-1, len(TARGETS)) * factors,
        ),
        folder,
    )


def _verify_files(folder: Path) -> None:
    """Refuse files that are missing or not the published ones, so that parsing can trust them."""
    for name, expected in _FILES.items():
        path = folder / name
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise FileNotFoundError(f"qm9pack lacks its file {path}; {_REINSTALL}") from None
        if digest != expected:
            raise ValueError(
                f"{path} ({path.stat().st_size:,} bytes) is truncated, damaged or of another "
                f"release: its SHA-256 is not that of qm9pack 1.0.3; {_REINSTALL}"
            )


def _checked(molecules: Molecules, origin: Path) -> Molecules:
    """Refuse molecules that are not QM9 or not finite, naming where they came from."""
    count, atoms = len(molecules), len(molecules.charges)
    shapes: dict[str, tuple[int, ...]] = {
        "charges": (atoms,),
        "positions": (atoms, 3),
        "offsets": (count + 1,),
        "values": (count, len(TARGETS)),
    }
    for name, shape in shapes.items():
        given: npt.NDArray[Any] = getattr(molecules, name)
        if given.shape != shape:
            raise ValueError(f"{origin}: {name} has shape {given.shape}; expected {shape}")
    if count != MOLECULES:
        raise ValueError(f"{origin} holds {count:,} molecules; expected {MOLECULES:,}")
    if molecules.offsets[0] != 0 or molecules.offsets[-1] != atoms or molecules.sizes.min() < 1:
        raise ValueError(f"{origin}: the offsets do not divide the {atoms:,} atoms")
    if (np.diff(molecules.index) <= 0).any():
        raise ValueError(f"{origin}: the molecules are not in the order of the QM9 index")
    if not np.isin(molecules.charges, list(ELEMENTS.values())).all():
        raise ValueError(f"{origin} holds an element other than {', '.join(ELEMENTS)}")
    for name, rows in (
        ("coordinates", np.isfinite(molecules.positions).all(axis=1)),
        ("target values", np.isfinite(molecules.values).all(axis=1)),
    ):
        if not rows.all():
            row = int(np.argmin(rows))
            if name == "coordinates":
                row = int(np.searchsorted(molecules.offsets, row, side="right")) - 1
            raise ValueError(
                f"{origin}: the {name} of molecule {molecules.index[row]} are not finite; "
                "delete the file, so that it is built again"
            )
    return molecules
