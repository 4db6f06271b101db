"""QM9: speed of training, networks at equal time, learning curves, and training on a GPU.

    python benchmarks/qm9.py throughput [--threads 2] [NETWORK ...]
    OMP_NUM_THREADS=1 python benchmarks/qm9.py lifts
    python benchmarks/qm9.py profile [NETWORK]
    OMP_NUM_THREADS=1 python benchmarks/qm9.py precision [--steps 1500] [NETWORK ...]
    OMP_NUM_THREADS=1 python benchmarks/qm9.py compare [--seconds 180] [NETWORK ...]
    OMP_NUM_THREADS=1 python benchmarks/qm9.py equal [NETWORK ...] [--budgets 100 400] [--seeds 0 1]
    OMP_NUM_THREADS=1 python benchmarks/qm9.py curve [--seconds 60] [NETWORK ...]
    python benchmarks/qm9.py train [--targets homo alpha ...] [--seconds 600] [NETWORK ...]

- throughput: molecules a second while training, of results/qm9/throughput.json.
- lifts: time against the number of lifts, of results/qm9/lifts.json.
- profile: where the time of a training step goes.
- precision: the same steps in single and in half precision, of results/qm9/precision.json.
- compare: networks on one target, each trained for the same time on all training molecules.
- equal: networks and those of SchNetPack, each trained as suits it, for the same processor seconds
  on all training molecules, of results/qm9/equal_cost.json.
- curve: three networks on two targets, trained on 1,000, 3,000 and 10,000 molecules.
- train: networks on any targets, of results/qm9/table.json. This is the one for a GPU: it needs
  torch, Lightning, einops and e3nn, stops after --call-seconds with a checkpoint, and goes on from
  it when it is called again. On a machine without network, in calls of less than ten minutes:

      python benchmarks/qm9.py train --cache-dir CACHE --folder FOLDER --seconds 600 \\
          --compile --precision bf16-mixed --batch-size 256 --targets homo alpha u0 mu gap

  with FOLDER and the file CACHE/qm9.npz (43 MB) carried from call to call.

Time is that of training alone. On a CPU it is the processor's, so that other work on the machine
does not count; on a GPU that of the clock. How many steps fit into it is measured first, unless
--steps says their number, and the learning rate falls to zero along a cosine over those. Results
are those of the average of the weights after the last step; nothing is chosen by the validation
part.

What has been measured is in the result file or in FOLDER, so any of these goes on where it was
interrupted. The equivariance error is the change of the prediction under random rotations and
translations, in units of its deviation over 32 test molecules, in double precision.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from itertools import product
from pathlib import Path
from time import monotonic, perf_counter, process_time
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

# Beside this file is one with the name of a package that it needs: look for packages first.
sys.path.append(sys.path.pop(0))

from _results import Row, read, stamped, write
from _schnetpack import SchNetPack
from torch import Tensor
from torch.nn.functional import l1_loss

from attention import (
    AllPairs,
    BasisPerceptron,
    ContentOnly,
    ConvNextBlock,
    Convolution,
    Count,
    GroupConvolutionBlock,
    LieTransformer,
    Linear,
    LinearLocation,
    LocationOnly,
    Product,
    Radius,
    Rotary,
    SeparableBlock,
    SharedLocationMLP,
    Softmax,
    Sum,
    invariance_error,
)
from attention.steerable import ChannelwiseTransformer, HarmonicTransformer
from liegroups import (
    SE3,
    SO3,
    T3,
    Bessel,
    Concat,
    E,
    Equivariance,
    FrameBasis,
    Frames,
    FullOrbit,
    Gaussian,
    Grid,
    Haar,
    LiftedPositionOrientation,
    OctahedralGroup,
    RadialBasis,
    RelativeMatrix,
    RelativePose,
    TetrahedralGroup,
)
from tasks.provenance import processor_seconds
from tasks.sources.qm9 import QM9, TARGETS
from tasks.training import Model, WeightAverage
from tasks.training.model import NetworkMaker

INTENSIVE = ("gap", "homo", "lumo", "mu")
"""Targets that are a mean over the atoms, not a sum."""

RADIAL = RadialBasis(8.0, Gaussian(32), envelope=None)
_LIE = partial(LieTransformer, width=128, layers=4, heads=8, normalizer=Count())
_SMALL = partial(_LIE, width=64)
_PRODUCT = partial(Product, location=SharedLocationMLP)
_RADIAL_PRODUCT = partial(Product, location=LinearLocation)
_RADIAL_SUM = partial(Sum, location=LinearLocation)
_ROTARY = partial(ContentOnly, content=partial(Rotary, length=3.0))
_CONVOLUTION = partial(
    LieTransformer,
    group=SE3(),
    width=128,
    layers=3,
    kernel=Convolution,
    normalizer=Linear(),
    neighborhood=AllPairs(loops=False),
)

_SEPARABLE = partial(
    LieTransformer, group=SE3(), invariant=LiftedPositionOrientation(), layers=3, heads=4
)

NETWORKS: dict[str, NetworkMaker] = {
    "distances": partial(_LIE, group=SE3(), invariant=RADIAL, kernel=_RADIAL_PRODUCT),
    "distances, 2 layers": partial(
        _LIE, group=SE3(), invariant=RADIAL, kernel=_RADIAL_PRODUCT, width=176, layers=2
    ),
    "distances, softmax": partial(
        _LIE, group=SE3(), invariant=RADIAL, kernel=_RADIAL_SUM, normalizer=Softmax()
    ),
    "T3": partial(
        _LIE, group=T3(), invariant=Concat([RelativePose(), RADIAL]), kernel=_RADIAL_PRODUCT
    ),
    "frames": partial(
        _LIE,
        group=SE3(),
        invariant=Concat([RelativeMatrix(), RADIAL]),
        lift=Frames(radius=2.0),
        kernel=_RADIAL_PRODUCT,
    ),
    "tetrahedral group": partial(
        _SMALL,
        group=SE3(),
        invariant=RelativeMatrix(),  # Not seen by this kernel.
        lift=FullOrbit(TetrahedralGroup()),
        kernel=_ROTARY,
        normalizer=Linear(),
    ),
    "octahedral group": partial(
        _SMALL,
        group=SE3(),
        invariant=RelativeMatrix(),
        lift=FullOrbit(OctahedralGroup()),
        kernel=_ROTARY,
        normalizer=Linear(),
        width=48,
        heads=6,
    ),
    "positions and orientations": partial(
        _SMALL,
        group=SE3(),
        invariant=LiftedPositionOrientation(),
        lift=Grid(6),
        kernel=partial(LocationOnly, location=SharedLocationMLP),
        heads=16,
    ),
    "LieTransformer, 4 Haar lifts": partial(
        _SMALL, group=SE3(), invariant=RelativePose(), lift=Haar(4), kernel=_PRODUCT
    ),
    "convolution": partial(_CONVOLUTION, invariant=RadialBasis(5.0, Bessel(20))),
    "harmonics": partial(HarmonicTransformer, channels=128, layers=3),
    "frames, convolution": partial(
        _CONVOLUTION, invariant=FrameBasis(5.0, Bessel(16)), lift=Frames(radius=1.5)
    ),
    "tetrahedral group, convolutions": partial(
        _CONVOLUTION,
        invariant=FrameBasis(5.0, Bessel(8)),
        lift=FullOrbit(TetrahedralGroup()),
        width=16,
        block=GroupConvolutionBlock,
    ),
    "octahedral group, convolutions": partial(
        _CONVOLUTION,
        invariant=FrameBasis(5.0, Bessel(8)),
        lift=FullOrbit(OctahedralGroup()),
        width=8,
        block=GroupConvolutionBlock,
    ),
    "positions and orientations, separable": partial(
        _CONVOLUTION,
        invariant=LiftedPositionOrientation(),
        lift=Grid(6),
        width=64,
        block=ConvNextBlock,
        basis=partial(BasisPerceptron, features=32, hidden=32),
        neighborhood=Radius(5.0, loops=False, layout="dense"),
    ),
    "4 Haar lifts, separable": partial(
        _CONVOLUTION,
        invariant=RelativeMatrix(),
        lift=Haar(4),
        width=64,
        block=ConvNextBlock,
        basis=partial(BasisPerceptron, features=32, hidden=32, degree=2),
        neighborhood=Radius(5.0, loops=False, layout="dense"),
    ),
    "SchNet (SchNetPack)": partial(SchNetPack, "SchNet"),
    "SchNet (SchNetPack), Muon": partial(SchNetPack, "SchNet"),
    "PaiNN (SchNetPack)": partial(SchNetPack, "PaiNN"),
    "PaiNN (SchNetPack), Muon": partial(SchNetPack, "PaiNN"),
    "steerable": partial(
        ChannelwiseTransformer,
        invariant=RadialBasis(5.0, Bessel(8)),
        max_degree=2,
        channels=32,
        layers=3,
        heads=4,
        neighborhood=Radius(5.0, loops=False),
        normalizer=Softmax(),
    ),
}
"""The networks by name. All but the exact ones see rotated molecules."""

_BY_MUON: dict[str, Any] = {"optimizer": "muon", "learning_rate": 4e-3, "batch_size": 64}
TRAINING = dict.fromkeys(
    (
        *("convolution", "harmonics"),
        *("frames, convolution", "tetrahedral group, convolutions"),
        *("octahedral group, convolutions", "positions and orientations, separable"),
        "4 Haar lifts, separable",
        *("SchNet (SchNetPack), Muon", "PaiNN (SchNetPack), Muon"),
    ),
    _BY_MUON,
)
"""How networks are trained where not by AdamW with a rate of 1e-3 in batches of 32."""

EQUAL = ("convolution", "harmonics", "distances", "SchNet (SchNetPack)", "PaiNN (SchNetPack)")

DEFAULT = "convolution"
"""The network of tasks/configs/qm9/full.yaml."""

CURVE = ("distances", "T3", "frames")


def make(network: str, target: str, **settings: Any) -> Model:
    """A network with random weights for a target."""
    of_intensive = "softmax" if network in TRAINING and "SchNetPack" not in network else "mean"
    pooling = of_intensive if target in INTENSIVE else "sum"
    return Model(
        partial(NETWORKS[network], pooling=pooling),
        in_features=QM9.in_features,
        kinds=list(QM9.kinds.values()),
        point_dim=QM9.point_dim,
        **settings,
    )


def is_augmented(model: Model) -> bool:
    """Whether rotating molecules tells the network anything."""
    exact = model.network.equivariance is Equivariance.EXACT
    return not (exact and model.network.space.group in (SE3(), E(3)))


# ---- training for a time ---------------------------------------------------------------------


def clock(device: torch.device) -> float:
    """Seconds: of the processor, or, with a GPU, of the time of day."""
    if device.type == "cpu":
        return process_time()
    torch.cuda.synchronize(device)
    return perf_counter()


class Meter(pl.Callback):
    """Counts seconds and molecules of training from a step on."""

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.steps = self.molecules = 0
        self.seconds = self.wall = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, model: pl.LightningModule, batch: Any, index: int
    ) -> None:
        if trainer.global_step == self.begin:
            self._start = clock(model.device), perf_counter()
            self.steps = self.molecules = 0
        self.steps += 1
        self.molecules += len(batch.targets)

    def on_train_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        seconds, wall = self._start
        self.seconds, self.wall = clock(model.device) - seconds, perf_counter() - wall


class Call(pl.Callback):
    """Keeps a checkpoint while a model is trained, and stops when the time of a call is over."""

    def __init__(self, path: Path, end: float, every: float = 60.0) -> None:
        self.path, self.end, self.every = path, end, every
        self.seconds = self.cpu_seconds = 0.0

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        self._since, self._cpu_since = clock(model.device), process_time()
        self._saved = monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, model: pl.LightningModule, *_: Any) -> None:
        now = monotonic()
        done = trainer.global_step == trainer.max_steps
        if done or now > min(self.end, self._saved + self.every):
            time, cpu_time = clock(model.device), process_time()
            self.seconds += time - self._since
            self.cpu_seconds += cpu_time - self._cpu_since
            self._since, self._cpu_since, self._saved = time, cpu_time, now
            trainer.save_checkpoint(self.path)
            trainer.should_stop = now > self.end

    def state_dict(self) -> dict[str, float]:
        return {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.seconds, self.cpu_seconds = state["seconds"], state["cpu_seconds"]


def trainer(settings: Namespace, steps: int, *callbacks: pl.Callback) -> pl.Trainer:
    return pl.Trainer(
        accelerator=settings.device,
        devices=1,
        precision=settings.precision,
        max_steps=steps,
        max_epochs=-1,
        min_epochs=0,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        gradient_clip_val=1.0,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def data_of(
    settings: Namespace,
    target: str,
    molecules: int | None,
    augment: bool,
    batch_size: int | None = None,
) -> QM9:
    return QM9(
        target,
        settings.split,
        train_molecules=molecules,
        test_molecules=settings.test_molecules,
        batch_size=batch_size or settings.batch_size,
        augment=SO3() if augment else None,
        cache_dir=settings.cache_dir,
        seed=settings.seed,
    )


def steps_within(settings: Namespace, model: Model, data: QM9) -> int:
    """How many steps fit into the time, from those of a copy that is thrown away."""
    meter = Meter(settings.probe // 2)
    trainer(settings, settings.probe, meter, WeightAverage(settings.decay)).fit(
        deepcopy(model), datamodule=data
    )
    return max(settings.probe, round(settings.seconds * meter.steps / meter.seconds))


def train(
    settings: Namespace, network: str, target: str, molecules: int | None, end: float
) -> Row | None:
    """Train and test a network; None where the call is over before the training is."""
    pl.seed_everything(settings.seed, verbose=False)
    chosen = {"learning_rate": settings.learning_rate, **TRAINING.get(network, {})}
    batch_size = chosen.pop("batch_size", settings.batch_size)
    model = make(network, target, compile=settings.compile, **chosen)
    model.hparams.clear()  # A checkpoint then holds nothing but numbers, and is read as such.
    data = data_of(settings, target, molecules, is_augmented(model), batch_size)
    name = f"{network}-{target}-{molecules or 'all'}".replace(", ", "-").replace(" ", "-")
    folder = Path(settings.folder)
    plan, path = folder / f"{name}.json", folder / f"{name}.ckpt"
    if not plan.exists():
        folder.mkdir(parents=True, exist_ok=True)
        steps = settings.steps or steps_within(settings, model, data)
        plan.write_text(json.dumps({"steps": steps}))
    steps = json.loads(plan.read_text())["steps"]
    call = Call(path, end)
    if not path.exists() or torch.load(path, weights_only=True)["global_step"] < steps:
        # The average first: the checkpoint is to hold that of the step that it is of.
        trainer(settings, steps, WeightAverage(settings.decay), call).fit(
            model, datamodule=data, ckpt_path=path if path.exists() else None, weights_only=True
        )
    kept = torch.load(path, weights_only=True)
    if kept["global_step"] < steps:
        print(f"{network}, {target}: {kept['global_step']} of {steps} steps", flush=True)
        return None
    model.load_state_dict(kept["state_dict"])  # The average.
    error, clouds = test(model, data)
    split, spent = data.split, kept["callbacks"][call.state_key]
    return {
        "network": network,
        "target": target,
        "split": split.name,
        "train_molecules": molecules or split.train,
        "mae": error,
        "unit": data.targets[0].unit,
        "group": str(model.network.space.group),
        "equivariance": str(model.network.equivariance),
        "equivariance_error": invariance_error(model.network.cpu(), *clouds, group=SE3()),
        "parameters": sum(p.numel() for p in model.parameters()),
        "optimizer": model.optimizer,
        "learning_rate": model.learning_rate,
        "batch_size": batch_size,
        "steps": steps,
        "seconds": round(spent["seconds"], 1),
        "molecules_per_second": round(steps * batch_size / spent["seconds"]),
        "device": name_of(torch.device(settings.device)),
        "precision": settings.precision,
        "test_molecules": settings.test_molecules or split.test,
        "mae_constant": constant_error(data),
        "seed": settings.seed,
        "cpu_seconds": round(spent["cpu_seconds"], 1),
    }


@torch.inference_mode()
def test(model: Model, data: QM9) -> tuple[float, tuple[Tensor, Tensor, Tensor]]:
    """Mean absolute error on the test part, and 32 of its molecules."""
    data.setup()
    batches = list(data.test_dataloader())
    model = model.to(batches[0].features.device).eval()
    errors = [l1_loss(model(batch)[0], batch.targets, reduction="sum") for batch in batches]
    total = sum(len(batch.targets) for batch in batches)
    middle = batches[len(batches) // 2]
    clouds = middle.inputs
    return float(sum(errors)) / total, tuple(part[:32].cpu() for part in clouds)  # type: ignore[return-value]


def constant_error(data: QM9) -> float:
    """Mean absolute error of the median of the training part on the test part."""
    return float(np.abs(data.values("test") - np.median(data.values("train"))).mean())


def name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() > 1)


# ---- result files ------------------------------------------------------------------------------


def fill(
    settings: Namespace,
    name: str,
    notes: str,
    runs: Sequence[tuple[str, str, int | None]],
    sort: Callable[[Row], Any],
) -> None:
    """Train what a result file has no row of, and write each row as it comes."""
    end = monotonic() + settings.call_seconds
    split = data_of(settings, "homo", None, False).split
    for network, target, molecules in runs:
        wanted = (network, target, split.name, molecules or split.train)
        if any(
            (row["network"], row["target"], row["split"], row["train_molecules"]) == wanted
            for row in read(name)
        ):
            continue
        row = train(settings, network, target, molecules, end)
        if row is None:
            return
        print(json.dumps(row), flush=True)
        write(name, sorted([*read(name), stamped(row)], key=sort), notes)


def compare(settings: Namespace) -> None:
    fill(
        settings,
        "qm9/comparison",
        f"{settings.seconds:g} processor seconds of training each, batches of "
        f"{settings.batch_size}, seed {settings.seed}; equivariance_error under SE(3).",
        [(network, settings.targets[0], None) for network in settings.networks or NETWORKS],
        lambda row: row["mae"],
    )


def equal(settings: Namespace) -> None:
    name, folder = "qm9/equal_cost", settings.folder
    end = monotonic() + settings.call_seconds
    runs = product(settings.budgets, settings.seeds, settings.targets, settings.networks or EQUAL)
    for settings.seconds, settings.seed, target, network in runs:
        wanted = (network, target, settings.seconds, settings.seed)
        keys = ("network", "target", "budget", "seed")
        if any(tuple(row[key] for key in keys) == wanted for row in read(name)):
            continue
        settings.folder = f"{folder}/{settings.seconds:g}-{settings.seed}"
        row = train(settings, network, target, None, end)
        if row is None:
            return
        row = {"budget": settings.seconds, **row}
        print(json.dumps(row), flush=True)
        write(
            name,
            sorted(
                [*read(name), stamped(row)],
                key=lambda r: (*(r[key] for key in keys[1:]), r["mae"]),
            ),
            "Each network trained for a budget of processor seconds of one core, on all training "
            "molecules; the steps that fit in are measured first. SchNet and PaiNN are those of "
            "SchNetPack.",
        )


def curve(settings: Namespace) -> None:
    fill(
        settings,
        "qm9/learning_curve",
        f"{settings.seconds:g} processor seconds of training each, batches of "
        f"{settings.batch_size}, seed {settings.seed}; equivariance_error under SE(3).",
        [
            (network, target, molecules)
            for molecules in (1_000, 3_000, 10_000)
            for target in settings.targets
            for network in settings.networks or CURVE
        ],
        lambda row: (row["target"], row["network"], row["train_molecules"]),
    )


def precision(settings: Namespace) -> None:
    name = "qm9/precision"
    for network in settings.networks or ["distances, 2 layers"]:
        for settings.precision in ("32-true", "bf16-mixed"):
            rows = read(name)
            wanted = (network, settings.precision, settings.steps)
            if any((row["network"], row["precision"], row["steps"]) == wanted for row in rows):
                continue
            target, folder = settings.targets[0], settings.folder
            settings.folder = f"{folder}/{settings.precision}-{settings.steps}"
            row = train(settings, network, target, None, float("inf"))
            settings.folder = folder
            print(json.dumps(row), flush=True)
            notes = f"Batches of {settings.batch_size}, seed {settings.seed}."
            write(name, [*rows, stamped(row)], notes)


def table(settings: Namespace) -> None:
    fill(
        settings,
        "qm9/table",
        "Trained on all training molecules of the split, for the seconds of the row (of the "
        "processor, with a GPU of the clock); tested on all test molecules; equivariance_error "
        "under SE(3).",
        [
            (network, target, None)
            for target in settings.targets
            for network in settings.networks or [DEFAULT]
        ],
        lambda row: (list(TARGETS).index(row["target"]), row["network"]),
    )


# ---- speed ---------------------------------------------------------------------------------------


def throughput(settings: Namespace) -> None:
    torch.set_num_threads(settings.threads)
    settings.test_molecules = 100
    for network in settings.networks or NETWORKS:
        model = make(network, "homo", compile=settings.compile)
        data = data_of(settings, "homo", None, is_augmented(model))
        meter = Meter(settings.probe // 4)
        started = processor_seconds()
        trainer(settings, settings.probe, meter, WeightAverage(settings.decay)).fit(
            model, datamodule=data
        )
        row = {
            "network": network,
            "parameters": sum(p.numel() for p in model.parameters()),
            "group": str(model.network.space.group),
            "equivariance": str(model.network.equivariance),
            "device": settings.device,
            "threads": settings.threads,
            "compiled": settings.compile,
            "precision": settings.precision,
            "batch_size": settings.batch_size,
            "molecules_per_second": round(meter.molecules / meter.wall, 1),
            "molecules_per_processor_second": round(meter.molecules / meter.seconds, 1),
            "cpu_seconds": round(processor_seconds() - started, 1),
        }
        print(json.dumps(row), flush=True)
        same = ("network", "threads", "device", "compiled", "precision")
        others = [r for r in read("qm9/throughput") if any(r[k] != row[k] for k in same)]
        write(
            "qm9/throughput",
            sorted([*others, stamped(row)], key=lambda r: -r["molecules_per_second"]),
            "Training steps, with batches, rotations, weight average and optimizer; HOMO, all "
            "training molecules. Processor seconds are those of all threads together.",
        )


def lifts(settings: Namespace) -> None:
    """Processor time of a training step for 4 to 24 lifts, and the exponent that fits it."""
    networks: dict[str, Any] = {
        "ConvNextBlock": NETWORKS["positions and orientations, separable"],
        "SeparableBlock": partial(_SEPARABLE, block=SeparableBlock),
        "AttentionBlock": _SEPARABLE,
    }
    for name, network in networks.items():
        counts = (4, 8, 16, 24) if name != "AttentionBlock" else (2, 4)
        times = []
        started = processor_seconds()
        for count in counts:
            NETWORKS["lifts"] = partial(network, lift=Grid(count), width=32)
            model = make("lifts", "homo", optimizer="muon")
            meter = Meter(4)
            trainer(settings, 12, meter).fit(
                model, datamodule=data_of(settings, "homo", 2000, True)
            )
            times.append(meter.seconds / meter.steps)
        exponent = float(np.polyfit(np.log(counts), np.log(times), 1)[0])
        row = {
            "block": name,
            "lifts": list(counts),
            "seconds_per_step": [round(t, 3) for t in times],
            "exponent": round(exponent, 2),
            "batch_size": settings.batch_size,
            "device": name_of(torch.device(settings.device)),
            "cpu_seconds": round(processor_seconds() - started, 1),
        }
        print(json.dumps(row), flush=True)
        others = [r for r in read("qm9/lifts") if r["block"] != name]
        write(
            "qm9/lifts",
            sorted([*others, stamped(row)], key=lambda r: r["exponent"]),
            "Processor seconds of a training step on QM9 with a grid of lifts over each atom, "
            "width 32 and 3 layers, and the exponent of the lifts that fits them.",
        )


def profile(settings: Namespace) -> None:
    torch.set_num_threads(settings.threads)
    model = make((settings.networks or [DEFAULT])[0], "homo", compile=settings.compile)
    data = data_of(settings, "homo", None, is_augmented(model))
    with torch.profiler.profile() as profiler:
        trainer(settings, settings.probe, WeightAverage(settings.decay)).fit(model, datamodule=data)
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=30))


def main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    modes = {
        "throughput": throughput,
        "lifts": lifts,
        "profile": profile,
        "precision": precision,
        "compare": compare,
        "equal": equal,
        "curve": curve,
        "train": table,
    }
    targets = {"curve": ["homo", "u0"], "train": ["homo", "alpha", "u0", "mu", "gap"]}
    seconds = {"compare": 180.0, "curve": 60.0, "train": 600.0}
    parser.add_argument("mode", choices=modes)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    add = parser.add_argument
    add("--targets", nargs="+", choices=list(TARGETS))
    add("--split", default="lietransformer")
    add("--seconds", type=float, help="of training for each network")
    add("--budgets", type=float, nargs="+", default=[100.0, 400.0], help="of equal, in seconds")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of equal")
    add("--steps", type=int, help="of training for each network, in place of seconds")
    add("--call-seconds", type=float, default=float("inf"), help="after which a call ends")
    add("--folder", default="runs/benchmark-qm9", help="of the checkpoints")
    add("--cache-dir", help="of qm9.npz")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--precision", default="32-true")
    add("--compile", action="store_true")
    add("--batch-size", type=int, default=32)
    add("--learning-rate", type=float, default=1e-3)
    add("--decay", type=float, default=0.99, help="of the average of the weights")
    add("--test-molecules", type=int, help="the first so many; all without it")
    add("--probe", type=int, default=40, help="steps that the speed is measured by")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--seed", type=int, default=0)
    settings = parser.parse_intermixed_args()
    for network in settings.networks:
        if network not in NETWORKS:
            parser.error(f"there is no network {network!r}; there are {', '.join(NETWORKS)}")
    settings.targets = settings.targets or targets.get(settings.mode, ["homo"])
    settings.seconds = settings.seconds or seconds.get(settings.mode, 0.0)
    settings.steps = settings.steps or {"precision": 1500}.get(settings.mode)
    modes[settings.mode](settings)


if __name__ == "__main__":
    main()
