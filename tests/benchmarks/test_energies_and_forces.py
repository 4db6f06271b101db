"""benchmarks/energies_and_forces.py: a row says where its run comes from, and how to repeat it."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import yaml

from tasks.provenance import FIELDS

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/energies_and_forces.py"
ORIGIN = {
    "command": "lie-attention fit --resume ethanol",
    "commit": "1a2b3c4+",
    "version": "0.1.0",
    "date": "2026-01-01",
    "cpu_seconds": 59.5,
}


@pytest.fixture
def script(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(SCRIPT.parent), *sys.path])
    spec = importlib.util.spec_from_file_location("energies_and_forces", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys.modules["_results"], "ROOT", tmp_path)
    return module


@pytest.mark.parametrize("layers", [2, 7])
def test_a_row_says_what_made_it_and_what_differs_from_the_configuration(
    script, layers, monkeypatch, tmp_path
):
    config = yaml.safe_load((ROOT / script.CONFIG).read_text())
    usual = config["model"]["network"]["init_args"]["layers"]
    config["model"]["network"]["init_args"]["layers"] = layers
    metrics = {
        "molecule": "ethanol",
        "split": "published 1",
        "train/frames": 950,
        "test/frames": 1000,
        "test/energy_mae": 1.23456,
        "test/mae": 9.87654,
        "parameters": 1000,
        "train/seconds": 60.4,
        "history": [{}, {}, {}],
        "provenance": ORIGIN,
    }
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "metrics.json").write_text(json.dumps(metrics))
    monkeypatch.setattr(sys, "argv", ["energies_and_forces.py", str(run), "--notes", "here"])
    script.main()
    (row,) = json.loads((tmp_path / "results/md17/accuracy.json").read_text())["rows"]
    assert (row["energy_mae_mev"], row["force_mae_mev_per_angstrom"]) == (1.235, 9.877)
    assert row["layers"] == layers != usual
    assert f" --model.network.layers {layers} --trainer.max_epochs 3 " in row["repeat_by"]
    assert row["repeat_by"].count("--model.network") == 1
    # What collects the rows did not make them: they say what the folder of the run says.
    assert {name: row[name] for name in FIELDS} == ORIGIN | {"machine": "unknown"}
