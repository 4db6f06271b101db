"""The decoder that estimates the ceiling of shape counting, and the rows of the table."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from tasks.sources.shapes import SHAPES, Patterns

SCRIPT = Path(__file__).parents[2] / "benchmarks/shapes.py"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("shapes_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_patterns_far_apart_are_decoded(script):
    patterns = Patterns(translation=200.0, scaled=False, rotation=180.0)
    for points, mask, counts in zip(*patterns.sample(40, seed=0), strict=True):
        np.testing.assert_array_equal(script.decode(patterns, points[mask]), counts)


def test_points_that_are_no_shapes_have_no_counts(script):
    patterns = Patterns(scaled=False)
    square = np.array(SHAPES["square"])
    assert script.decode(patterns, np.concatenate([square, [[9.0, 9.0]]])) is None


def test_the_density_of_a_set_is_that_of_its_shape(script):
    # Integrated over the shifts and, by quadrature, over the angles of the corners.
    patterns = Patterns(("L",), 1, 1.0, noise=0.1, scaled=False)
    corners = np.array(SHAPES["L"])
    rng = np.random.default_rng(0)
    points = corners + 0.1 * rng.standard_normal(corners.shape)
    (found,) = script.candidates(patterns, points, side=24.0)
    own, centered = points - points.mean(0), corners - corners.mean(0)
    angles = np.linspace(-np.pi, np.pi, 20001)[:-1]
    turned = np.exp(1j * angles)[:, None] * (centered @ [1, 1j])
    rest = np.abs(own @ [1, 1j] - turned) ** 2
    integral = np.exp(-rest.sum(1) / 0.02).mean()  # Over the angles, of density 1/2π.
    expected = integral * (2 * np.pi * 0.01) ** -5 * (2 * np.pi * 0.01 / 5) / 24**2
    assert found[1] == (0, 1, 2, 3, 4)
    # Laplace's method is exact but for the noise over the size of the L.
    assert found[2] == pytest.approx(np.log(expected), abs=0.05)


def test_the_table_has_a_row_for_each_test_set(script, tmp_path, monkeypatch):
    result = {"network": "N", "train": "T2", "seed": 1, "seconds": 2.0, "parameters": 3}
    result |= {"kind": "exact", "accuracy_D": 0.25, "accuracy_T2": 0.5, "accuracy_SE2": 0.75}
    result |= {"commit": "1a2b3c4", "date": "2026-01-01", "cpu_seconds": 1.5}
    (tmp_path / "results.json").write_text(json.dumps({"rows": [result]}))
    written = {}
    monkeypatch.setattr(script, "write", lambda name, rows, notes: written.update({name: rows}))
    script.table([str(tmp_path / "results.json")])
    found = [(row["test"], row["accuracy"]) for row in written["shapes/table"]]
    assert found == [("D", 0.25), ("T2", 0.5), ("SE2", 0.75)]
    assert {row["train"] for row in written["shapes/table"]} == {"T2"}
    for row in written["shapes/table"]:  # That of the training, not of what collects it.
        assert (row["commit"], row["date"], row["cpu_seconds"]) == ("1a2b3c4", "2026-01-01", 1.5)
        assert row["command"] == "unknown"
    line = written["shapes/summary"][0]
    assert line["sources"] == "results/shapes/table.json"
    assert line["cpu_seconds"] == 1.5  # One training, tested on three sets.


def test_the_summary_has_mean_and_deviation_of_each_cell(script):
    rows = [
        {"network": "N", "train": "D", "test": test, "seed": seed, "accuracy": accuracy,
         "seconds": 10.0 * seed, "parameters": 5}
        for test, values in (("D", (0.5, 0.7)), ("SE2", (0.5, 0.6)))
        for seed, accuracy in enumerate(values)
    ]  # fmt: skip
    line = script.summary(rows)[0]
    assert (line["D_D"], line["D_SE2"]) == ("0.600 ± 0.141", "0.550 ± 0.071")
    assert "T2_T2" not in line
    assert (line["seeds"], line["seconds"]) == (2, 5.0)
    assert line["cpu_seconds"] == "unknown"
    assert line["largest_gap"] == pytest.approx(0.1)
