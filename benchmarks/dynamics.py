"""Data efficiency on springs: roll-out errors against the number of training systems.

    python benchmarks/dynamics.py                        # what is missing of the whole table
    python benchmarks/dynamics.py --models lie-small --sizes 10 100 --seeds 0
    python benchmarks/dynamics.py summary                # the medians anew
    python benchmarks/dynamics.py cost                   # time and memory of a training step

Rows go to results/dynamics/data_efficiency.json as they are found; the medians of each model and
size to summary.json and, a row for each model, to models.json beside it. A row that stands there is
not computed again, so that a sweep can be stopped and taken up. Every model ends with the weights
of its last step: no validation systems are looked at. All are tested on the same systems.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from argparse import ArgumentParser, RawTextHelpFormatter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from statistics import median

import pytorch_lightning as pl
import torch

# Beside this file is one with the name of a package that it needs: look for packages first.
sys.path.append(sys.path.pop(0))

from _processes import Run, serve, take_turns
from _results import Row, read, spent, stamped, write

from attention import (
    Count,
    InvariantHead,
    LieTransformer,
    LinearLocation,
    LinearReadout,
    LocationMLP,
    LocationOnly,
    Product,
    SharedLocationMLP,
    Sum,
)
from liegroups import SE2, T2, AlgebraNorm, Distance, Haar, RelativePose
from tasks.networks import GraphNetwork, Perceptron
from tasks.objectives import HamiltonianDynamics
from tasks.objectives.base import Facts
from tasks.plots.dynamics import PUBLISHED
from tasks.sources.trajectories import DynamicsData
from tasks.sources.trajectories.reference import trajectories
from tasks.systems import DivergenceError, Loss, Quadrature, RollOut, Slope, Springs
from tasks.training import Model
from tasks.training.model import NetworkMaker, make_network

SIZES = (10, 25, 50, 100, 400, 1000, 3000, 10_000)
SEEDS = (0, 1, 2)
BATCH = 100  # Of AdamW.

NAME = "dynamics/data_efficiency"
NOTES = (
    "Springs of 6 particles, one stretch of 5 points a system, tested from time 0 on test_systems "
    "systems with RK4 steps of 0.01 in single precision. mse_5 and mse_100: mean squared error of "
    "positions and momenta over the first 5 and 100 points; null: a roll-out diverged. seconds and "
    "cpu_seconds: training. steps: of AdamW on batches of "
    "100 at a learning rate of 1e-3 with cosine in single precision, or of 20 iterations of L-BFGS "
    "on all systems in double precision. A seed changes the training systems as well as the "
    "weights."
)
SUMMARY_NOTES = (
    "Medians over the seeds of data_efficiency.json; published: those of LieTransformer, for "
    "lieconv of LieConv, for FC of FC, for OGN and HOGN of the graph network. "
    "cpu_seconds_of_a_run, cpu_seconds_of_N with N systems: medians of a training; cpu_seconds: "
    "all of them together."
)

LIE_TRANSFORMER = partial(LieTransformer, normalizer=Count(), head=LinearReadout)
SMALL = partial(LIE_TRANSFORMER, width=32, layers=1, heads=8)

# Minus squared lengths of translations, a linear kernel of them times content.
SPRINGS = partial(
    SMALL,
    group=T2(),
    invariant=AlgebraNorm(),
    kernel=partial(Product, location=LinearLocation),
)


@dataclass(frozen=True)
class Entry:
    """A model and how it is trained.

    Attributes:
        network: Makes the network.
        published: The published curve to compare it with.
        steps: Number of steps of the optimizer.
        optimizer: Of ``Model``; L-BFGS goes with double precision.
        learns: What the network gives.
        feature_scale: Of ``HamiltonianDynamics``.
        loss: What training makes small.
        test_systems: Number of systems of the test; fewer for what is slow to roll out.
    """

    network: NetworkMaker
    published: str | None
    steps: int
    optimizer: str
    learns: str = "potential"
    feature_scale: float = 1.0
    loss: Loss = Slope()  # noqa: RUF009 (immutable)
    test_systems: int = 2000


LIE = partial(Entry, steps=20, optimizer="lbfgs", feature_scale=0.1)
BASELINE = partial(Entry, steps=8000, optimizer="adamw")

ENTRIES: dict[str, Entry] = {
    # The form of springs, with 400 and with 2,000 iterations.
    "lie-small": LIE(SPRINGS, "LieTransformer"),
    "lie-small-long": LIE(SPRINGS, "LieTransformer", steps=100),
    # Nothing known of the form of the potential but its invariance.
    "lie-T2-perceptron": LIE(
        partial(
            SMALL,
            group=T2(),
            invariant=RelativePose(),
            kernel=partial(Product, location=SharedLocationMLP),
        ),
        "LieTransformer",
    ),
    "lie-SE2-perceptron": LIE(
        partial(
            SMALL,
            group=SE2(),
            invariant=Distance(),
            kernel=partial(Product, location=SharedLocationMLP),
        ),
        "LieTransformer",
    ),
    "lieconv-T2": LIE(
        partial(
            SMALL,
            group=T2(),
            invariant=RelativePose(),
            kernel=partial(LocationOnly, location=SharedLocationMLP),
            layers=2,
        ),
        "LieConv",
    ),
    "FC": BASELINE(partial(Perceptron, output="point"), "FC", learns="derivative"),
    "HFC": BASELINE(Perceptron, None),
    "OGN": BASELINE(
        partial(GraphNetwork, output="point"),
        "graph network",
        steps=2000,
        learns="derivative",
        test_systems=500,
    ),
    "HOGN": BASELINE(
        GraphNetwork, "graph network", steps=2000, learns="hamiltonian", test_systems=500
    ),
}


def facts_of(system: Springs) -> Facts:
    """What a network and an objective are built from."""
    return Facts(
        system.in_features, 2 * system.dim, point_dim=system.dim, max_points=system.particles
    )


def measure(name: str, size: int, seed: int, steps: int | None, test_systems: int | None) -> Row:
    """Train a model and test it: a row of the results."""
    pl.seed_everything(seed, verbose=False)
    entry = ENTRIES[name]
    steps, test_systems = steps or entry.steps, test_systems or entry.test_systems
    whole = entry.optimizer == "lbfgs"
    loss = entry.loss
    objective = partial(
        HamiltonianDynamics, learns=entry.learns, loss=loss, feature_scale=entry.feature_scale
    )
    model = Model(
        entry.network,
        objective,
        entry.optimizer,
        learning_rate=1e-3,
        warmup=0.02,
        **facts_of(Springs())._asdict(),
    )
    data = DynamicsData(
        train_systems=size,
        test_systems=test_systems,
        batch_size=size if whole else min(size, BATCH),
        seed=seed,
    )
    make_trainer = partial(
        pl.Trainer,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer = make_trainer(
        max_steps=steps,
        max_epochs=-1,
        precision="64-true" if whole else "32-true",
        gradient_clip_val=None if whole else 10.0,
    )
    data.setup()
    start, started = time.perf_counter(), time.process_time()
    trainer.fit(model, datamodule=data)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - started
    train = data.part("train")
    states, parameters = (each.to(model.dtype) for each in (train.states, train.parameters))
    with torch.no_grad():
        field = model.objective.field(model.network, parameters)
        train_loss = float(loss(Springs(), field, states))
    row: Row = {
        "model": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_systems": size,
        "seed": seed,
        "mse_5": None,
        "mse_100": None,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "threads": torch.get_num_threads(),
        "loss": type(loss).__name__,
        "optimizer": entry.optimizer,
        "steps": steps,
        "train_loss": train_loss,
        "test_systems": test_systems,
    }
    model.float().requires_grad_(False)  # Forces need derivatives by positions alone.
    try:
        tester = make_trainer(precision="32-true")
        tester.test(model, datamodule=data, verbose=False)
        found = model.results()
        row |= {"mse_5": found["test/mse_5"], "mse_100": found["test/mse_100"]}
    except DivergenceError as error:
        print(f"{name}, {size} systems, seed {seed}: {error}")
    return row


def summarize(rows: Iterable[Row]) -> list[Row]:
    """Medians of each model and number of systems, beside the published ones."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["train_systems"]), []).append(row)
    found = []
    for (model, size), group in groups.items():
        line: Row = {
            "model": model,
            "parameters": group[0]["parameters"],
            "train_systems": size,
            "seeds": len(group),
            "cpu_seconds_of_a_run": median(row["cpu_seconds"] for row in group),
        }
        curve = PUBLISHED.get(ENTRIES[model].published or "", {})
        for place, key in enumerate(("mse_5", "mse_100")):
            middle = median(inf if row[key] is None else row[key] for row in group)
            line[key] = None if middle == inf else middle
            line[f"published_{key}"] = curve[size][place] if size in curve else None
        line["cpu_seconds"] = spent(group)
        found.append(line)
    return found


def across(lines: Sequence[Row], sizes: Sequence[int] = (10, 100, 1000)) -> list[Row]:
    """The medians of each model in one row, at some sizes."""
    found: dict[str, Row] = {}
    for line in lines:
        row = found.setdefault(
            line["model"], {"model": line["model"], "parameters": line["parameters"]}
        )
        if line["train_systems"] in sizes:
            for key in ("mse_5", "mse_100"):
                row[f"{key}_of_{line['train_systems']}"] = line[key]
            row[f"cpu_seconds_of_{line['train_systems']}"] = line["cpu_seconds_of_a_run"]
            row["seeds"] = min(line["seeds"], row.get("seeds", line["seeds"]))
            row["cpu_seconds"] = spent([line, {"cpu_seconds": row.get("cpu_seconds", 0.0)}])
    return [row for row in found.values() if "seeds" in row]


def write_medians(rows: Sequence[Row]) -> None:
    """Write the files that are made from the rows of the sweep."""
    lines = summarize(rows)
    for name, found in (("summary", lines), ("models", across(lines))):
        made = [stamped(line | {"sources": f"results/{NAME}.json"}) for line in found]
        write(f"dynamics/{name}", made, SUMMARY_NOTES)


def sweep(
    models: Sequence[str],
    sizes: Sequence[int],
    seeds: Sequence[int],
    steps: int | None,
    test_systems: int | None,
) -> None:
    warnings.filterwarnings("ignore", module="pytorch_lightning.*")
    known = list(ENTRIES)
    for seed in seeds:
        for size in sizes:
            for name in models:
                key = (name, size, seed)
                if key in {(r["model"], r["train_systems"], r["seed"]) for r in read(NAME)}:
                    continue
                row = measure(name, size, seed, steps, test_systems)
                print(row, flush=True)
                rows = sorted(
                    [*read(NAME), stamped(row)],
                    key=lambda r: (known.index(r["model"]), r["train_systems"], r["seed"]),
                )
                write(NAME, rows, NOTES)
                write_medians(rows)


# ---- time and memory of a step ---------------------------------------------------------------

PUBLIC = partial(
    LieTransformer,
    normalizer=Count(),
    kernel=partial(Sum, location=LocationMLP),
    head=partial(InvariantHead, pooling="sum"),
    heads=8,
)
"""Kernel, normalizer and head of the LieTransformer's public code."""

STEPS: dict[str, tuple[NetworkMaker, Loss, torch.dtype]] = {
    "LieTransformer-T2, 160 x 5, roll-out": (
        partial(PUBLIC, group=T2(), width=160, layers=5),
        RollOut(),
        torch.float32,
    ),
    "LieTransformer-T2, 160 x 5, slope": (
        partial(PUBLIC, group=T2(), width=160, layers=5),
        Slope(),
        torch.float32,
    ),
    "LieTransformer-SE2, 80 x 3, 2 lifts, roll-out": (
        partial(PUBLIC, group=SE2(), lift=Haar(count=2), width=80, layers=3),
        RollOut(),
        torch.float32,
    ),
    "lie-small, roll-out": (SPRINGS, RollOut(), torch.float64),
    "lie-small, quadrature": (SPRINGS, Quadrature(), torch.float64),
    "lie-small, slope": (SPRINGS, Slope(), torch.float64),
}


def cost(repeats: int, threads: int) -> None:
    # Threads that wait in a loop count as busy; where the machine has more to do, they wait long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    cases = [{"what": name, "batch": BATCH, "threads": threads} for name in STEPS]
    rows = [case | row for case, row in zip(cases, take_turns(cases, repeats), strict=True)]
    for row in rows:
        print(row, flush=True)
    notes = (
        f"A training step on {BATCH} springs of 6 particles, stretches of 5 points: loss, "
        f"gradient, step of AdamW. Medians of {repeats} after a warm-up; the cases take turns. "
        "Processor seconds are those of all threads. peak_mb is that of the whole process, of "
        "which baseline_mb are torch and this package. ratio: of processor seconds to those of the "
        "first case."
    )
    write("dynamics/cost", [stamped(row) for row in rows], notes)


def build(case: Row) -> Run:
    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    make, loss, dtype = STEPS[case["what"]]
    system = Springs()
    scale = 0.1 if make is SPRINGS else 1.0
    objective = HamiltonianDynamics(facts_of(system), loss=loss, feature_scale=scale)
    objective.system = system
    network = make_network(make, objective).to(dtype)
    drawn = trajectories(system, case["batch"], 5, progress=False)
    states, parameters = drawn.states.to(dtype), drawn.parameters.to(dtype)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def forward() -> Callable[[], object]:
        optimizer.zero_grad()
        value = loss(system, objective.field(network, parameters, 0), states)

        def backward() -> None:
            value.backward()
            optimizer.step()

        return backward

    count = sum(p.numel() for p in network.parameters())
    return Run(forward, lambda: {"parameters": count, "dtype": str(dtype).removeprefix("torch.")})


def main() -> None:
    known = list(ENTRIES)
    parser = ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["sweep", "summary", "cost"], default="sweep")
    parser.add_argument("--models", nargs="+", choices=known, default=known)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, help="in place of the model's own number")
    parser.add_argument("--test-systems", type=int, help="in place of the model's own number")
    parser.add_argument("--repeats", type=int, default=3, help="of cost")
    parser.add_argument("--threads", type=int, default=2, help="of cost")
    given = parser.parse_args()
    if given.what == "cost":
        cost(given.repeats, given.threads)
    elif given.what == "summary":
        write_medians(read(NAME))
    else:
        sweep(given.models, given.sizes, given.seeds, given.steps, given.test_systems)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["case", row]:
            serve(json.loads(row), build)
        case _:
            main()
