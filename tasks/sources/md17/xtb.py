"""Frames made by molecular dynamics, where no data are at hand."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from liegroups.checks import check_count, check_number, check_seed
from tasks.cache import (
    CacheError,
    cache_directory,
    check_name,
    keep_arrays,
    load_arrays,
    source_digest,
)
from tasks.sources.md17.frames import Frames, Source
from tasks.units import ELECTRONVOLT

logger = logging.getLogger(__name__)

CACHE_VERSION: Final = 2
_MOST_STEPS: Final = 1_000_000  # A day for a small molecule.
METHOD: Final = "GFN2-xTB"
NAMES: Final = {"ethanol": "CH3CH2OH", "benzene": "C6H6"}
"""What ASE calls the molecules of MD17 that it has."""

_PACKAGES: Final = ("tblite", "ase")
"""What makes the frames; another version makes others."""


@dataclass(frozen=True)
class XTB(Source):
    """Frames of a molecule from Langevin dynamics with GFN2-xTB, a fast quantum-chemical method.

    They are made once, 1,000 of ethanol in about a minute, and kept in the cache. The same
    settings give the same frames; where other versions of tblite or ase are installed than made
    them, a warning says so, and they are made again. Needs the packages tblite and ase: the extra
    ``md``.

    Args:
        frames: Number of frames.
        interval: Steps from frame to frame.
        temperature: Temperature of the bath in kelvin.
        timestep: Length of a step in femtoseconds.
        friction: Friction of the bath in 1/femtosecond.
        equilibration: Steps before the first frame.
        seed: Seed of the bath.
        geometry: File of the molecule at rest, in any format that ASE reads, for one that ASE does
            not know by name, such as aspirin.
        cache_dir: Folder of the frames; without it, the environment variable
            LIE_ATTENTION_CACHE or the user's cache folder.

    Raises:
        ValueError: If a number is out of range.

    Reference:
        Bannwarth, Ehlert and Grimme 2019, GFN2-xTB, an accurate and broadly parametrized
        self-consistent tight-binding quantum chemical method.
    """

    frames: int = 1500
    interval: int = 20
    temperature: float = 500.0
    timestep: float = 0.5
    friction: float = 0.01
    equilibration: int = 2000
    seed: int = 0
    geometry: str | None = None
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        check_count("XTB.frames", self.frames, most=_MOST_STEPS)
        check_count("XTB.interval", self.interval, most=_MOST_STEPS)
        check_count("XTB.equilibration", self.equilibration, 0, _MOST_STEPS)
        check_number("XTB.temperature", self.temperature, above=0, most=100_000)
        check_number("XTB.timestep", self.timestep, above=0, most=100)
        check_number("XTB.friction", self.friction, above=0, most=1_000)
        check_seed("XTB.seed", self.seed)

    def load(self, molecule: str) -> Frames:
        """Make the frames, or read them where they have been made.

        Args:
            molecule: ``ethanol``, ``benzene``, or a formula of ASE's collection of molecules, for
                example ``CH3COCH3``; any name where there is a geometry.

        Raises:
            ImportError: There are no such frames yet, and tblite or ase is not installed.
            ValueError: ASE does not know the molecule or cannot read the geometry, it is a single
                atom, has an unknown element or overlapping atoms, or breaks apart.
        """
        path = self.path(molecule)
        arrays = None
        if path is not None:
            try:
                arrays = _known(path)
            except FileNotFoundError:
                pass
            except CacheError as error:
                logger.warning("%s; the frames are made again", error)
        if arrays is None:
            arrays = self._run(molecule)
            if path is not None:
                keep_arrays(
                    path,
                    arrays | {"versions": _versions()},
                    version=CACHE_VERSION,
                    otherwise="the frames are made every time",
                    setting="data.source.cache_dir",
                )
        parts = (arrays[name] for name in ("charges", "positions", "energies", "forces"))
        charges, positions, energies, forces = parts
        return Frames(molecule, METHOD, charges, positions, energies, forces)

    def path(self, molecule: str) -> Path | None:
        """The file that the frames of a molecule are kept in.

        Its name tells the settings apart, and the class with its source. The frames of a class
        that was typed in are not kept.

        Raises:
            ValueError: The molecule is not a name, or there is no such geometry.
        """
        check_name("molecule", molecule)
        kind = type(self)
        source = source_digest(kind)
        if source is None:
            return None
        settings = asdict(self) | {"molecule": NAMES.get(molecule, molecule), "method": METHOD}
        del settings["cache_dir"], settings["geometry"]
        settings["class"] = f"{kind.__module__}.{kind.__qualname__} {source}"
        if self.geometry is not None:
            settings["geometry"] = hashlib.sha256(self._geometry().read_bytes()).hexdigest()
        text = json.dumps(settings, sort_keys=True, default=repr)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        return cache_directory(self.cache_dir) / "md17" / f"xtb-{settings['molecule']}-{key}.npz"

    def _geometry(self) -> Path:
        path = Path(str(self.geometry)).expanduser()
        if not path.is_file():
            raise ValueError(f"geometry: there is no file {path}.")
        return path

    def _run(self, molecule: str) -> dict[str, npt.NDArray[Any]]:
        try:
            from ase import units
            from ase.calculators.calculator import CalculatorError
            from ase.constraints import FixCom
            from ase.md.langevin import Langevin
            from tblite.ase import TBLite
            from threadpoolctl import threadpool_limits
        except ImportError as error:
            raise ImportError(
                f"XTB makes the frames with tblite and ase, but {error.name} is not installed. "
                "Install them with: pip install 'lie-attention[md]', or read data by the source "
                "RMD17.",
                name=error.name,
            ) from error
        atoms = _build(molecule) if self.geometry is None else _read(self._geometry())
        if len(atoms) < 2:
            raise ValueError(f"molecule: {molecule} is a single atom, which no force acts on.")
        nothing = np.zeros((1, len(atoms), 3))
        charges = atoms.numbers.astype(np.int64)
        # Raises where an element is unknown or atoms overlap.
        Frames(molecule, METHOD, charges, atoms.positions[None], nothing[:, 0, 0], nothing)
        atoms.calc = TBLite(method=METHOD, verbosity=0)
        atoms.set_constraint(FixCom())
        dynamics = Langevin(
            atoms,
            self.timestep * units.fs,
            temperature_K=self.temperature,
            friction=self.friction / units.fs,
            fixcm=False,
            rng=np.random.RandomState(self.seed),
        )
        positions, energies, forces = [], [], []

        def advance(part: int) -> None:
            try:
                dynamics.run(part)
            except CalculatorError as error:
                raise ValueError(
                    f"the dynamics of {molecule} came to a molecule that {METHOD} cannot compute "
                    f"({error}); take a timestep shorter than {self.timestep} fs or a temperature "
                    f"below {self.temperature} K."
                ) from error

        steps = self.equilibration + self.frames * self.interval
        # More threads than one only wait for each other on a molecule of this size.
        with (
            tqdm(total=steps, desc=f"{METHOD} of {molecule}", unit=" steps", disable=None) as bar,
            threadpool_limits(1),
        ):
            for number in range(-1, self.frames):
                part = self.equilibration if number < 0 else self.interval
                advance(part)
                bar.update(part)
                if number >= 0:
                    positions.append(atoms.get_positions())
                    energies.append(atoms.get_potential_energy())
                    forces.append(atoms.get_forces(apply_constraint=False))
        return {
            "charges": charges,
            "positions": np.array(positions),
            "energies": np.array(energies) * ELECTRONVOLT,
            "forces": np.array(forces) * ELECTRONVOLT,
        }


def _versions() -> npt.NDArray[np.uint8]:
    """The installed versions of what makes frames, as text; of what is not installed nothing."""
    found = {}
    for name in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return np.frombuffer(json.dumps(found).encode(), np.uint8)


def _known(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read frames that are kept.

    Raises:
        FileNotFoundError: There are none.
        CacheError: They are damaged, or were made by other versions than are installed.
    """
    arrays = load_arrays(path, version=CACHE_VERSION)
    made_by = json.loads(arrays.pop("versions").tobytes())
    for name, installed in json.loads(_versions().tobytes()).items():
        if made_by.get(name) != installed:
            raise CacheError(f"{path} was made by {name} {made_by.get(name)}; {installed} is here")
    return arrays


def _build(molecule: str) -> Any:
    """The molecule as ASE has it, at rest."""
    from ase.build import molecule as build
    from ase.collections import g2

    name = NAMES.get(molecule, molecule)
    try:
        atoms = build(name)
    except (KeyError, NotImplementedError):
        near = difflib.get_close_matches(molecule, [*NAMES, *g2.names]) or ["CH3COCH3", "C4H4O"]
        raise ValueError(
            f"molecule: ASE does not know {molecule!r}; it has {', '.join(NAMES)} and formulas of "
            f"its collection g2 such as {', '.join(near)}. For another molecule name a file of its "
            "geometry by source.geometry."
        ) from None
    return atoms


def _read(path: Path) -> Any:
    """The molecule in a file, without a cell and without velocities."""
    from ase import Atoms
    from ase.io import read

    try:
        found: Any = read(path)
    except Exception as error:  # ASE's readers fail in any way.
        raise ValueError(f"geometry: ASE cannot read {path}: {error}") from error
    return Atoms(found.numbers, found.positions)
