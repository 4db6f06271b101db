"""Runs of the version before the format had a number: they are used and gone on with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.cli import main
from tasks.run.checkpoint import FORMAT, UPGRADES, read_checkpoint

OLD = Path(__file__).parent / "made_by_0.1.0"
TASKS = sorted(path.name for path in OLD.iterdir())


@pytest.fixture
def run(request, qm9_cache, monkeypatch):
    """A copy of an old run, at another place than it was made."""
    monkeypatch.setenv("LIE_ATTENTION_CACHE", str(qm9_cache))
    shutil.copytree(OLD / request.param, "run")
    return Path("run")


def figures(folder):
    found = json.loads((folder / "metrics.json").read_text())
    return {k: v for k, v in found.items() if isinstance(v, int | float) and "seconds" not in k}


def table(path):
    return np.loadtxt(path, delimiter=",", skiprows=1)


@pytest.mark.parametrize("run", TASKS, indirect=True, ids=TASKS)
def test_an_old_run_tests_predicts_and_goes_on(run):
    before = json.loads((run / "metrics.json").read_text())
    expected = figures(run)
    main(["test", "--run=run"])
    for name, value in figures(run).items():
        if "error" in name and name.startswith("equivariance"):
            assert value < 1e-3  # Rounding, which differs from machine to machine.
        elif not name.startswith("drift"):
            assert value == pytest.approx(expected[name], rel=2e-4), name
    main(["predict", "--run=run"])
    np.testing.assert_allclose(
        table(run / "predictions-2.csv"), table(run / "predictions.csv"), rtol=2e-4, atol=1e-6
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
