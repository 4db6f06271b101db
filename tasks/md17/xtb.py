"""Frames made by molecular dynamics, where no data are at hand."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from tasks.cache import CACHE_VARIABLE, CacheError, cache_directory, load_arrays, save_arrays
from tasks.md17.frames import Frames, Source
from tasks.md17.units import ELECTRONVOLT

logger = logging.getLogger(__name__)

CACHE_VERSION: Final = 1
METHOD: Final = "GFN2-xTB"
NAMES: Final = {"ethanol": "CH3CH2OH", "benzene": "C6H6"}
"""What ASE calls the molecules of MD17 that it has."""


@dataclass(frozen=True)
class XTB(Source):
    """Frames of a molecule from Langevin dynamics with GFN2-xTB, a fast quantum-chemical method.

    They are made once, 1,000 of ethanol in about a minute, and kept in the cache. The same
    settings give the same frames. Needs the packages tblite and ase: the extra ``md``.

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
        for name, least in {"frames": 1, "interval": 1, "equilibration": 0, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)}; accepted: {least} or more.")
        for name in ("temperature", "timestep", "friction"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: {getattr(self, name)}; accepted: above 0.")

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
        try:
            arrays = load_arrays(path, version=CACHE_VERSION)
        except FileNotFoundError:
            arrays = self._make(molecule, path)
        except CacheError as error:
            logger.warning("%s; the frames are made again", error)
            arrays = self._make(molecule, path)
        parts = (arrays[name] for name in ("charges", "positions", "energies", "forces"))
        charges, positions, energies, forces = parts
        return Frames(molecule, METHOD, charges, positions, energies, forces)

    def path(self, molecule: str) -> Path:
        """The file that the frames of a molecule are kept in; its name tells the settings apart."""
        settings = asdict(self) | {"molecule": NAMES.get(molecule, molecule), "method": METHOD}
        del settings["cache_dir"], settings["geometry"]
        if self.geometry is not None:
            settings["geometry"] = hashlib.sha256(self._geometry().read_bytes()).hexdigest()
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        return cache_directory(self.cache_dir) / "md17" / f"xtb-{settings['molecule']}-{key}.npz"

    def _geometry(self) -> Path:
        path = Path(str(self.geometry)).expanduser()
        if not path.is_file():
            raise ValueError(f"geometry: there is no file {path}.")
        return path

    def _make(self, molecule: str, path: Path) -> dict[str, npt.NDArray[Any]]:
        arrays = self._run(molecule)
        try:
            save_arrays(path, arrays, version=CACHE_VERSION)
        except OSError as error:
            logger.warning(
                "the cache %s cannot be written (%s), so the frames are made every time; name a "
                "folder that can be, by cache_dir or the environment variable %s",
                path,
                error.strerror or error,
                CACHE_VARIABLE,
            )
        return arrays

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
