"""Data efficiency on springs: roll-out errors against the number of training systems.

    python benchmarks/dynamics.py                        # what is missing of the whole table
    python benchmarks/dynamics.py --models lie-small --sizes 10 100 --seeds 0

Rows go to results/dynamics/data_efficiency.json as they are found; a row that stands there is not
computed again, so that a sweep can be stopped and taken up. Every model ends with the weights of
its last step: no validation systems are looked at. Tested on the same 2,000 systems.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

# Beside this file is one with the name of a package that it needs: look for packages first.
sys.path.append(sys.path.pop(0))

from _results import ROOT, write

from attention import LinearLocation, LocationOnly, Product, SharedLocationMLP
from liegroups import SE2, T2, AlgebraNorm, Distance, RelativePose
from tasks.dynamics import (
    FC,
    HFC,
    HOGN,
    OGN,
    DivergenceError,
    DynamicsData,
    DynamicsModel,
    LearnedField,
    LieHamiltonian,
    RollOut,
    Slope,
    System,
)

NAME = "dynamics/data_efficiency"
SIZES = (10, 25, 50, 100, 400, 1000, 3000)
NOTES = (
    "Springs of 6 particles, one stretch of 5 points a system, tested from time 0 on 2,000 systems "
    "with RK4 steps of 0.01. mse_5 and mse_100: mean squared error of positions and momenta over "
    "the first 5 and 100 points. seconds: training, on the threads given. An error of null: a "
    "roll-out diverged. Models named lie-... are LieHamiltonian with linear readout, the loss "
    "Slope and L-BFGS in double precision; baselines have the loss RollOut and AdamW."
)

Maker = Callable[[System], LearnedField]

SMALL = partial(LieHamiltonian, feature_scale=0.1, width=32, layers=1, heads=8)

LIE: dict[str, Maker] = {
    # Minus squared lengths of translations, a linear kernel of them times content.
    "lie-small": partial(
        SMALL,
        group=T2(),
        invariant=AlgebraNorm(),
        kernel=partial(Product, location=LinearLocation),
    ),
    # Nothing known of the form of the potential but its invariance.
    "lie-T2-perceptron": partial(
        SMALL,
        group=T2(),
        invariant=RelativePose(),
        kernel=partial(Product, location=SharedLocationMLP),
    ),
    "lie-SE2-perceptron": partial(
        SMALL,
        group=SE2(),
        invariant=Distance(),
        kernel=partial(Product, location=SharedLocationMLP),
    ),
    "lieconv-T2": partial(
        SMALL,
        group=T2(),
        invariant=RelativePose(),
        kernel=partial(LocationOnly, location=SharedLocationMLP),
        layers=2,
    ),
}
BASELINES: dict[str, Maker] = {"FC": FC, "HFC": HFC, "OGN": OGN, "HOGN": HOGN}


def measure(name: str, size: int, seed: int, steps: int, test_systems: int) -> dict[str, Any]:
    """Train a model and test it: a row of the results."""
    pl.seed_everything(seed, verbose=False)
    lie = name in LIE
    model = DynamicsModel(
        field=LIE[name] if lie else BASELINES[name],
        loss=Slope() if lie else RollOut(),
        optimizer="lbfgs" if lie else "adamw",
        learning_rate=1e-3,
    )
    batch = size if lie else min(size, 100)
    data = DynamicsData(
        train_systems=size,
        test_systems=test_systems,
        batch_size=batch,
        seed=seed,
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps if lie else 10 * steps,
        max_epochs=-1,
        precision="64-true" if lie else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        gradient_clip_val=None if lie else 1.0,
    )
    data.setup()
    start = time.perf_counter()
    trainer.fit(model, datamodule=data)
    seconds = time.perf_counter() - start
    row: dict[str, Any] = {
        "model": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_systems": size,
        "seed": seed,
        "mse_5": None,
        "mse_100": None,
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "steps": steps if lie else 10 * steps,
        "test_systems": test_systems,
    }
    try:
        found = trainer.test(model, datamodule=data, verbose=False)[0]
        row |= {"mse_5": found["test/mse_5"], "mse_100": found["test/mse_100"]}
    except DivergenceError as error:
        print(f"{name}, {size} systems, seed {seed}: {error}")
    return row


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows that stand in a result file."""
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def main() -> None:
    known = [*LIE, *BASELINES]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=known, default=known)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=20, help="of 20 iterations of L-BFGS")
    parser.add_argument("--test-systems", type=int, default=2000)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="pytorch_lightning.*")
    path = ROOT / "results" / f"{NAME}.json"
    for seed in arguments.seeds:
        for size in arguments.sizes:
            for name in arguments.models:
                key = (name, size, seed)
                rows = rows_of(path)
                if key in {(r["model"], r["train_systems"], r["seed"]) for r in rows}:
                    continue
                row = measure(name, size, seed, arguments.steps, arguments.test_systems)
                print(row, flush=True)
                rows = sorted(
                    [*rows_of(path), row],
                    key=lambda r: (known.index(r["model"]), r["train_systems"], r["seed"]),
                )
                write(NAME, rows, NOTES)


if __name__ == "__main__":
    main()
