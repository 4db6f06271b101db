"""benchmarks/qm9.py: training for a time, what is counted, kept and written."""

import importlib.util
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from tasks.commands.main import launch
from tasks.commands.task import TaskCLI

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/qm9.py"
COLUMNS = "network target split train_molecules mae unit equivariance equivariance_error"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("qm9_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def called(script, monkeypatch, tmp_path, qm9_cache):
    """Call the script in a root of its own, with two tiny networks."""
    monkeypatch.setattr(sys.modules["_results"], "ROOT", tmp_path)
    tiny = {"width": 8, "layers": 1, "heads": 2}
    tiny = {name: partial(script.NETWORKS[name], **tiny) for name in ("distances", "T3")}
    monkeypatch.setattr(script, "NETWORKS", tiny)

    def call(*arguments):
        common = ["--cache-dir", qm9_cache, "--folder", tmp_path / "runs", "--device", "cpu"]
        common += ["--test-molecules", 64, "--probe", 4]
        monkeypatch.setattr(sys, "argv", ["qm9.py", *map(str, [*arguments, *common])])
        script.main()

    return call


def test_every_network_trains_and_has_the_symmetry_that_it_claims(script):
    """What is exact under rigid motions does not change with them, and the rest does."""
    features, points = torch.rand(4, 5, 15), torch.randn(4, 5, 3)
    for name in script.NETWORKS:
        if "SchNetPack" in name and importlib.util.find_spec("schnetpack") is None:
            continue  # It wants an environment of its own.
        torch.manual_seed(0)
        model = script.make(name, "homo")
        error = script.invariance_error(model.network, features, points, group=script.SE3())
        assert (error > 1e-6) == script.is_augmented(model), name
        model.network(features, points).sum().backward()
        assert all(p.grad is not None for p in model.parameters()), name


def test_a_training_that_is_stopped_goes_on_and_is_written_once(called, tmp_path, script):
    arguments = ["train", "distances", "--targets", "homo", "--seconds", "0.5"]
    called(*arguments, "--call-seconds", "0")
    assert not (tmp_path / "results").exists()
    plan, path = (tmp_path / f"runs/distances-homo-all.{kind}" for kind in ("json", "ckpt"))
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["global_step"] == 1
    called(*arguments)
    (row,) = script.read("qm9/table")
    steps = json.loads(plan.read_text())["steps"]
    assert torch.load(path, weights_only=True)["global_step"] == row["steps"] == steps
    assert set(COLUMNS.split()) | {"seconds", "device"} <= row.keys()
    assert row["train_molecules"] == 100_000 and row["split"] == "lietransformer"
    assert row["equivariance_error"] < 1e-9
    assert row["seconds"] > 0
    # Without a GPU the clock is the processor's.
    assert row["cpu_seconds"] == pytest.approx(row["seconds"], abs=0.11)
    assert row["command"].startswith("python qm9.py train distances --targets homo")
    before = path.stat().st_mtime_ns
    called(*arguments)
    assert script.read("qm9/table") == [row]
    assert path.stat().st_mtime_ns == before


def test_both_precisions_take_the_same_steps(called, script):
    called("precision", "distances", "--steps", "3")
    rows = script.read("qm9/precision")
    assert [(r["precision"], r["steps"]) for r in rows] == [("32-true", 3), ("bf16-mixed", 3)]
    assert rows[0]["mae"] != rows[1]["mae"]  # Half precision is in use.
    called("precision", "distances", "--steps", "3")
    assert script.read("qm9/precision") == rows
    called("precision", "distances", "--steps", "2")
    later = script.read("qm9/precision")
    assert [row["steps"] for row in later] == [3, 3, 2, 2]
    assert later[:2] == rows  # With the command of their own.
    assert ["--steps 2" in row["command"] for row in later] == [False, False, True, True]


@pytest.mark.slow
def test_it_runs_without_what_the_gpu_machine_lacks(tmp_path, qm9_cache):
    """In a process of its own, where these packages cannot be imported."""
    missing = ["ase", "jsonargparse", "platformdirs", "qm9pack"]
    code = f"import runpy, sys; sys.modules.update(dict.fromkeys({missing})); "
    code += f"sys.argv[0] = {str(SCRIPT)!r}; sys.path.insert(0, {str(SCRIPT.parent)!r}); "
    code += f"import pathlib, _results; _results.ROOT = pathlib.Path({str(tmp_path)!r}); "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    subprocess.run(
        [
            *(sys.executable, "-c", code, "train", "distances", "--targets", "u0"),
            *("--seconds", "1", "--probe", "4", "--call-seconds", "0", "--device", "cpu"),
            *("--cache-dir", str(qm9_cache), "--folder", str(tmp_path), "--threads", "1"),
        ],
        check=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert (tmp_path / "distances-u0-all.ckpt").exists()


def test_the_default_network_is_that_of_the_configuration(script, qm9_cache, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lie-attention"])
    few = ["--data.train_molecules=8", "--data.val_molecules=4", f"--data.cache_dir={qm9_cache}"]
    config = str(ROOT / "tasks/configs/qm9/full.yaml")
    model = launch(["fit", "--config", config, *few, "--trainer.fast_dev_run=true"], TaskCLI).model
    made = script.make(script.DEFAULT, "homo")
    assert model.network.geometry == made.network.geometry
    assert str(model.network) == str(made.network)
    assert model.network.state_dict().keys() == made.network.state_dict().keys()
