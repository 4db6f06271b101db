"""Ethanol at constant energy with a trained model, and steps a second beside xTB and MACE.

    python benchmarks/molecular_dynamics.py [RUN] --mace PYTHON_OF_AN_ENVIRONMENT_WITH_MACE

RUN is the folder of a finished run of the MD17 task on ethanol, runs/ethanol unless told otherwise;
where there is none, nothing is done. mace-torch pins an old e3nn, so it
needs an environment of its own; without it that row is left out. A step is one evaluation of the
energy and the forces. All take turns, on one thread, and are timed by the processor's clock, which
does not count what other programs use.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from _results import Row, stamped, write
from ase import Atoms
from threadpoolctl import threadpool_limits

from tasks.provenance import processor_seconds
from tasks.simulate.calculator import Calculator
from tasks.simulate.dynamics import Dynamics, draw_series, run_dynamics

_CONFIG = "tasks/configs/md17/accurate.yaml"
_ROUNDS, _STEPS = 5, 40

# Runs in the other environment: a MACE of random weights, which cost as much as trained ones.
_MACE = """
import json, sys
from time import process_time
import numpy as np, torch
from ase import Atoms
from e3nn import o3
from mace import modules
from mace.calculators import MACECalculator
torch.set_num_threads(1)
torch.manual_seed(0)
torch.set_default_dtype(torch.float32)
block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
model = modules.ScaleShiftMACE(
    r_max=5.0, num_bessel=8, num_polynomial_cutoff=5, max_ell=2, interaction_cls=block,
    interaction_cls_first=block, num_interactions=2, num_elements=3,
    hidden_irreps=o3.Irreps("32x0e + 32x1o"), MLP_irreps=o3.Irreps("16x0e"), gate=torch.nn.SiLU(),
    atomic_energies=np.zeros(3), avg_num_neighbors=8.0, atomic_numbers=[1, 6, 8], correlation=3,
    radial_type="bessel", atomic_inter_scale=1.0, atomic_inter_shift=0.0,
)
calculator = MACECalculator(models=[model], device="cpu", default_dtype="float32")
given = json.load(open(sys.argv[1]))
atoms = Atoms(given["charges"], given["frames"][0])
atoms.calc = calculator
atoms.get_forces()
rounds = []
for _ in range(given["rounds"]):
    start = process_time()
    for frame in given["frames"]:
        atoms.positions = frame
        atoms.get_forces()
    rounds.append(process_time() - start)
print(json.dumps({"rounds": rounds, "parameters": sum(p.numel() for p in model.parameters())}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, nargs="?", default=Path("runs/ethanol"))
    parser.add_argument("--mace", type=Path)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    if not given.run.exists():
        print(
            f"skipped: there is no run {given.run}; train one by tasks/configs/md17/accurate.yaml"
        )
        return
    torch.set_num_threads(1)
    settings = Dynamics(steps=given.steps)
    calculators: dict[str, object] = {
        "ours": Calculator(given.run),
        "ours, traced": Calculator(given.run, traced=True),
        "ours, traced, float64": Calculator(given.run, torch.float64, traced=True),
    }
    known = calculators["ours"].molecule
    atoms = Atoms(known.charges, known.positions)
    random = np.random.RandomState(0)
    frames = [
        atoms.positions + 0.02 * random.standard_normal(atoms.positions.shape)
        for _ in range(_STEPS)
    ]
    try:
        from tblite.ase import TBLite

        calculators["GFN2-xTB (tblite)"] = TBLite(method="GFN2-xTB", verbosity=0)
    except ImportError:
        pass
    seconds: dict[str, list[float]] = {name: [] for name in calculators}
    spent = dict.fromkeys(calculators, 0.0)
    with threadpool_limits(1):
        for turn in range(_ROUNDS + 1):
            for name, calculator in calculators.items():
                atoms.calc = calculator
                start = process_time()
                for frame in frames:
                    atoms.positions = frame
                    atoms.get_forces()
                taken = process_time() - start
                spent[name] += taken
                if turn:  # The first is to warm up.
                    seconds[name].append(taken)
    parameters = sum(p.numel() for p in calculators["ours"].network.parameters())
    counts = {name: parameters for name in calculators if name.startswith("ours")}
    if given.mace is not None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "frames.json"
            path.write_text(
                json.dumps(
                    {
                        "charges": known.charges,
                        "frames": [frame.tolist() for frame in frames],
                        "rounds": _ROUNDS,
                    }
                )
            )
            started = processor_seconds()
            found = subprocess.run(
                [str(given.mace), "-c", _MACE, str(path)],
                capture_output=True,
                text=True,
                # e3nn 0.4 reads a file of its own package in a way that torch refuses by now.
                env={"OMP_NUM_THREADS": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
            )
        if found.returncode:
            sys.exit(f"mace-torch failed:\n{found.stderr[-2000:]}")
        result = json.loads(found.stdout.splitlines()[-1])
        seconds["MACE (mace-torch)"] = result["rounds"]
        counts["MACE (mace-torch)"] = result["parameters"]
        spent["MACE (mace-torch)"] = processor_seconds() - started
    rows: list[Row] = [
        {
            "model": name,
            "parameters": counts.get(name),
            "steps_per_second": round(_STEPS / median(times), 1),
            "cpu_seconds": round(spent[name], 2),
        }
        for name, times in seconds.items()
    ]
    row = rows[1]
    atoms = Atoms(known.charges, known.positions)
    atoms.calc = calculators[str(row["model"])]
    started = processor_seconds()
    series = run_dynamics(atoms, settings)
    row["cpu_seconds"] += round(processor_seconds() - started, 2)
    row |= {
        "picoseconds": round(float(series.table[-1, 0]), 3),
        "drift_mev_per_atom_per_ps": float(f"{series.drift:.3g}"),
        "fluctuation_mev_per_atom": float(f"{series.fluctuation:.3g}"),
        "mean_temperature_k": round(series.temperature, 1),
    }
    if given.picture is not None:
        draw_series(series, given.picture)
    notes = (
        f"Ethanol, velocity Verlet of {settings.timestep} fs after {settings.equilibration} steps "
        f"in a bath of {settings.temperature:g} K, seed {settings.seed}. Steps a second of one "
        f"core, by the processor's clock, medians of {_ROUNDS} rounds of {_STEPS}, the first three "
        "rows and xTB taking turns. MACE has random weights: 2 interactions of 32x0e + 32x1o, "
        "correlation 3, radius 5 Å, as ours."
    )
    print(write("md17/nve", [stamped(row) for row in rows], notes))


if __name__ == "__main__":
    main()
