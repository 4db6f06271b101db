"""Two processes train as one: small trainings of every task; training/test_processes has more."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.cache import CACHE_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
BATCH = 8
COMMON = [
    f"--data.batch_size={BATCH}",
    "--trainer.precision=64-true",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]
SYSTEMS = ["--data.system.points=100", "--data.val_systems=9", "--data.test_systems=11"]
# 30 rows to train on: two batches of 8 and two of 7, which two processes cannot halve.
TRAININGS = {
    "qm9": [
        f"--config={ROOT}/tasks/configs/qm9/quick.yaml",
        *("--model.network.group=T3", "--model.network.lift=Haar", "--model.network.lift.count=1"),
        *("--model.network.width=16", "--model.network.layers=1", "--model.network.heads=4"),
        *("--data.target=[homo, u0]", "--data.augment=SO3", "--trainer.max_epochs=2"),
        *("--data.train_molecules=30", "--data.val_molecules=9", "--data.test_molecules=11"),
    ],
    "md17": [
        "--task=md17",
        "--model.network.channels=4",
        *("--model.network.layers=1", "--model.network.heads=2"),
        *("--data.source=Springs", "--data.source.frames=50"),
        *("--data.train_frames=30", "--data.val_frames=9", "--trainer.max_epochs=1"),
    ],
    "shapes": [
        *("--task=shapes", "--model.network=SetTransformer", "--model.network.width=16"),
        *("--data.train_clouds=30", "--data.val_clouds=9", "--data.test_clouds=11"),
        *("--data.augment=SE2", "--trainer.max_epochs=2"),
    ],
    "dynamics": [
        *("--task=dynamics", "--model.network=Perceptron", "--model.network.width=8", *SYSTEMS),
        *("--data.train_systems=15", "--data.repeats=2", "--trainer.max_epochs=2"),
    ],
    "molecules": [
        *("--task=molecules", "--data.path={base}/molecules.db", "--data.target=[gap, width]"),
        *("--data.unit=[eV, D]", "--data.val_molecules=9", "--data.test_molecules=11"),
        *("--model.network.width=8", "--model.network.layers=1", "--model.network.heads=2"),
        *("--data.train_molecules=30", "--trainer.max_epochs=2"),
    ],
    "clouds": [
        *("--task=clouds", "--data.source=my_source.Spread", "--data.train_clouds=30"),
        *("--data.val_clouds=9", "--data.test_clouds=11", "--trainer.max_epochs=2"),
        *("--model.network.width=8", "--model.network.layers=1", "--model.network.heads=2"),
        "--model.network.normalizer=Count",
    ],
    "lbfgs": [
        *("--task=dynamics", "--model.network=Perceptron", "--model.network.width=8"),
        *("--model.network.output=point", "--model.network.layers=2"),
        *("--model.objective.learns=derivative", "--model.objective.loss=Slope"),
        *("--model.optimizer=lbfgs", *SYSTEMS),
        *("--data.train_systems=7", "--trainer.max_epochs=2"),
    ],
}
SOURCE = """
from dataclasses import dataclass

import numpy as np

from tasks.data import Arrays, Target
from tasks.sources import Source


@dataclass(frozen=True)
class Spread(Source):
    point_dim, in_features = 3, 1
    targets = (Target("spread"),)

    def load(self) -> Arrays:
        random = np.random.default_rng(0)
        sizes = random.integers(2, 6, 50)
        points = random.normal(size=(sizes.sum(), 3))
        starts = np.cumsum(sizes) - sizes
        return Arrays(
            points=points,
            sizes=sizes,
            features=np.ones((len(points), 1)),
            targets=np.add.reduceat(np.square(points).sum(1), starts)[:, None],
            ids=np.arange(50),
        )
"""


def write_molecules(path):
    from ase.build import molecule
    from ase.db import connect

    random = np.random.default_rng(0)
    with connect(path) as database:
        for number in range(50):
            atoms = molecule(["CH4", "H2O", "NH3", "CH3OH", "C2H6"][number % 5])
            atoms.rattle(0.05, seed=number)
            database.write(atoms, gap=float(random.normal()), width=float(random.normal()))


# All trainings by one process and by two, which are forked because their start takes longest. Each
# writes down the rows of its steps.
COMMAND = """
import inspect, json, multiprocessing, os, sys
from pathlib import Path
from tasks.training import record
from tasks.commands.main import main
from tasks.sources.trajectories import reference
from tasks.training import Model

reference.BLOCK = 40
record.learning_curve = lambda *_: None  # Pictures take as long as all else together.
place = Path()

def watch(model, stage):
    step = getattr(model, stage)
    def watched(self, batch, *rest):
        with (place / f"{stage}-{self.global_rank}.txt").open("a") as file:
            print(self.global_step, *batch.ids.tolist(), file=file)
        return step(self, batch, *rest)
    watched.__signature__ = inspect.signature(step)
    setattr(model, stage, watched)

Model.draw = lambda self, folder: []
for stage in ("training_step", "test_step"):
    watch(Model, stage)

def train(folder, environment):
    global place
    os.environ.update(environment)
    os.chdir(folder)
    for name, settings in json.loads(Path("trainings.json").read_text()).items():
        place = Path(name)
        place.mkdir(exist_ok=True)
        sys.argv = ["lie-attention"]
        main(["fit", *settings, f"--run={name}/run"])

fork = multiprocessing.get_context("fork")
together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": sys.argv[1], "WORLD_SIZE": "2"}
started = [fork.Process(target=train, args=("one", {}))]
for rank in ("0", "1"):
    own = together | {"RANK": rank, "LOCAL_RANK": rank}
    started.append(fork.Process(target=train, args=("two", own)))
for process in started:
    process.start()
for process in started:
    process.join()
sys.exit(any(process.exitcode for process in started))
"""


def prepare(folder, processes):
    folder.mkdir()
    trainings = {}
    for name, given in TRAININGS.items():
        trainings[name] = [each.replace("{base}", str(folder.parent)) for each in given]
        trainings[name] += [*COMMON, f"--trainer.devices={processes}"]
        if processes > 1:
            trainings[name].append("--trainer.strategy=ddp")
    (folder / "trainings.json").write_text(json.dumps(trainings))
    return folder


@pytest.fixture(scope="module")
def runs(qm9_cache, tmp_path_factory):
    """The folders of trainings by one process and by two."""
    base = tmp_path_factory.mktemp("processes")
    (base / "cache").mkdir()
    (base / "cache/qm9.npz").symlink_to(qm9_cache / "qm9.npz")
    (base / "my_source.py").write_text(SOURCE)
    write_molecules(base / "molecules.db")
    folders = prepare(base / "one", 1), prepare(base / "two", 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, port],
        cwd=base,
        env=os.environ
        | {
            CACHE_VARIABLE: str(base / "cache"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(base), *filter(None, sys.path)]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return folders


def steps(folder, stage):
    """Of each process, each step with its rows."""
    found = []
    for path in sorted(folder.glob(f"{stage}-*.txt")):
        lines = (list(map(int, line.split())) for line in path.read_text().splitlines())
        found.append([(step, own) for step, *own in lines])
    return found


def test_two_processes_train_and_test_as_one(runs, subtests):
    for name in TRAININGS:
        with subtests.test(name):
            require_same(*(folder / name for folder in runs))


def require_same(one, two):
    """The same rows at each step, the same weights, and the same figures."""
    # L-BFGS looks at the batch of a step several times.
    (alone,), (first, second) = (
        [dict(each) for each in steps(folder, "training_step")] for folder in (one, two)
    )
    assert alone.keys() == first.keys() == second.keys()
    for step, expected in alone.items():
        assert len(set(expected)) == len(expected) <= BATCH
        assert abs(len(first[step]) - len(second[step])) <= 1
        assert sorted(first[step] + second[step]) == sorted(expected)
    tested, together = (
        sorted(row for each in steps(folder, "test_step") for _, own in each for row in own)
        for folder in (one, two)
    )
    assert together == tested
    weights = [
        torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for folder in (one, two)
    ]
    for key, expected in weights[0].items():
        torch.testing.assert_close(
            weights[1][key],
            expected,
            rtol=1e-6,
            atol=1e-6,  # AdamW makes steps of full size of gradients that are all rounding.
            msg=lambda text, key=key: f"{key}: {text}",
        )
    figures, others = (
        json.loads((folder / "run/metrics.json").read_text()) for folder in (one, two)
    )
    history, other_history = figures.pop("history"), others.pop("history")
    del figures["provenance"], others["provenance"]
    for before, after in zip([figures, *history], [others, *other_history], strict=True):
        assert before.keys() == after.keys()
        for key, expected in before.items():
            if "seconds" not in key:
                if key.startswith("equivariance/") and isinstance(expected, float):
                    # What rounding leaves, of the same molecules.
                    assert abs(after[key] - expected) < 1e-4 * ("float32" in key) + 1e-9, key
                    continue
                if isinstance(expected, float):
                    expected = pytest.approx(expected, rel=1e-5, abs=1e-9)
                assert after[key] == expected, key
