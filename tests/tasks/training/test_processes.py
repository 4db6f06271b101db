"""Trainings in processes of their own: killed at random moments, and several together."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tasks.cache import CACHE_VARIABLE

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = [
    *("--config", str(ROOT / "tasks/configs/qm9/quick.yaml")),
    *("--model.network.width=16", "--model.network.layers=1", "--model.network.heads=4"),
    *("--data.train_molecules=301", "--data.val_molecules=40", "--data.test_molecules=30"),
    "--trainer.enable_progress_bar=false",
]
# The command, which writes down what a process trains on and who writes a checkpoint.
COMMAND = """
import os
from pathlib import Path
from tasks.commands.main import main
from tasks.training import Model
from tasks.runs.checkpoint import RunCheckpoints

rank = os.environ.get("RANK", "0")
step, save = Model.training_step, RunCheckpoints.save_checkpoint

def training_step(self, batch):
    with open(f"seen-{rank}.txt", "a") as file:
        print(self.current_epoch, *batch.ids.tolist(), file=file)
    return step(self, batch)

def save_checkpoint(self, checkpoint, path, storage_options=None):
    with open("saved.txt", "a") as file:
        print(rank, checkpoint["global_step"], Path(path).name, file=file)
    save(self, checkpoint, path, storage_options)

Model.training_step = training_step
RunCheckpoints.save_checkpoint = save_checkpoint
main()
"""


class Training:
    """A training in a folder of its own, by one process or several."""

    def __init__(self, folder, cache, *settings, processes=1):
        self.folder = folder
        folder.mkdir()
        (folder / "command.py").write_text(COMMAND)
        self.settings = [*SETTINGS, *settings]
        self.processes = processes
        self.environment = {**os.environ, CACHE_VARIABLE: str(cache), "OMP_NUM_THREADS": "1"}

    def start(self):
        """Start it, or go on with it if there is something to go on with."""
        program = [sys.executable]
        settings = self.settings
        if self.processes > 1:
            program += ["-m", "torch.distributed.run", "--standalone"]
            # After --, as the launcher would take our --run for an option of its own.
            program += [f"--nproc-per-node={self.processes}", "--"]
            settings = [*settings, "--trainer.strategy=ddp", "--trainer.accelerator=cpu"]
            settings += [f"--trainer.devices={self.processes}"]
        started = (self.folder / "run/config.yaml").exists()
        arguments = ["--resume=run"] if started else [*settings, "--run=run"]
        self.log = (self.folder / "log.txt").open("a")
        return subprocess.Popen(
            [*program, "command.py", "fit", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            # A shell turns interrupts off for what runs in its background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def finish(self):
        assert self.start().wait() == 0, self.printed()
        return self

    def printed(self):
        return (self.folder / "log.txt").read_text()

    def steps(self):
        """Number of batches that the first process has trained on, counting repeated ones."""
        path = self.folder / "seen-0.txt"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def await_steps(self, process, count):
        while self.steps() < count and process.poll() is None:
            time.sleep(0.02)

    def seen(self):
        """The molecules of each epoch, of all processes."""
        epochs = {}
        for path in self.folder.glob("seen-*.txt"):
            for line in path.read_text().splitlines():
                epoch, *molecules = map(int, line.split())
                epochs.setdefault(epoch, []).extend(molecules)
        return epochs

    def weights(self):
        last = torch.load(self.folder / "run/checkpoints/last.ckpt", weights_only=True)
        return last["state_dict"]

    def metrics(self):
        return json.loads((self.folder / "run/metrics.json").read_text())


def require_same(one, other):
    """The same final weights and errors, bit by bit."""
    for name, expected in one.weights().items():
        assert torch.equal(other.weights()[name], expected), name
    assert one.metrics()["test/mae"] == other.metrics()["test/mae"]


# ---- one process -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(qm9_cache, tmp_path_factory):
    """A training that nobody disturbs."""
    folder = tmp_path_factory.mktemp("alone") / "whole"
    return Training(folder, qm9_cache, "--trainer.max_epochs=8").finish()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=str)
def test_a_training_that_is_killed_at_random_ends_like_a_whole_one(
    whole, qm9_cache, tmp_path, number
):
    training = Training(tmp_path / "killed", qm9_cache, "--trainer.max_epochs=8")
    choose = random.Random(int(number))
    for _ in range(3):
        process, before = training.start(), training.steps()
        training.await_steps(process, before + choose.randrange(25))
        time.sleep(choose.random() / 10)
        process.send_signal(number)
        assert process.wait() != 0
        if number != signal.SIGKILL and training.steps() > before:
            assert "lie-attention fit --resume run" in training.printed()
    assert training.steps() < whole.steps()
    training.finish()
    require_same(whole, training)
    assert not list(training.folder.rglob("*.tmp"))


# ---- several processes -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(qm9_cache, tmp_path_factory):
    """A training by two processes, in double precision."""
    folder = tmp_path_factory.mktemp("together") / "two"
    return Training(folder, qm9_cache, *DOUBLE, processes=2).finish()


DOUBLE = ["--trainer.max_epochs=4", "--trainer.precision=64-true", "--data.batch_size=25"]


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_same_batches(two, qm9_cache, tmp_path):
    one = Training(tmp_path / "one", qm9_cache, *DOUBLE).finish()
    curves = [
        [[row[key] for key in ("epoch", "train/mae", "val/mae")] for row in each["history"]]
        for each in (one.metrics(), two.metrics())
    ]
    torch.testing.assert_close(*map(torch.tensor, curves), rtol=1e-6, atol=0)
    for name, expected in one.weights().items():
        torch.testing.assert_close(two.weights()[name], expected, rtol=1e-6, atol=1e-9)
    assert two.metrics()["test/mae"] == pytest.approx(one.metrics()["test/mae"], rel=1e-6)
    assert two.metrics()["test/molecules"] == 30
    # 301 molecules in batches of 23 and 24: two processes cannot have equal parts.
    for training in one, two:
        epochs = training.seen()
        assert sorted(epochs) == [0, 1, 2, 3]
        for molecules in epochs.values():
            assert len(molecules) == len(set(molecules)) == 301
    saved = [line.split() for line in (two.folder / "saved.txt").read_text().splitlines()]
    assert {rank for rank, _, _ in saved} == {"0"}
    lasts = [step for _, step, name in saved if name == "last.ckpt"]
    assert lasts == [str(13 * epoch) for epoch in (1, 2, 3, 4)]


@pytest.mark.slow
def test_a_lost_process_ends_the_training_and_it_goes_on(two, qm9_cache, tmp_path):
    training = Training(tmp_path / "lost", qm9_cache, *DOUBLE, processes=2)
    process = training.start()
    training.await_steps(process, 20)
    workers = children(process.pid)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    assert process.wait(timeout=120) != 0
    assert not any(map(is_running, workers))
    printed = training.printed()
    assert "Go on with: lie-attention fit --resume run" in printed
    assert "another process of this training has ended" in printed
    require_same(two, training.finish())


@pytest.mark.slow
def test_processes_that_are_stopped_stop_after_the_same_batch(two, qm9_cache, tmp_path):
    training = Training(tmp_path / "stopped", qm9_cache, *DOUBLE, processes=2)
    process = training.start()
    training.await_steps(process, 20)
    process.send_signal(signal.SIGTERM)  # The launcher passes it on.
    assert process.wait(timeout=120) != 0
    assert training.steps() == len((training.folder / "seen-1.txt").read_text().splitlines())
    saved = (training.folder / "saved.txt").read_text().splitlines()[-1].split()
    assert saved == ["0", str(training.steps()), "last.ckpt"]
    require_same(two, training.finish())
    # Nothing was lost, and nothing done twice.
    assert all(len(molecules) == 301 for molecules in training.seen().values())


def children(parent):
    """Processes that another one has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            match = re.search(r"^PPid:\s*(\d+)", path.read_text(), re.M)
        except OSError:
            continue
        if match and int(match[1]) == parent:
            found.append(int(path.parent.name))
    return sorted(found)


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
