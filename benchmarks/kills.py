"""Kill trainings and studies at random moments, go on with them, and compare with undisturbed ones.

    python benchmarks/kills.py [--kills 20] [--seed 0]

A short training, and a study of two, are begun in a process of their own, which is killed by the
signal KILL at a random moment: it, or the process that started it. Then the command that the pages
give is given until the work is complete. What is compared is every weight of the last checkpoint,
to the bit, and every figure of the test. Results go to results/reliability/kills.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

# Beside this file is one with the name of a package that it needs: look for packages first.
sys.path.append(sys.path.pop(0))

from _results import read, stamped, write

from tasks.provenance import processor_seconds

CONFIG: dict[str, Any] = {
    "task": "md17",
    "model": {
        "network": {
            "class_path": "LieTransformer",
            "init_args": {"group": "T3", "width": 8, "layers": 1, "heads": 2, "pooling": "sum"},
        },
        "objective": {"class_path": "EnergiesAndForces"},
    },
    "data": {
        "source": {"class_path": "tasks.sources.md17.Springs", "init_args": {"frames": 60}},
        "train_frames": 40,
        "val_frames": 8,
        "test_frames": 8,
        "batch_size": 2,
    },
    "trainer": {"max_epochs": 12, "enable_progress_bar": False},
}
SEEDS = (0, 1)
COMMAND = [sys.executable, "-m", "tasks.commands.main"]
PARENT = "import subprocess, sys; subprocess.run(sys.argv[1:])"
_LIMIT = 300.0
_NOTES = (
    "A training of 12 epochs of 20 steps on a toy, and a study of two of them side by side. kills: "
    "how often the signal KILL hit a process that was still at work, at a moment that is uniform "
    "over the time of the undisturbed command, starting up and testing included. resumed_equal: "
    "how many of the trainings and studies that went on after it ended with the weights, to the "
    "bit, and the test figures of the undisturbed one."
)


def environment() -> dict[str, str]:
    """One thread, and the packages that this process sees."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def start(arguments: list[str], folder: Path, below: bool) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, or a process that starts it."""
    command = [*COMMAND, *arguments]
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, *command] if below else command,
        cwd=folder,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def finish(arguments: Callable[[], list[str]], done: Callable[[], bool], folder: Path) -> None:
    """Give a command until its work is done, as somebody would who finds it stopped."""
    end = time.monotonic() + _LIMIT
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"{arguments()} is not done after {_LIMIT} seconds")
        start(arguments(), folder, below=False).wait(_LIMIT)


def outcome(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights, and every figure of the test and of the epochs but times."""
    weights = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    metrics = json.loads((run / "metrics.json").read_text())
    history = [
        {k: v for k, v in row.items() if k == "epoch" or k.startswith("val/")}
        for row in metrics["history"]
    ]
    figures = {k: v for k, v in metrics.items() if k.startswith(("test/", "equivariance/"))}
    return {name: value.tolist() for name, value in weights.items()}, {"h": history, **figures}


class Training:
    """A training, begun and gone on with by ``fit``."""

    what = "training"

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.run = folder, folder / name

    def arguments(self) -> list[str]:
        if (self.run / "config.yaml").exists():
            return ["fit", "--resume", self.run.name]
        return ["fit", "--config", "config.yaml", "--run", self.run.name]

    def done(self) -> bool:
        return (self.run / "metrics.json").exists()

    def outcome(self) -> Any:
        return outcome(self.run)


class Study(Training):
    """A study, begun and gone on with by ``ablate``."""

    what = "study"

    def arguments(self) -> list[str]:
        grid = f"--grid.seed_everything={list(SEEDS)}"
        return ["ablate", "--config", "config.yaml", grid, "--folder", self.run.name]

    def done(self) -> bool:
        results = self.run / "results.json"
        return results.exists() and len(json.loads(results.read_text())["rows"]) == len(SEEDS)

    def outcome(self) -> Any:
        return [outcome(run) for run in sorted((self.run / "runs").iterdir()) if run.is_dir()]


def processes_below(parent: int) -> list[int]:
    """The processes that one has started, and those that they have."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    children = [int(word) for word in found.stdout.split()]
    return children + [each for child in children for each in processes_below(child)]


def kill_once(work: Training, whom: str, moment: float, rng: random.Random) -> bool:
    """Begin, kill at a moment, and go on to the end; say whether anything was still running."""
    below = isinstance(work, Study) is False and whom == "parent"
    process = start(work.arguments(), work.folder, below)
    time.sleep(moment)
    victim = process.pid
    if isinstance(work, Study) and whom == "process":  # One of those that carry out its runs.
        victim = rng.choice(processes_below(process.pid) or [process.pid])
    hit = process.poll() is None and not work.done()
    if hit:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            hit = False
    process.wait(_LIMIT)
    finish(work.arguments, work.done, work.folder)
    return hit


def measure(kind: type[Training], whom: str, kills: int, rng: random.Random) -> dict[str, Any]:
    """Kill so many of one kind, and compare each with an undisturbed one."""
    spent = processor_seconds()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
        whole = kind(folder, "whole")
        begun = time.monotonic()
        finish(whole.arguments, whole.done, folder)
        seconds, expected = time.monotonic() - begun, whole.outcome()
        done = equal = tries = 0
        while done < kills:
            work = kind(folder, f"killed-{tries}")
            tries += 1
            if not kill_once(work, whom, rng.uniform(0, seconds), rng):
                continue
            done += 1
            equal += work.outcome() == expected
            print(f"{kind.what}, {whom}: {done} killed, {equal} equal", flush=True)
    return {
        "what": kind.what,
        "killed": whom,
        "kills": done,
        "resumed_equal": equal,
        "cpu_seconds": round(processor_seconds() - spent, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="Kills of each kind.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("training", "study"), help="One of the two alone.")
    parser.add_argument("--killed", choices=("process", "parent"), help="One of the two alone.")
    given = parser.parse_args()
    name = "reliability/kills"
    for kind in (Training, Study):
        for whom in ("process", "parent"):
            if given.only not in (None, kind.what) or given.killed not in (None, whom):
                continue
            rng = random.Random(f"{given.seed} {kind.what} {whom}")
            row = measure(kind, whom, given.kills, rng)
            others = [r for r in read(name) if (r["what"], r["killed"]) != (kind.what, whom)]
            write(name, [*others, stamped(row)], _NOTES)


if __name__ == "__main__":
    main()
