"""Every published system that is a configuration, on the same molecules for as many epochs.

    python benchmarks/systems.py [NAME ...]

trains the configurations in tasks/configs/qm9/systems, all or those named, one after the other in
processes of their own, and writes results/attention/systems.json; rows of systems that are not
named stay as they are.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

# Beside this file is one with the name of a package that it needs: look for packages first.
sys.path.append(sys.path.pop(0))

from _results import ROOT, Row, read, stamped, write

from attention import invariance_error
from liegroups import SE3
from tasks.sources.qm9 import QM9
from tasks.training import Model

CONFIGS = ROOT / "tasks/configs/qm9/systems"
THREADS = 1

_NOTES = (
    "HOMO energies of QM9: 4,000 training and 2,000 test molecules, 3 epochs of batches of 32, "
    "seed 0, width 64, 3 layers, 8 heads (mather: 8 channels of types 0 to 3, 4 layers, 4 heads). "
    "Too short for any to be good at it: it shows what each costs and what symmetry it has. "
    "cpu_seconds: processor time of the whole command, reading the data and the test included. "
    "error_own_group and error_se3: change of the output under random elements, in units of its "
    "deviation over 32 molecules."
)


def train(name: str, folder: str) -> Path:
    """Train and test a configuration; returns the folder of the run."""
    command = [
        *(str(Path(sys.executable).with_name("lie-attention")), "fit"),
        *("--config", str(CONFIGS / f"{name}.yaml"), "--trainer.enable_progress_bar=false"),
    ]
    threads = {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, **threads})
    return next((Path(folder) / "runs").iterdir())


def error_under_rigid_motions(run: Path) -> float:
    """What random elements of SE(3) change, whatever group the network has."""
    model = Model.load_from_checkpoint(run / "checkpoints/best.ckpt", map_location="cpu")
    data = QM9(test_molecules=32, batch_size=32)
    data.setup()
    (batch,) = data.test_dataloader()
    return invariance_error(model.network, *batch.inputs, group=SE3())


def measure(name: str) -> Row:
    """One row, measured by this process and its child."""
    with tempfile.TemporaryDirectory() as folder:
        # The child of a process of its own, whose peak memory is that of the training.
        run = train(name, folder)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = json.loads((run / "metrics.json").read_text())
        return {
            "system": name,
            "parameters": found["parameters"],
            "threads": THREADS,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_mb": used.ru_maxrss / 1024,
            "mae_mev": found["test/mae"],
            "mae_constant_mev": found["test/mae_constant"],
            "group": found["equivariance/group"],
            "equivariance": found["equivariance/kind"],
            "error_own_group": found["equivariance/error"],
            "error_se3": error_under_rigid_motions(run),
        }


def earlier() -> list[Row]:
    """The rows of the result file whose systems there still are."""
    rows = read("attention/systems")
    return [row for row in rows if (CONFIGS / f"{row['system']}.yaml").exists()]


def main() -> None:
    names = sys.argv[1:] or sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    if names[0] == "--one":
        torch.set_num_threads(THREADS)
        print(json.dumps(measure(names[1])))
        return
    for name in names:
        command = [sys.executable, __file__, "--one", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = stamped(json.loads(done.stdout.strip().split("\n")[-1]))
        print(row, flush=True)
        rows = [each for each in earlier() if each["system"] != name]
        write("attention/systems", sorted([*rows, row], key=lambda each: each["system"]), _NOTES)


if __name__ == "__main__":
    main()
