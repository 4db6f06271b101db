"""A training step on energies and forces, as autograd computes it and compiled.

    OMP_NUM_THREADS=1 python benchmarks/training_step.py [--molecules ethanol ...] [--rounds 20]

The network and the batch are those of tasks/configs/md17/accurate.yaml, the frames made by springs.
Both take turns, on one thread, and are timed by the processor's clock, which does not count what
other programs use. The compilation before takes minutes, and is not timed.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import yaml
from _results import ROOT, Row, stamped, write

from attention import Radius
from attention.steerable import ChannelwiseTransformer
from liegroups import Bessel, RadialBasis
from tasks.objectives import EnergiesAndForces
from tasks.provenance import processor_seconds
from tasks.sources.md17 import MD17, Springs
from tasks.training import Model
from tasks.training.compiled import CompiledStep

_CONFIG = "tasks/configs/md17/accurate.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--molecules", nargs="+", default=["ethanol"])
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for molecule in given.molecules for row in measure(molecule, given.rounds)]
    print(write("md17/training_step", rows, f"{_CONFIG}; median of {given.rounds} steps."))


def measure(molecule: str, rounds: int) -> list[Row]:
    """Time both, and hold the gradients of one to those of the other."""
    config = yaml.safe_load((ROOT / _CONFIG).read_text())
    size = config["data"]["batch_size"]
    data = MD17(molecule, Springs(), train_frames=size, val_frames=2, batch_size=size)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    models = {}
    for name, compile in (("autograd", False), ("compiled", True)):
        torch.manual_seed(0)
        models[name] = model = _model(config["model"], data)
        model.objective.learn_from(data)
        if compile:
            model._step = CompiledStep(model.network, model.objective)
        model._step_generator = lambda: None
        model.log = lambda *_, **__: None
    gradients, spent = [], {}
    for name, model in models.items():
        started = processor_seconds()
        gradients.append(_step(model, batch))
        spent[name] = processor_seconds() - started
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3 * float(one.abs().max()))
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            start = process_time()
            _step(model, batch)
            seconds[name].append(process_time() - start)
    return [
        stamped(
            {
                "molecule": molecule,
                "atoms": batch.points.shape[1],
                "frames": size,
                "step": name,
                "milliseconds": round(1e3 * median(taken), 1),
                "ratio": round(median(taken) / median(seconds["autograd"]), 3),
                "cpu_seconds": round(spent[name] + sum(taken), 2),
            }
        )
        for name, taken in seconds.items()
    ]


def _model(settings: dict[str, Any], data: MD17) -> Model:
    network = dict(settings["network"]["init_args"])
    radius = network.pop("neighborhood")["init_args"]["radius"]
    network["invariant"] = RadialBasis(radius, Bessel(count=8))
    return Model(
        partial(ChannelwiseTransformer, **network, neighborhood=Radius(radius, loops=False)),
        partial(EnergiesAndForces, **settings["objective"]["init_args"]),
        in_features=data.in_features,
        kinds=data.kind_columns,
        point_dim=data.point_dim,
    )


def _step(model: Model, batch: object) -> list[torch.Tensor]:
    model.zero_grad()
    model.training_step(batch).backward()  # type: ignore[arg-type]
    return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]


if __name__ == "__main__":
    main()
