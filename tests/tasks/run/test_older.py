"""Runs of the version before the format had a number: they are used and gone on with."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.cli import main
from tasks.run.checkpoint import FORMAT, UPGRADES, read_checkpoint

ROOT = Path(__file__).resolve().parents[3]
COMMIT = "937ca18"
"""The last commit that wrote format 0; its source makes the runs, where the history has it."""

SHARED = ("--trainer.max_epochs=2", "--trainer.enable_progress_bar=false")
RUNS = {
    "shapes": (
        *("--data.train_clouds=64", "--data.val_clouds=16", "--data.test_clouds=16"),
        *("--data.batch_size=16", "--model.counter.width=8", "--model.counter.layers=1"),
    ),
    "dynamics": (
        *("--data.train_systems=20", "--data.val_systems=10", "--data.test_systems=10"),
        *("--data.batch_size=20", "--model.field.width=8", "--model.optimizer=adamw"),
    ),
    "md17": (
        *("--data.source=Springs", "--data.train_frames=32", "--data.val_frames=8"),
        *("--data.test_frames=16", "--model.network=LieEnergy", "--model.network.group=T3"),
        *("--model.network.width=8", "--model.network.layers=1", "--model.network.heads=2"),
    ),
    "qm9": (
        *("--data.train_molecules=64", "--data.val_molecules=16", "--data.test_molecules=32"),
        *("--model.width=8", "--model.heads=2", "--model.layers=1", "--data.batch_size=16"),
    ),
}
MAKE = """
import json, sys
from tasks.cli import main
for task, settings in json.loads(sys.argv.pop()).items():
    sys.argv = ["lie-attention"]
    main(["fit", f"--config={task}/quick.yaml", f"--run={task}", *settings])
    main(["predict", f"--run={task}"])
"""


@pytest.fixture(scope="module")
def old_runs(qm9_cache, tmp_path_factory):
    """Runs of all tasks, made by the source of then."""
    folder = tmp_path_factory.mktemp("old")
    found = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"the history has no {COMMIT}")
    (folder / "source").mkdir()
    subprocess.run(["tar", "-x", "-C", folder / "source"], input=found.stdout, check=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "source"), *sys.path]),
        "LIE_ATTENTION_CACHE": str(qm9_cache),
        "OMP_NUM_THREADS": "1",
    }
    (folder / "runs").mkdir()
    settings = json.dumps({task: [*given, *SHARED] for task, given in RUNS.items()})
    made = subprocess.run(
        [sys.executable, "-c", MAKE, settings],
        cwd=folder / "runs",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return folder / "runs"


@pytest.fixture
def run(request, old_runs, qm9_cache, monkeypatch):
    """A copy of an old run, at another place than it was made."""
    monkeypatch.setenv("LIE_ATTENTION_CACHE", str(qm9_cache))
    shutil.copytree(old_runs / request.param, "run")
    return Path("run")


def figures(folder):
    found = json.loads((folder / "metrics.json").read_text())
    return {k: v for k, v in found.items() if isinstance(v, int | float) and "seconds" not in k}


def table(path):
    return np.loadtxt(path, delimiter=",", skiprows=1)


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_an_old_run_tests_predicts_and_goes_on(run):
    assert "lie_attention" not in torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    before = json.loads((run / "metrics.json").read_text())
    expected = figures(run)
    main(["test", "--run=run"])
    for name, value in figures(run).items():
        if "error" in name and name.startswith("equivariance"):
            assert value < 1e-3  # Rounding.
        elif not name.startswith("drift"):
            assert value == pytest.approx(expected[name], rel=1e-6), name
    main(["predict", "--run=run"])
    np.testing.assert_allclose(
        table(run / "predictions-2.csv"), table(run / "predictions.csv"), rtol=1e-5, atol=1e-7
    )
    main(["fit", "--resume=run", "--trainer.max_epochs=3"])
    after = json.loads((run / "metrics.json").read_text())
    assert after["history"][:2] == before["history"]
    assert len(after["history"]) == 3
    best = read_checkpoint(run / "checkpoints/best.ckpt")
    (state,) = (s for n, s in best["callbacks"].items() if "best_model_score" in s and "val/" in n)
    criterion = next(key for key in after["history"][0] if key == f"val/{state['monitor'][4:]}")
    score = min(row[criterion] for row in after["history"])
    assert float(state["best_model_score"]) == pytest.approx(score)


def test_every_format_has_its_step():
    assert sorted(UPGRADES) == list(range(FORMAT))
    assert all(step.__doc__ for step in UPGRADES.values())


def test_a_checkpoint_says_which_version_wrote_it():
    main(["fit", "--config=config.yaml", "--run=new", "--trainer.max_epochs=1"])
    made = torch.load("new/checkpoints/last.ckpt", weights_only=True)["lie_attention"]
    assert made["format"] == FORMAT and made["version"]
