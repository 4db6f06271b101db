"""The medians of the sweep of data efficiency."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/dynamics.py"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("dynamics_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def row(model, size, short, long):
    return {
        "model": model,
        "parameters": 7,
        "train_systems": size,
        "mse_5": short,
        "mse_100": long,
        "cpu_seconds": 2.0,
    }


def test_medians_stand_beside_the_published_ones(script):
    rows = [row("lie-small", 10, short, 10 * short) for short in (3e-4, 1e-4, 9e-4)]
    rows += [row("HFC", 10, 0.1, 1.0), row("OGN", 12, 0.1, 1.0)]
    lie, hfc, ogn = script.summarize(rows)
    assert (lie["mse_5"], lie["mse_100"]) == pytest.approx((3e-4, 3e-3))
    assert lie["seeds"] == 3
    # Hutchinson et al. 2021: the LieTransformer's medians at ten systems.
    assert (lie["published_mse_5"], lie["published_mse_100"]) == (7.4e-4, 6.7e-2)
    assert hfc["published_mse_5"] is None  # None was published,
    assert ogn["published_mse_100"] is None  # or none at this size.


def test_a_roll_out_that_diverged_counts_as_the_worst(script):
    rows = [row("FC", 10, short, None) for short in (None, 0.1, 0.2)]
    (line,) = script.summarize(rows)
    assert line["mse_5"] == 0.2
    assert line["mse_100"] is None


def test_a_model_has_a_row_with_its_medians_at_some_sizes(script):
    rows = [row("FC", size, 1 / size, None) for size in (10, 10, 25, 100)]
    (line,) = script.across(script.summarize(rows))
    assert (line["mse_5_of_10"], line["mse_5_of_100"]) == (0.1, 0.01)
    assert line["mse_100_of_10"] is None
    assert "mse_5_of_25" not in line
    assert line["seeds"] == 1  # The fewest of its sizes.


def test_a_derived_row_says_what_a_training_took_and_all_of_them(script):
    costs = ((10, 1.0), (10, 2.0), (10, 6.0), (100, 20.0))
    rows = [row("FC", size, 0.1, 0.2) | {"cpu_seconds": cost} for size, cost in costs]
    small, large = script.summarize(rows)
    assert (small["cpu_seconds_of_a_run"], small["cpu_seconds"]) == (2.0, 9.0)
    (line,) = script.across([small, large])
    assert (line["cpu_seconds_of_10"], line["cpu_seconds_of_100"]) == (2.0, 20.0)
    assert line["cpu_seconds"] == 29.0


def test_medians_name_their_source_and_the_command_that_derived_them(script, monkeypatch):
    written = {}
    monkeypatch.setattr(script, "write", lambda name, rows, notes: written.update({name: rows}))
    monkeypatch.setattr(sys, "argv", ["benchmarks/dynamics.py", "summary"])
    script.write_medians([row("FC", 10, 0.1, 0.2)])
    assert written.keys() == {"dynamics/summary", "dynamics/models"}
    for (line,) in written.values():
        assert line["sources"] == "results/dynamics/data_efficiency.json"
        assert line["command"] == "python benchmarks/dynamics.py summary"
        assert line["cpu_seconds"] == 2.0
