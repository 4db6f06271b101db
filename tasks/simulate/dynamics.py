"""Molecular dynamics at constant energy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms, units
from ase.constraints import FixCom
from ase.data import covalent_radii
from ase.io.trajectory import Trajectory
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from matplotlib.figure import Figure
from tqdm import tqdm

from tasks.cache import write_atomic
from tasks.plots.curves import save
from tasks.units import ELECTRONVOLT

__all__ = ["Dynamics", "EnergySeries", "draw_series", "run_dynamics", "write_series"]

_STRETCH: Final = 1.6  # A bond this many times as long as at the start is broken.
_BOND: Final = 1.3  # Two atoms are bonded up to this many times the sum of their radii.
_COLUMNS: Final = ("time", "potential", "kinetic", "total", "temperature")


@dataclass(frozen=True)
class Dynamics:
    """How to run.

    Args:
        steps: Number of steps at constant energy.
        timestep: Length of a step in femtoseconds.
        temperature: Temperature in kelvin that the molecule is brought to before.
        equilibration: Number of steps in a bath of that temperature, before.
        friction: Friction of the bath in 1/femtosecond.
        interval: Steps from one written frame to the next.
        seed: Seed of the velocities and of the bath.

    Raises:
        ValueError: If a number is out of range.
    """

    steps: int = 20_000
    timestep: float = 0.5
    temperature: float = 300.0
    equilibration: int = 2_000
    friction: float = 0.02
    interval: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"steps": 2, "equilibration": 0, "interval": 1, "seed": 0}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name}: {getattr(self, name)}; accepted: {lowest} or more.")
        for name in ("timestep", "temperature", "friction"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name}: {getattr(self, name)}; accepted: above 0.")
        if self.steps < 2 * self.interval:
            raise ValueError(f"steps: {self.steps}; accepted: twice the interval or more.")


@dataclass(frozen=True, eq=False)
class EnergySeries:
    """What a dynamics at constant energy went through.

    Args:
        table: Times in ps, potential, kinetic and total energies in eV and temperatures in K of the
            3N - 6 internal degrees of freedom, one row a written frame.
        atoms: Number of atoms.
        steps_per_second: Steps a second of wall time, the writing included.
    """

    table: npt.NDArray[np.float64]
    atoms: int
    steps_per_second: float

    @property
    def _total(self) -> npt.NDArray[np.float64]:
        """The total energy less its mean, in meV an atom."""
        total = self.table[:, 3]
        return (total - total.mean()) * ELECTRONVOLT / self.atoms

    @property
    def drift(self) -> float:
        """Slope of a line through the total energy, in meV/atom/ps."""
        return float(np.polyfit(self.table[:, 0], self._total, 1)[0])

    @property
    def fluctuation(self) -> float:
        """Standard deviation of the total energy from that line, in meV/atom."""
        line = np.polyval(np.polyfit(self.table[:, 0], self._total, 1), self.table[:, 0])
        return float((self._total - line).std())

    @property
    def temperature(self) -> float:
        """Mean temperature in K."""
        return float(self.table[:, 4].mean())


def run_dynamics(atoms: Atoms, settings: Dynamics, trajectory: Path | None = None) -> EnergySeries:
    """Bring a molecule to a temperature, then let it move at constant energy.

    The bath is Langevin's. After it the velocities of the center of mass and of the rotation as a
    whole are taken away, and what follows is velocity Verlet.

    Args:
        atoms: The molecule with its calculator; it is moved.
        settings: How to run.
        trajectory: File for the frames, of ASE's format; none where absent.

    Returns:
        What it went through.

    Raises:
        ValueError: The molecule broke up.
    """
    random = np.random.RandomState(settings.seed)
    bonds = _Bonds(atoms)
    freedoms = max(3 * len(atoms) - 6, 1)  # What is left beside translation and rotation.
    thermalize_momenta(atoms, settings.temperature, rng=random)
    bath = Langevin(
        atoms,
        settings.timestep * units.fs,
        temperature_K=settings.temperature,
        friction=settings.friction / units.fs,
        fixcm=False,
        rng=random,
    )
    constraints = list(atoms.constraints)
    atoms.set_constraint([*constraints, FixCom()])  # For the bath alone, which would move it.
    rows: list[tuple[float, ...]] = []
    bar = tqdm(
        total=settings.equilibration + settings.steps, desc="dynamics", unit=" steps", disable=None
    )
    with bar:
        for start in range(0, settings.equilibration, settings.interval):
            part = min(settings.interval, settings.equilibration - start)
            bath.run(part)
            bar.update(part)
            bonds.check(atoms, "bath", (start + part) * settings.timestep / 1000)
        atoms.set_constraint(constraints)
        Stationary(atoms, preserve_temperature=False)
        ZeroRotation(atoms, preserve_temperature=False)
        verlet = VelocityVerlet(atoms, settings.timestep * units.fs)
        writer = None if trajectory is None else Trajectory(str(trajectory), "w", atoms)
        started = perf_counter()
        for step in range(0, settings.steps + 1, settings.interval):
            if step:
                verlet.run(settings.interval)
                bar.update(settings.interval)
            time = step * settings.timestep / 1000
            potential, kinetic = atoms.get_potential_energy(), atoms.get_kinetic_energy()
            temperature = 2 * kinetic / (freedoms * units.kB)
            rows.append((time, potential, kinetic, potential + kinetic, temperature))
            if writer is not None:
                writer.write()
            bonds.check(atoms, "dynamics", time)
        seconds = perf_counter() - started
        if writer is not None:
            writer.close()
    done = (len(rows) - 1) * settings.interval
    return EnergySeries(np.array(rows), len(atoms), done / seconds)


def write_series(
    series: EnergySeries, settings: Dynamics, molecule: str, folder: Path
) -> list[Path]:
    """Write ``md.json``, ``energies.csv`` and ``energy.png`` into a folder; return their paths."""
    paths = [folder / name for name in ("md.json", "energies.csv", "energy.png")]
    found: dict[str, Any] = {
        "molecule": molecule,
        **asdict(settings),
        "mean_temperature_k": series.temperature,
        "drift_mev_per_atom_per_ps": series.drift,
        "fluctuation_mev_per_atom": series.fluctuation,
        "steps_per_second": series.steps_per_second,
    }
    write_atomic(paths[0], (json.dumps(found, indent=2) + "\n").encode())
    buffer = StringIO()
    header = "time (ps),potential energy (eV),kinetic energy (eV),total energy (eV),temperature (K)"
    np.savetxt(buffer, series.table, "%.12g", ",", header=header, comments="")
    write_atomic(paths[1], buffer.getvalue().encode())
    draw_series(series, paths[2])
    return paths


def draw_series(series: EnergySeries, path: Path) -> None:
    """Draw potential and total energy against the time, each less its first value."""
    time, potential, _, total, _ = series.table.T
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for values, label, color in (
        (potential, "potential energy", "#8a8fa3"),
        (total, "total energy", "#2457a6"),
    ):
        change = (values - values[0]) * ELECTRONVOLT / series.atoms
        axes.plot(time, change, label=label, color=color, linewidth=1)
    axes.set(xlabel="time (ps)", ylabel="change (meV/atom)")
    axes.set_title(
        f"drift {series.drift:.2g} meV/atom/ps, fluctuation {series.fluctuation:.2g} meV/atom",
        fontsize="medium",
    )
    figure.legend(frameon=False, ncols=2, loc="outside lower center")
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


class _Bonds:
    """The bonds of a molecule at the start, to see when it breaks up."""

    def __init__(self, atoms: Atoms) -> None:
        radii = covalent_radii[atoms.numbers]
        distance = atoms.get_all_distances()
        first, second = np.triu_indices(len(atoms), 1)
        bonded = distance[first, second] < _BOND * (radii[first] + radii[second])
        self.pairs = first[bonded], second[bonded]
        self.length = distance[self.pairs]

    def check(self, atoms: Atoms, phase: str, time: float) -> None:
        """Raise ValueError where a bond is broken or a number is not finite."""
        length = np.linalg.norm(
            atoms.positions[self.pairs[0]] - atoms.positions[self.pairs[1]], axis=1
        )
        broken = ~(length < _STRETCH * self.length)
        if broken.any():
            worst = int(np.argmax(broken))
            names = [f"{atoms[int(side[worst])].symbol}{side[worst]}" for side in self.pairs]
            raise ValueError(
                f"the molecule broke up in the {phase}, after {time:.4g} ps: the bond "
                f"{'-'.join(names)} is {length[worst]:.3g} Å long, at the start "
                f"{self.length[worst]:.3g} Å. The model has gone beyond what it was trained on; "
                "train it better, or take a lower temperature or a shorter timestep."
            )
