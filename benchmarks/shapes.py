"""Shape counting: the table, the study of invariance, the ceiling, and speed.

    OMP_NUM_THREADS=1 python benchmarks/shapes.py table RESULTS_OF_ABLATE...
    OMP_NUM_THREADS=1 python benchmarks/shapes.py summary
    OMP_NUM_THREADS=1 python benchmarks/shapes.py invariance [--run RUN_WITH_HAAR_LIFTS]
    OMP_NUM_THREADS=1 python benchmarks/shapes.py ceiling
    OMP_NUM_THREADS=1 python benchmarks/shapes.py speed

- table: what `lie-attention ablate` found in the studies of tasks/configs/shapes, one row for each
  pair of training and test set.
- summary: means and deviations over the seeds of the table, which table writes too.
- invariance: how much the scores change when clouds are rotated and translated, against the number
  of lift samples, in float64, for an untrained network like the paper's (1 layer of width 8) and
  for the weights of a run. The picture goes into docs/images.
- ceiling: the accuracy of a decoder that knows the law of the clouds: the most probable way to
  divide a cloud into shapes, by integer programming. It uses no orientation, like SE(2).
- speed: clouds a second, generated and trained on, beside lie-transformer-pytorch, which stands in
  for the paper's public code; it lives in an environment of its own, see benchmarks/attention.py.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch

# A file beside this one has the name of a package: look for that one elsewhere first.
sys.path.append(sys.path.pop(0))

from _results import ROOT, Row, read, spent, stamped, write
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from attention import Count, LieTransformer, LinearLocation, LocationOnly, SumHead
from liegroups import (
    SE2,
    T2,
    Concat,
    CyclicGroup,
    Distance,
    Frames,
    FullOrbit,
    Grid,
    Haar,
    Invariant,
    RelativeMatrix,
    RelativePose,
    Sampler,
)
from tasks.plots.shapes import CELLS, PUBLISHED, draw_invariance
from tasks.provenance import UNKNOWN, processor_seconds, recorded
from tasks.runs.checkpoint import load_model
from tasks.sources.shapes import Patterns, Shapes, move
from tasks.training import Model

SAMPLES = (1, 2, 3, 4, 6, 8, 12, 16, 24)

_COUNTER = partial(
    LieTransformer, group=SE2(), in_features=1, out_features=12, normalizer=Count(), head=SumHead
)
"""The network of the task, which gives the scores of four shapes at three counts each."""


# ---- the table ---------------------------------------------------------------------------------


def table(files: list[str]) -> None:
    rows: list[Row] = []
    for file in files:
        for found in json.loads(Path(file).read_text())["rows"]:
            rows += [
                {
                    "network": found["network"],
                    "train": found["train"],
                    "test": test,
                    "seed": found["seed"],
                    "accuracy": round(found[f"accuracy_{test}"], 4),
                    "seconds": round(found["seconds"], 1),
                    "parameters": found["parameters"],
                    "equivariance": found["kind"],
                    **recorded(found),
                }
                for test in ("D", "T2", "SE2")
            ]
    print(write("shapes/table", rows, "One thread; seconds are those of training."))
    write_summary(rows)


def write_summary(rows: list[Row]) -> None:
    notes = (
        "Mean ± standard deviation over the seeds; seconds are the mean of those of a training, "
        "cpu_seconds those of all trainings together."
    )
    print(write("shapes/summary", [stamped(line) for line in summary(rows)], notes))


def summary(rows: list[Row]) -> list[Row]:
    """One row a network: its cells as text, its cost; and the published rows."""
    found: list[Row] = []
    for network in dict.fromkeys(str(row["network"]) for row in rows):
        own = [row for row in rows if row["network"] == network]
        line: Row = {"network": network}
        for train, test in CELLS:
            cell = [row["accuracy"] for row in own if (row["train"], row["test"]) == (train, test)]
            if cell:
                text = f"{np.mean(cell):.3f}"
                spread = f" ± {np.std(cell, ddof=1):.3f}" if len(cell) > 1 else ""
                line[f"{train}_{test}"] = text + spread
        gaps = [
            abs(of_d["accuracy"] - of_se2["accuracy"])
            for of_d, of_se2 in zip(
                (row for row in own if (row["train"], row["test"]) == ("D", "D")),
                (row for row in own if (row["train"], row["test"]) == ("D", "SE2")),
                strict=True,
            )
        ]
        line |= {
            "seeds": len({row["seed"] for row in own}),
            "largest_gap": max(gaps, default=None),
            "seconds": float(np.mean([row["seconds"] for row in own])),
            "parameters": own[0]["parameters"],
            "sources": "results/shapes/table.json",
            # Each training is tested on all three.
            "cpu_seconds": spent(row for row in own if row["test"] == "D"),
        }
        found.append(line)
    for network, cells in PUBLISHED.items():
        line = {"network": f"{network} (published)"}
        line |= {f"{a}_{b}": f"{value:.2f}" for (a, b), value in cells.items()}
        line |= {"sources": "tasks/plots/shapes.py", "cpu_seconds": UNKNOWN}
        found.append(line)
    return found


# ---- invariance ----------------------------------------------------------------------------------


@torch.no_grad()
def change(network: nn.Module, count: int, seed: int = 0) -> list[float]:
    """The largest change of a score of each cloud under a random element of SE(2)."""
    patterns = Patterns(repetitions=1)
    clouds = patterns.sample(count, (9, seed))
    moved = move(clouds, "SE2", 12 * patterns.unit, np.random.default_rng(seed))
    changes = []
    for place in range(count):
        size = clouds.mask[place].sum()
        features = torch.ones(1, size, 1, dtype=torch.float64)
        mask = torch.ones(1, size, dtype=torch.bool)
        scores = [
            network(features, torch.from_numpy(made.points[place : place + 1, :size]), mask)
            for made in (clouds, moved)
        ]
        changes.append(float((scores[1] - scores[0]).abs().max()))
    return changes


def invariance(run: str | None) -> None:
    lifts: dict[str, list[tuple[int | None, Sampler]]] = {
        "Haar": [(n, Haar(n)) for n in SAMPLES],
        "grid": [(n, Grid(n)) for n in SAMPLES],
        "full orbit of C(n)": [(n, FullOrbit(CyclicGroup(n))) for n in SAMPLES],
        "frames (exact)": [(None, Frames())],
    }
    unit = Patterns().unit

    def untrained(invariant: Invariant, sampler: Sampler) -> nn.Module:
        torch.manual_seed(0)
        return _COUNTER(invariant=invariant, lift=sampler, unit=unit, width=8, layers=1, heads=2)

    def trained(sampler: Sampler) -> nn.Module:
        model = load_model(Model, Path(run or "") / "checkpoints/best.ckpt")
        model.network.sampler = sampler
        return model.network

    panels = {
        "untrained, logarithms as in the paper": partial(untrained, RelativePose()),
        "untrained, matrix entries": partial(untrained, RelativeMatrix()),
    }
    if run is not None:
        panels["trained with one Haar sample"] = trained
    rows: list[Row] = []
    for weights, make in panels.items():
        for lift, samplers in lifts.items():
            for samples, sampler in samplers:
                count = max(6, min(16, 48 // (samples or 1)))
                rows.append(row_of(weights, lift, samples, partial(make, sampler), count))
                print(rows[-1], flush=True)
        if "trained with" not in weights:
            exact = partial(untrained, Distance(), Haar(1))
            rows.append(row_of(weights, "distances (exact)", None, exact, 32))
    path = write("shapes/invariance", rows, "float64; the change is under a random element of SE2.")
    picture = ROOT / "docs/images/shapes_invariance.png"
    print(path, draw_invariance(str(path), str(picture)))


def row_of(
    weights: str, lift: str, samples: int | None, make: Callable[[], nn.Module], count: int
) -> Row:
    started = processor_seconds()
    changes = change(make().double().eval(), count)
    return stamped(
        {
            "weights": weights,
            "lift": lift,
            "samples": samples,
            "error": max(median(changes), 1e-18),
            "clouds": len(changes),
            "cpu_seconds": round(processor_seconds() - started, 2),
        }
    )


# ---- the ceiling ---------------------------------------------------------------------------------


def candidates(
    patterns: Patterns, points: np.ndarray, side: float, reach: float = 5.0
) -> list[tuple[int, tuple[int, ...], float]]:
    """Sets of points that may be a shape: its number, the points, the logarithm of the density.

    The density of a set, over all places and angles, by Laplace's method, which is exact for the
    translation and, up to the noise over the size, for the angle.
    """
    noise, found = patterns.noise, {}
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    for kind, corners in enumerate(patterns.corners):
        size = len(corners)
        centered = corners - corners.mean(0)
        lengths = np.linalg.norm(corners[:, None] - corners[None], axis=-1)
        a, b = np.unravel_index(lengths.argmax(), lengths.shape)
        spread = 2**0.5 * noise * reach
        near = np.abs(distance - lengths[a, b]) < spread
        for i, j in zip(*near.nonzero(), strict=True):
            if i == j:
                continue
            # The motion that takes corners a and b to i and j; the others are looked for near it.
            direction = complex(*(points[j] - points[i])) / complex(*(corners[b] - corners[a]))
            direction /= abs(direction)
            c, s = direction.real, direction.imag
            turn = np.array([[c, -s], [s, c]])
            middle = (points[i] + points[j]) / 2 - turn @ (corners[a] + corners[b]) / 2
            expected = corners @ turn.T + middle
            choices = [
                (i,) if corner == a else (j,) if corner == b else
                tuple(np.flatnonzero(np.linalg.norm(points - place, axis=1) < 2 * spread))
                for corner, place in enumerate(expected)
            ]  # fmt: skip
            for chosen in product(*choices):
                if len(set(chosen)) < size:
                    continue
                own = points[list(chosen)] - points[list(chosen)].mean(0)
                # Least squares over rotations (Procrustes) in complex numbers.
                overlap = abs(((own @ [1, 1j]) * (centered @ [1, -1j])).sum())
                rest = (own**2).sum() + (centered**2).sum() - 2 * overlap
                if rest > 2 * noise**2 * (2 * size) * 4:
                    continue
                inertia = (centered**2).sum()
                value = (
                    -rest / (2 * noise**2)
                    - size * np.log(2 * np.pi * noise**2)
                    + np.log(2 * np.pi * noise**2 / size)
                    - 2 * np.log(side)
                    + 0.5 * np.log(2 * np.pi * noise**2 / inertia)
                    - np.log(2 * np.pi / (1 if patterns.shapes[kind] == "L" else size))
                )
                key = (kind, tuple(sorted(int(n) for n in chosen)))
                found[key] = max(found.get(key, -np.inf), value)
    return [(kind, chosen, value) for (kind, chosen), value in found.items()]


def decode(patterns: Patterns, points: np.ndarray) -> np.ndarray | None:
    """Counts of the most probable division of a cloud into shapes; None where there is none."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    found = candidates(patterns, points, patterns.translation)
    if not found:
        return None
    kinds, size = len(patterns.corners), len(points)
    belongs = np.zeros((size + 2 * kinds, len(found) + kinds))
    for column, (kind, chosen, _) in enumerate(found):
        belongs[list(chosen), column] = 1
        belongs[size + kind, column] = 1  # At most two of a kind.
        belongs[size + kinds + kind, column] = -1  # y ≤ their number.
    for kind in range(kinds):
        belongs[size + kinds + kind, len(found) + kind] = 1
    low = np.concatenate([np.ones(size), np.zeros(kinds), np.full(kinds, -np.inf)])
    high = np.concatenate([np.ones(size), np.full(kinds, patterns.repetitions), np.zeros(kinds)])
    # One of two slots, or both in either order: a factor of two as soon as there is one.
    gain = np.array([value for *_, value in found] + [np.log(2)] * kinds)
    solved = milp(
        -gain,
        constraints=LinearConstraint(belongs, low, high),
        integrality=np.ones(len(gain)),
        bounds=Bounds(0, 1),
        options={"time_limit": 20},
    )
    if solved.x is None:
        return None
    counts = np.zeros(kinds, dtype=int)
    for (kind, *_), taken in zip(found, solved.x, strict=False):
        counts[kind] += round(taken)
    return counts


def ceiling(clouds: int) -> None:
    started = processor_seconds()
    patterns = Patterns(scaled=False)
    data = Shapes(patterns, test_clouds=clouds)
    drawn = data.sample("test")
    right, failed = [], 0
    for points, mask, counts in zip(*drawn, strict=True):
        guess = decode(patterns, points[mask])
        failed += guess is None
        right.append((guess == counts) if guess is not None else np.zeros(len(counts), bool))
    each = np.mean(right, 0)
    row: Row = {"decoder": "most probable division", "clouds": clouds}
    row |= {"accuracy": float(np.mean(right)), "undecided": failed}
    row |= {f"accuracy_{name}": float(x) for name, x in zip(patterns.shapes, each, strict=True)}
    row["standard_error"] = float(np.std(np.mean(right, 1)) / clouds**0.5)
    row["cpu_seconds"] = round(processor_seconds() - started, 1)
    notes = "Test clouds of seed 0; orientation is not used."
    print(row, write("shapes/ceiling", [stamped(row)], notes))


# ---- speed ---------------------------------------------------------------------------------------


class PeerCounter(nn.Module):
    """lie-transformer-pytorch (SE3 only, clouds in the plane z = 0) with a sum over its points."""

    def __init__(self, width: int, layers: int, heads: int, lifts: int) -> None:
        from lie_transformer_pytorch import LieTransformer

        super().__init__()
        self.embedding = nn.Linear(1, width)
        self.network = LieTransformer(
            dim=width, depth=layers, heads=heads, dim_head=width // heads, liftsamples=lifts
        )
        self.scores = nn.Linear(width, 12)

    def forward(self, features: Tensor, points: Tensor, mask: Tensor) -> Tensor:
        space = torch.cat((points, torch.zeros_like(points[..., :1])), -1)
        hidden = self.network(self.embedding(features), space, mask=mask)
        return self.scores(hidden.mean(1))


def speed(width: int = 32, layers: int = 2, heads: int = 8, batch: int = 32) -> None:
    torch.set_num_threads(1)
    rows: list[Row] = []
    for what, make_clouds in (
        ("generate 10,000 clouds", partial(Patterns().sample, 10_000, 0)),
        ("generate and move them", lambda: Shapes(motion="SE2").moved("train", "SE2")),
    ):
        start, started = perf_counter(), processor_seconds()
        make_clouds()
        row: Row = {"what": what, "seconds": perf_counter() - start}
        rows.append(row | {"cpu_seconds": round(processor_seconds() - started, 3)})
    data = Shapes(train_clouds=10 * batch, batch_size=batch)
    batches = list(data.train_dataloader())
    unit = data.patterns.unit
    linear = partial(LocationOnly, location=LinearLocation)
    make = partial(_COUNTER, unit=unit, width=width, layers=layers, heads=heads)
    made: dict[str, nn.Module] = {}
    for name, group, lift in (
        ("T2", T2(), 1),
        ("SE2, 1 lift", SE2(), 1),
        ("SE2, 4 lifts", SE2(), 4),
    ):
        made[f"LieTransformer-{name}, content and perceptron of poses"] = make(
            group=group, lift=Haar(lift)
        )
    made["LieTransformer-SE2, linear in distances"] = make(
        group=SE2(), invariant=Concat([Distance()]), kernel=linear
    )
    try:
        for lifts in (1, 4):
            peer = PeerCounter(width, layers, heads, lifts)
            made[f"lie-transformer-pytorch-SE3, {lifts} lifts"] = peer
    except ImportError:
        print("lie-transformer-pytorch is not installed; left out")
    times: dict[str, list[float]] = {name: [] for name in made}
    taken = dict.fromkeys(made, 0.0)
    optimizers = {name: torch.optim.AdamW(net.parameters(), 1e-3) for name, net in made.items()}
    for turn in range(4):  # The networks take turns, so that a slow moment meets all of them.
        for name, network in made.items():
            for part in batches[:3]:
                start = process_time()
                scores = network(*part.inputs).view(-1, 3)
                cross_entropy(scores, part.targets.flatten()).backward()
                optimizers[name].step()
                optimizers[name].zero_grad()
                step = process_time() - start
                taken[name] += step
                if turn:
                    times[name].append(step)
    for name, network in made.items():
        rows.append(
            {
                "what": name,
                "clouds_per_second": batch / median(times[name]),
                "parameters": sum(p.numel() for p in network.parameters()),
                "width": width,
                "layers": layers,
                "batch": batch,
                "cpu_seconds": round(taken[name], 2),
            }
        )
    for row in rows:
        print(row)
    notes = "One thread; processor time; medians of steps in turns."
    print(write("shapes/speed", [stamped(row) for row in rows], notes))


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("table").add_argument("results", nargs="+")
    commands.add_parser("summary")
    commands.add_parser("invariance").add_argument("--run")
    commands.add_parser("ceiling").add_argument("--clouds", type=int, default=1000)
    commands.add_parser("speed")
    given = parser.parse_args()
    if given.command == "table":
        table(given.results)
    elif given.command == "summary":
        write_summary(read("shapes/table"))
    elif given.command == "invariance":
        invariance(given.run)
    elif given.command == "ceiling":
        ceiling(given.clouds)
    else:
        speed()
