"""Rows of a run of benchmarks/steerable.py beside those of earlier runs."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tasks.provenance import FIELDS

SCRIPT = Path(__file__).parents[2] / "benchmarks/steerable.py"


@pytest.fixture
def script(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.setattr(sys, "path", list(sys.path))  # The script moves its folder to the end.
    spec = importlib.util.spec_from_file_location("steerable_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys.modules["_results"], "ROOT", tmp_path)
    return module


def test_a_run_replaces_its_own_rows_and_leaves_the_others_as_they_are(
    script, tmp_path, monkeypatch
):
    def measured(library, seconds):
        found = {"seconds_forward_backward": 2 * seconds, "cpu_seconds_forward_backward": seconds}
        return {"field": "f", "library": library} | script.renamed(found | {"cpu_seconds": 9.0})

    monkeypatch.setattr(sys, "argv", ["benchmarks/steerable.py", "first"])
    script.merge("topic/name", [measured("ours", 1.0), measured("e3nn", 2.0)], "", 2)
    monkeypatch.setattr(sys, "argv", ["benchmarks/steerable.py", "second"])
    script.merge("topic/name", [measured("ours", 0.5)], "", 2)
    rows = json.loads((tmp_path / "results/topic/name.json").read_text())["rows"]
    assert [(row["library"], row["cpu_seconds_step"], row["command"][-6:]) for row in rows] == [
        ("e3nn", 2.0, " first"),
        ("ours", 0.5, "second"),
    ]
    assert all(row["cpu_seconds"] == 9.0 and set(FIELDS) <= row.keys() for row in rows)
