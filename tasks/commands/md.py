"""``lie-attention md``: dynamics with a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jsonargparse import ArgumentParser

from tasks.runs.folder import refuse_links
from tasks.runs.trust import Trust

if TYPE_CHECKING:
    from ase import Atoms

    from tasks.simulate.calculator import Calculator


def md(args: Sequence[str]) -> bool:
    """Run dynamics at constant energy from a trained model; write and draw what came of it.

    Args:
        args: What follows ``md`` on the command line.

    Returns:
        True.

    Raises:
        ImportError: ase is not installed.
        ValueError: A setting is out of range, the run or the start cannot be read, or the molecule
            broke up.
    """
    try:
        from tasks.simulate.calculator import Calculator
        from tasks.simulate.dynamics import Dynamics, run_dynamics, write_series
    except ImportError as error:
        if error.name is None or not error.name.startswith("ase"):
            raise
        raise ImportError(
            "md needs the package ase: pip install 'lie-attention[md]'.", name=error.name
        ) from error
    parser = ArgumentParser(
        prog="lie-attention md",
        description="Molecular dynamics at constant energy with a model of the MD17 task.",
    )
    parser.add_argument(
        "--run", type=str, required=True, help="Folder of a finished run, or a checkpoint."
    )
    parser.add_argument(
        "--start",
        type=str | None,
        default=None,
        help="File of the molecule to start from, in any format that ASE reads; by default the "
        "training frame of lowest energy.",
    )
    parser.add_argument(
        "--output", type=str | None, default=None, help="Folder to write to; by default RUN/md."
    )
    parser.add_argument(
        "--double", type=bool, default=False, help="Whether to compute in double precision."
    )
    parser.add_argument(
        "--traced",
        type=bool,
        default=False,
        help="Whether to record the computation first, for more steps a second.",
    )
    parser.add_argument(
        "--trust",
        type=str | None,
        default=None,
        help="A package whose classes the run may name besides ours.",
    )
    parser.add_class_arguments(Dynamics, None)
    given = parser.parse_args(list(args))
    settings = Dynamics(**{each.name: getattr(given, each.name) for each in fields(Dynamics)})
    run = Path(given.run)
    torch.set_num_threads(1)  # Further threads only wait for each other on a molecule of this size.
    dtype = torch.float64 if given.double else torch.float32
    trust = Trust.of([given.trust] if given.trust else [])
    calculator = Calculator(run, dtype, given.traced, trust)
    atoms = _first_frame(calculator) if given.start is None else _read(Path(given.start))
    atoms.calc = calculator
    within = run if run.is_dir() else run.parent
    folder = Path(given.output) if given.output else within / "md"
    if not given.output:
        refuse_links(within, folder / "trajectory.traj")
    if (folder / "trajectory.traj").exists():
        raise ValueError(
            f"output: {folder} holds a dynamics already, and nothing is overwritten; name another "
            "folder by --output."
        )
    folder.mkdir(parents=True, exist_ok=True)
    series = run_dynamics(atoms, settings, folder / "trajectory.traj")
    for path in write_series(series, settings, calculator.molecule.molecule, folder):
        print(f"Written: {path}")
    print(
        f"{series.table[-1, 0]:.4g} ps at {series.temperature:.0f} K on average: the energy drifts "
        f"by {series.drift:.2g} meV/atom/ps and fluctuates by {series.fluctuation:.2g} meV/atom; "
        f"{series.steps_per_second:.0f} steps a second on one thread."
    )
    return True


def _first_frame(calculator: Calculator) -> Atoms:
    """The training frame of lowest energy."""
    from ase import Atoms

    known = calculator.molecule
    if not known.positions:
        raise ValueError("start: the checkpoint holds no frame to start from; give a file.")
    return Atoms(known.charges, known.positions)


def _read(path: Path) -> Atoms:
    from ase import Atoms
    from ase.io import read

    if not path.is_file():
        raise ValueError(f"start: there is no file {path}.")
    try:
        found: Any = read(path)
    except Exception as error:  # ASE's readers fail in any way.
        raise ValueError(f"start: ASE cannot read {path}: {error}") from error
    return Atoms(found.numbers, found.positions)
