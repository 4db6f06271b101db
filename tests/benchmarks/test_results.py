"""benchmarks/_results.py: a new row is stamped once, and rows that are there stay as they are."""

import json
import sys
from pathlib import Path

import pytest

from tasks.provenance import FIELDS, UNKNOWN

FOLDER = Path(__file__).parents[2] / "benchmarks"
OLD = {
    "network": "old",
    "command": "python benchmarks/qm9.py compare old",
    "commit": "1a2b3c4",
    "version": "0.0.1",
    "date": "2026-01-01",
    "machine": "another",
    "cpu_seconds": 7.0,
}


@pytest.fixture
def module(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    # Another one may have been loaded from elsewhere.
    monkeypatch.delitem(sys.modules, "_results", raising=False)
    import _results

    monkeypatch.setattr(_results, "ROOT", tmp_path)
    monkeypatch.setattr(
        sys, "argv", [str(FOLDER / "qm9.py"), "compare", "--cache-dir", "/folder/x"]
    )
    return _results


def test_a_new_row_beside_an_old_one_leaves_it_alone(module, tmp_path):
    path = tmp_path / "results/qm9/comparison.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"notes": "", "rows": [OLD]}))
    new = module.stamped({"network": "new", "cpu_seconds": 2.0})
    module.write("qm9/comparison", [*module.read("qm9/comparison"), new], "Notes.")
    content = json.loads(path.read_text())
    assert content.keys() == {"notes", "rows"}
    old, row = content["rows"]
    assert old == OLD
    assert row["command"] == "python benchmarks/qm9.py compare --cache-dir x"
    assert row["cpu_seconds"] == 2.0
    assert row["date"] != OLD["date"]
    assert list(row)[1:] == list(FIELDS)


def test_rows_without_an_origin_are_read_as_unknown_and_not_written(module, tmp_path):
    path = tmp_path / "results/qm9/comparison.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"command": "python x", "rows": [{"network": "older"}]}))
    (row,) = module.read("qm9/comparison")
    assert row == {"network": "older", **dict.fromkeys(FIELDS, UNKNOWN)}
    with pytest.raises(ValueError, match="no command, commit"):
        module.write("qm9/comparison", [{"network": "new"}], "")


def test_a_row_that_does_not_say_its_cost_cannot_be_stamped(module):
    with pytest.raises(KeyError):
        module.stamped({"network": "new"})


def test_the_cost_of_rows_is_unknown_where_one_is(module):
    rows = [{"cpu_seconds": 1.5}, {"cpu_seconds": 2.0}]
    assert module.spent(rows) == 3.5
    assert module.spent([*rows, {"cpu_seconds": UNKNOWN}]) == UNKNOWN
    assert module.spent([*rows, {}]) == UNKNOWN


def test_cases_that_take_turns_say_what_their_processes_took(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from _processes import take_turns

    monkeypatch.setattr(sys, "argv", [str(FOLDER / "attention.py")])
    tiny = {"system": "LieTransformer-T3", "points": 4, "width": 8, "layers": 1, "heads": 2}
    good, bad = take_turns([tiny, tiny | {"heads": 3}], 1)
    # Both loaded torch, and one failed after that.
    assert good["cpu_seconds"] > 0.1
    assert "heads must divide width" in bad["failed"]
    assert bad["cpu_seconds"] > 0.1
