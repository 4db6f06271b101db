"""A training and a study that are killed end like those that are not: one of each in a test."""

import importlib.util
import random
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/kills.py"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("kills_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("kind", "whom"),
    [
        ("Training", "process"),
        pytest.param("Training", "parent", marks=pytest.mark.slow),
        pytest.param("Study", "process", marks=pytest.mark.slow),
        ("Study", "parent"),
    ],
)
def test_what_is_killed_goes_on_to_the_same_end(script, kind, whom):
    row = script.measure(getattr(script, kind), whom, 1, random.Random(3))
    assert (row["kills"], row["resumed_equal"]) == (1, 1)
    assert row["cpu_seconds"] > 0
