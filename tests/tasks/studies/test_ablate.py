"""The command, on small studies of a toy: what it leaves, refuses, and survives."""

import importlib.util
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
import yaml

from tasks.commands.main import main
from tasks.provenance import FIELDS, machine
from tasks.studies import Study
from tasks.studies.store import Store
from tasks.studies.workers import device_of

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "tasks/configs"
BASE = {
    "task": "md17",
    "model": {
        "network": {
            "class_path": "attention.LieTransformer",
            "init_args": {"group": "T3", "width": 8, "layers": 1, "heads": 2, "pooling": "sum"},
        },
        "learning_rate": 0.01,
    },
    "data": {
        "source": {"class_path": "tasks.sources.md17.Springs", "init_args": {"frames": 40}},
        "train_frames": 20,
        "val_frames": 4,
        "test_frames": 8,
        "batch_size": 5,
    },
    "trainer": {"max_epochs": 2},
}
STUDY = {
    "config": "base.yaml",
    "grid": {
        "invariant": {"keys": "model.network.invariant", "values": ["Distance", "InverseDistance"]},
        "seed": {"keys": ["seed_everything", "data.seed"], "values": [0, 1]},
    },
    "columns": {"force_mae_mev_per_angstrom": "test/mae", "seconds": "train/seconds"},
}
NAMES = [f"{invariant}-seed{s}" for invariant in ("Distance", "InverseDistance") for s in (0, 1)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a study, to work in."""
    monkeypatch.chdir(tmp_path)
    write(STUDY)
    return tmp_path


def write(study, base=BASE):
    Path("base.yaml").write_text(yaml.safe_dump(base))
    Path("study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))


def ablate(*args):
    """Run the command in this process; give its exit status."""
    arguments = ["ablate", "--study", "study.yaml", "--folder", "out", "--workers", "2", *args]
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def refusal(capsys, *args):
    assert ablate(*args) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("lie-attention: error: ")
    return message


def results():
    return json.loads(Path("out/results.json").read_text())


def without_time(row):
    return {key: value for key, value in row.items() if "seconds" not in key}


def outcome(run):
    """All that a run found but the time: figures, history, weights."""
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["provenance"]
    history = [without_time(row) for row in metrics.pop("history")]
    weights = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return without_time(metrics), history, {k: v.tolist() for k, v in weights.items()}


def epochs_run(run):
    return [int(n) for n in re.findall(r"^epoch (\d+)/", (run / "log.txt").read_text(), re.M)]


# ---- what it leaves --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_is_carried_out_once_and_its_results_are_those_of_fit(folder, capsys):
    assert ablate() == 0
    rows = results()["rows"]
    assert [f"{row['invariant']}-seed{row['seed']}" for row in rows] == NAMES
    for row, name in zip(rows, NAMES, strict=True):
        metrics = json.loads(Path(f"out/runs/{name}/metrics.json").read_text())
        assert row["force_mae_mev_per_angstrom"] == metrics["test/mae"]
        assert row["seconds"] == metrics["train/seconds"]
    assert results().keys() == {"notes", "rows"}
    assert all(row["machine"] == machine() for row in rows)
    assert "± " in Path("out/results.md").read_text()
    assert Path("out/results.png").read_bytes().startswith(b"\x89PNG")

    # A training by hand, with the settings that the name of the run says, gives the same.
    settings = ["--model.network.invariant=InverseDistance", "--seed_everything=1", "--data.seed=1"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        main(["fit", "--config=base.yaml", "--run=alone", *settings])
    finally:
        torch.set_num_threads(threads)
    assert outcome(Path("alone")) == outcome(Path("out/runs/InverseDistance-seed1"))

    before = {path: path.stat().st_mtime_ns for path in Path("out/runs").rglob("*.*")}
    assert ablate() == 0
    assert {path: path.stat().st_mtime_ns for path in Path("out/runs").rglob("*.*")} == before
    assert results()["rows"] == rows

    write({**STUDY, "columns": {"error": "test/energy_mae"}})
    assert ablate() == 0  # Other columns are read from the runs that are there.
    assert {path: path.stat().st_mtime_ns for path in Path("out/runs").rglob("*.*")} == before
    assert [set(row) for row in results()["rows"]] == [{"invariant", "seed", "error", *FIELDS}] * 4

    capsys.readouterr()
    assert ablate("--columns={error: test/maee}") == 1
    message = capsys.readouterr().out
    assert "has no test/maee; it has" in message
    assert "test/energy_mae" in message


@pytest.mark.slow
def test_a_run_that_fails_is_recorded_and_the_others_go_on(folder, capsys):
    grid = {"data.molecule": ["aspirin", "ethanol"]}  # The toy has ethanol alone.
    write({**STUDY, "grid": grid})
    assert ablate() == 1
    found = results()
    assert [row["molecule"] for row in found["rows"]] == ["ethanol"]
    (failed,) = found["failed"]
    assert failed["molecule"] == "aspirin"
    assert "Springs has ethanol alone; got 'aspirin'" in failed["message"]
    assert "aspirin failed: molecule: Springs has ethanol alone" in capsys.readouterr().out
    written = Path("out/runs/ethanol/metrics.json").stat().st_mtime_ns
    assert ablate() == 1  # It is tried again, the other one is not.
    assert Path("out/runs/ethanol/metrics.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_a_crash_of_a_process_leaves_the_others_alone(folder, monkeypatch):
    Path("crashing.py").write_text(
        "import os, signal\n"
        "from dataclasses import dataclass\n"
        "from tasks.sources.md17 import Source\n"
        "@dataclass(frozen=True)\n"
        "class Crash(Source):\n"
        "    def load(self, molecule):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    write({**STUDY, "grid": {"data.source": ["crashing.Crash", "Springs"]}})
    assert ablate("--data.test_frames=8") == 1
    assert [row["source"] for row in results()["rows"]] == ["Springs"]
    assert "signal 11" in results()["failed"][0]["message"]


def test_a_row_says_where_its_own_run_comes_from(folder):
    study, store = Study.read(Path("study.yaml")), Store(Path("out"))
    origins = [
        {"command": "lie-attention fit --data.seed=0", "commit": "1a2b3c4", "date": "2026-01-01",
         "machine": "one", "cpu_seconds": 7.5, "version": "0.1.0"},
        {"command": "lie-attention fit --resume out", "commit": "5d6e7f8+", "date": "2026-01-02",
         "machine": "two", "cpu_seconds": 8.5},
        {},
        None,
    ]  # fmt: skip
    for run, origin in zip(study.runs, origins, strict=True):
        found = {"test/mae": 1.0, "train/seconds": 9.0}
        if origin is not None:
            found["provenance"] = origin
        store.run_folder(run).mkdir(parents=True)
        (store.run_folder(run) / "metrics.json").write_text(json.dumps(found))
    (store.run_folder(study.runs[3]) / "progress.json").write_text('{"machine": "three"}')
    store.write_results(Path("out/results.json"), study, {})
    content = results()
    assert content.keys() == {"notes", "rows"}
    nothing = dict.fromkeys(FIELDS, "unknown")
    rows = [{name: row[name] for name in FIELDS} for row in content["rows"]]
    assert rows == [
        origins[0],
        origins[1] | {"version": "unknown"},
        nothing,
        nothing | {"machine": "three"},
    ]
    assert content["rows"][0]["seconds"] == 9.0  # The cost stands beside the figure.


# ---- what it refuses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ["--grid.invariant=[Distance, Distant]"],
            ["run Distant-seed0", "model.network.invariant"],
        ),
        (["--grid.model.network.heads=[2, 3]"], ["heads3", "3 heads", "width 8"]),
        (["--grid.model.widht=[1, 2]"], ["widht"]),
        (["--grid.seed=[7]"], ["grid.seed", "[7]", "0, 1"]),
        (["--grid.seed=[7"], ["grid.seed", "not YAML"]),
        (["--columns=[7]"], ["columns", "mapping"]),
        (["--columns={machine: test/mae}"], ["machine", "where it comes from", "another name"]),
        (["--model.network.invariant=Distance"], ["model.network.invariant", "axis 'invariant'"]),
        (["--resume=x"], ["resume", "does not take"]),
        (["stray"], ["'stray'", "no option"]),
        (["--workers=0"], ["workers", "at least 1", "0"]),
        (["--spread=sed"], ["spread", "'sed'", "invariant, seed"]),
        (["--config=base.yaml"], ["either --study", "--config"]),
        (["--gpus=1"], ["gpus", "--ray"]),
        (["--study=none.yaml"], ["study", "none.yaml"]),
    ],
    ids=lambda value: value[0],
)  # fmt: skip
def test_a_mistake_anywhere_in_the_grid_stops_before_any_run(folder, capsys, args, words):
    message = refusal(capsys, *args)
    for word in words:
        assert word in message
    assert not Path("out/runs").exists()
    assert not Path("out/study.json").exists()


def test_the_plan_is_shown_and_nothing_written(folder, capsys):
    assert ablate("--dry_run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == NAMES
    assert lines[4].startswith("4 of 4 runs are left")
    assert not Path("out").exists()


@pytest.mark.slow
def test_another_study_in_the_same_folder_is_refused(folder, capsys):
    grid = ["--grid.invariant=[Distance]", "--grid.seed=[0]"]
    assert ablate(*grid) == 0
    content = Path("out/results.json").read_bytes()
    message = refusal(capsys, *grid, "--trainer.max_epochs=3")
    assert "trainer.max_epochs was absent, and is now 3" in message
    assert "--folder" in message
    write(STUDY, base={**BASE, "seed_everything": 4, "trainer": {"max_epochs": 5}})
    assert "config.trainer.max_epochs was 2, and is now 5" in refusal(capsys, *grid)
    assert Path("out/results.json").read_bytes() == content


def test_two_at_once_in_one_folder_are_refused_and_the_lock_dies_with_its_holder(folder, capsys):
    Path("out").mkdir()
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl,sys,time\nf=open('out/.lock','a')\n"
         "fcntl.flock(f, fcntl.LOCK_EX)\nprint('held', flush=True)\ntime.sleep(600)"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    assert "another ablate works on" in refusal(capsys)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    write({**STUDY, "grid": {"model.network.heads": [3]}})
    assert "3 heads" in refusal(capsys)  # It comes as far as the settings.


def test_ray_that_is_not_installed_is_named(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    message = refusal(capsys, "--ray")
    assert "lie-attention[ray]" in message


# ---- what it survives ------------------------------------------------------------------------


class Killed:
    """The command in a process group of its own, which is killed at random moments."""

    def __init__(self, *args):
        self.args = [
            sys.executable,
            "-m",
            "tasks.commands.main",
            "ablate",
            "--study",
            "study.yaml",
            *args,
        ]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(self):
        return subprocess.Popen(
            self.args,
            start_new_session=True,
            preexec_fn=_hear_interrupts,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill_after(self, epochs, folder, whom=os.killpg):
        """Kill it once so many more epochs have been trained; say whether it still ran."""
        goal = epochs + self.epochs(folder)
        process = self.start()
        while process.poll() is None and self.epochs(folder) < goal:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.1))  # Anywhere in an epoch, or between two.
        running = process.poll() is None
        if running:
            whom(process.pid, signal.SIGKILL)
        process.wait()
        return running

    @staticmethod
    def epochs(folder):
        return sum(len(epochs_run(log.parent)) for log in folder.glob("runs/*/log.txt"))


def _hear_interrupts():
    # Those that a shell starts in the background do not.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def long_study(folder):
    trainer = {"max_epochs": 12, "check_val_every_n_epoch": 2}
    write(STUDY, base={**BASE, "trainer": trainer})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("whom", [os.killpg, os.kill], ids=["group", "parent alone"])
def test_killing_loses_nothing_and_repeats_nothing(long_study, whom):
    assert ablate("--folder", "whole") == 0
    random.seed(0)
    command = Killed("--folder", "killed", "--workers", "2")
    kills = 0
    for epochs in (0, 7, 17, 3):
        done = {path.parent for path in Path("killed").glob("runs/*/metrics.json")}
        logs = {run: (run / "log.txt").read_bytes() for run in done}
        kills += command.kill_after(epochs, Path("killed"), whom)
        for run, log in logs.items():
            assert (run / "log.txt").read_bytes() == log
    assert kills >= 3
    last = command.start()
    assert last.wait() == 0
    for name in NAMES:
        run = Path("killed/runs") / name
        assert outcome(run) == outcome(Path("whole/runs") / name)
        epochs = epochs_run(run)
        assert sorted(set(epochs)) == list(range(1, 13))
        # Each kill costs a run at most the epoch that it was in.
        assert len(epochs) <= 12 + kills
    rows = [
        [without_time(row) for row in json.loads(Path(each, "results.json").read_text())["rows"]]
        for each in ("whole", "killed")
    ]
    assert rows[0] == rows[1]
    assert not list(Path("killed").rglob("*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_study_that_is_interrupted_stops_its_runs_and_goes_on(long_study, number):
    command = Killed("--folder", "stopped", "--workers", "2")
    process = command.start()
    while command.epochs(Path("stopped")) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, number)
    assert process.wait() == 1
    runs = [path.parent for path in Path("stopped/runs").glob("*/checkpoints")]
    assert all((run / "checkpoints/last.ckpt").exists() for run in runs)
    assert command.start().wait() == 0
    for name in NAMES:
        assert epochs_run(Path("stopped/runs") / name) == list(range(1, 13))


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(folder):
    torn = Path("out/runs/Distance")
    torn.mkdir(parents=True)
    (torn / "config.yaml").write_text("task: md")
    (torn / "parity.png").touch()
    assert ablate("--grid.invariant=[Distance]", "--grid.seed=[0]", "--folder=once") == 0
    assert not (torn / "metrics.json").exists()
    Path("once/runs/run").rename("reference")
    grid = {**STUDY["grid"], "seed": {"keys": "seed_everything", "values": [0]}}
    write({**STUDY, "grid": grid})
    assert ablate() == 0
    assert outcome(torn) == outcome(Path("reference"))


def test_runs_take_turns_on_the_gpus_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    found = [device_of(worker)["CUDA_VISIBLE_DEVICES"] for worker in range(5)]
    assert found == ["3", "5", "3", "5", "3"]


# ---- Ray -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_a_ray_cluster_gives_what_processes_give(folder):
    assert ablate("--folder", "processes") == 0
    command = Killed("--folder", "cluster", "--workers", "2", "--ray")
    command.kill_after(3, Path("cluster"))
    assert command.start().wait() == 0
    for name in NAMES:
        runs = [Path(each) / "runs" / name for each in ("processes", "cluster")]
        assert outcome(runs[0]) == outcome(runs[1])


# ---- the studies of the project --------------------------------------------------------------

FEW = {
    "md17": ["--data.source=Springs", "--data.train_frames=8", "--data.val_frames=4"],
    "shapes": [],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "study",
    [
        path.relative_to(CONFIGS)
        for path in sorted(CONFIGS.rglob("*.yaml"))
        if "grid" in yaml.safe_load(path.read_text())
    ],
    ids=lambda path: str(path.with_suffix("")),
)
def test_every_run_of_the_studies_builds(study, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    read = Study.read(CONFIGS / study)
    narrowed = [
        f"--grid.{axis.name}={json.dumps([axis.choices[0].label])}"
        for axis in read.axes
        if axis.name in ("seed", "molecule")  # Values that no other part of the settings sees.
    ]
    with pytest.raises(SystemExit) as left:
        main(
            [
                "ablate",
                "--study",
                str(CONFIGS / study),
                "--dry_run",
                *narrowed,
                *FEW.get(read.task, []),
            ]
        )
    assert left.value.code == 0
    assert "their settings are in order" in capsys.readouterr().out
