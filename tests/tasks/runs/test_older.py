"""Runs of the formats before this one: they are used, gone on with, and trained again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.commands.main import main
from tasks.runs.checkpoint import FORMAT, UPGRADES, read_checkpoint

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.xdist_group("older")  # The old runs are made once.

SHARED = ("--trainer.max_epochs=2", "--trainer.enable_progress_bar=false")
SHAPES = (
    *("--data.train_clouds=64", "--data.val_clouds=16", "--data.test_clouds=16"),
    *("--data.batch_size=16", "--model.counter.width=8"),
)
SYSTEMS = (
    *("--data.train_systems=20", "--data.val_systems=10", "--data.test_systems=10"),
    *("--data.batch_size=20", "--model.field.width=8", "--model.optimizer=adamw"),
)
FRAMES = (
    *("--data.source=Springs", "--data.train_frames=32", "--data.val_frames=8"),
    "--data.test_frames=16",
)
MOLECULES = (
    *("--data.train_molecules=64", "--data.val_molecules=16", "--data.test_molecules=32"),
    "--data.batch_size=16",
)
RUNS = {
    "shapes": ("shapes/quick", *SHAPES, "--model.counter.layers=1"),
    "set": ("shapes/set_transformer", *SHAPES),
    "dynamics": ("dynamics/quick", *SYSTEMS),
    "fc": ("dynamics/fc", *SYSTEMS),
    "hogn": ("dynamics/hogn", *SYSTEMS),
    "md17": (
        *("md17/quick", *FRAMES, "--model.network=LieEnergy", "--model.network.group=SE3"),
        *("--model.network.width=8", "--model.network.layers=1", "--model.network.heads=2"),
        "--model.invariant=Distance",
    ),
    "steerable": ("md17/quick", *FRAMES, "--model.network.channels=4", "--model.force_weight=3"),
    "qm9": ("qm9/quick", *MOLECULES, "--model.width=8", "--model.heads=2", "--model.layers=1"),
}
"""A configuration of then and its settings."""

COMMITS = {"937ca18": ["shapes", "qm9"], "33036f1": list(RUNS)}
"""The last commits that wrote formats 0 and 1; their source makes the runs, in the history."""

OLD = [f"{commit}/{name}" for commit, names in COMMITS.items() for name in names]
MAKE = """
import json, sys
try:
    from tasks.cli import main
except ImportError:
    from tasks.run.cli import main
for name, settings in json.loads(sys.argv.pop()).items():
    sys.argv = ["lie-attention"]
    main(["fit", f"--run={name}", "--config", *settings])
    main(["predict", f"--run={name}"])
"""


@pytest.fixture(scope="module")
def old_runs(qm9_cache, tmp_path_factory):
    """A folder of runs for each commit, made by the source of then."""
    folder, making = tmp_path_factory.mktemp("old"), []
    for commit, names in COMMITS.items():
        command = ["git", "archive", commit]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        if found.returncode:
            pytest.skip(f"the history has no {commit}")
        source, runs = folder / f"source-{commit}", folder / commit
        source.mkdir()
        runs.mkdir()
        subprocess.run(["tar", "-x", "-C", source], input=found.stdout, check=True)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(source), *sys.path]),
            "LIE_ATTENTION_CACHE": str(qm9_cache),
            "OMP_NUM_THREADS": "1",
        }
        settings = json.dumps({name: [*RUNS[name], *SHARED] for name in names})
        program = [sys.executable, "-c", MAKE, settings]
        with (runs / "log.txt").open("w") as log:
            made = subprocess.Popen(program, cwd=runs, env=environment, stdout=log, stderr=log)
        making.append((made, runs / "log.txt"))
    for made, log in making:
        assert made.wait() == 0, log.read_text()
    return folder


@pytest.fixture(params=OLD)
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


def test_an_old_run_tests_predicts_and_goes_on(run, request):
    made_by = torch.load(run / "checkpoints/last.ckpt", weights_only=True).get("lie_attention", {})
    assert made_by.get("format", 0) < FORMAT
    before = json.loads((run / "metrics.json").read_text())
    expected = figures(run)
    main(["test", "--run=run"])
    found = figures(run)
    assert {name for name in expected if name.startswith("test/")} <= set(found)
    for name, value in found.items():
        if "error" in name and name.startswith("equivariance"):
            assert value < 1e-3  # Rounding.
        elif not name.startswith("drift") and name in expected:
            assert value == pytest.approx(expected[name], rel=1e-5), name
    main(["predict", "--run=run"])
    of_bessel = request.node.callspec.params["run"].endswith("steerable")
    rtol, atol = (1e-4, 1e-2) if of_bessel else (1e-5, 1e-7)
    np.testing.assert_allclose(
        table(run / "predictions-2.csv"), table(run / "predictions.csv"), rtol=rtol, atol=atol
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


def test_an_old_configuration_trains_the_same_weights_bit_by_bit(run, request, capsys):
    """Parameters are made and drawn in the order of then, and a step computes the same."""
    name = request.node.callspec.params["run"]
    main(["fit", f"--config={run}/config.yaml", "--run=again"])
    assert "of version 0.1" in capsys.readouterr().err
    old, new = (
        read_checkpoint(Path(folder) / "checkpoints/last.ckpt") for folder in (run, "again")
    )
    assert old["global_step"] == new["global_step"]
    if name.endswith("fc"):
        # Its inputs stand in another order, particle by particle, so it draws other weights.
        shapes = [{n: w.shape for n, w in each["state_dict"].items()} for each in (old, new)]
        assert shapes[0] == shapes[1]
        return
    assert old["state_dict"].keys() == new["state_dict"].keys()
    for weights, expected in old["state_dict"].items():
        found = new["state_dict"][weights]
        if name.endswith("steerable"):  # Bessel functions have been rounded in another way since.
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-3)
        else:
            assert torch.equal(found, expected), weights


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--model.force_weight=2", "model.objective.force_weight"),
        ("--model.invariant=Distance", "model.network.invariant"),
        ("--model.property_network=SteerableProperty", "model.network"),
        ("--model.counter.width=8", "model.network.width"),
        ("--model.field.group=T2", "model.network.group"),
        ("--model.integrator=Leapfrog", "model.objective.integrator"),
    ],
)
def test_an_option_of_then_is_refused_by_the_name_of_today(refused, option, words):
    message = refused("fit", "--config=config.yaml", option)
    assert option.partition("=")[0].removeprefix("--") in message
    assert words in message


def test_every_format_has_its_step():
    assert sorted(UPGRADES) == list(range(FORMAT))
    assert all(step.__doc__ for step in UPGRADES.values())


def test_a_checkpoint_says_which_version_wrote_it():
    main(["fit", "--config=config.yaml", "--run=new", "--trainer.max_epochs=1"])
    made = torch.load("new/checkpoints/last.ckpt", weights_only=True)["lie_attention"]
    assert made["format"] == FORMAT and made["version"]
