"""The tables that are made from result files say what those files say."""

import json

import pytest
from _ext import literature


def test_the_readme_has_the_table_that_the_results_give():
    assert literature.in_readme() == literature.in_markdown(literature.overview()), (
        "run: python docs/_ext/literature.py"
    )


def test_every_table_has_rows_as_wide_as_its_head():
    for name, make in literature.TABLES.items():
        head, body = make()
        assert body, name
        assert {len(row) for row in body} == {len(head)}, name


def test_our_figures_stand_in_their_files():
    head, body = literature.md17()
    row = json.loads((literature.RESULTS / "md17/accuracy.json").read_text())["rows"][0]
    (ours,) = (line[head.index("ours")] for line in body if line[0] == row["molecule"])
    energy, forces = (float(part) for part in ours.split(" / "))
    assert abs(energy - row["energy_mae_mev"]) < 0.05 * row["energy_mae_mev"]
    assert (
        abs(forces - row["force_mae_mev_per_angstrom"]) < 0.05 * row["force_mae_mev_per_angstrom"]
    )


def test_below_a_table_stands_when_it_was_measured_and_what_is_not_known():
    from_results = pytest.importorskip("_ext.from_results", exc_type=ImportError)
    rows = [
        {"date": "2026-01-03", "commit": "1a2b3c4+"},
        {"date": "2026-01-01", "commit": "5d6e7f8"},
        {"date": "unknown", "commit": "unknown"},
    ]
    assert from_results.span(rows) == (
        "Measured 2026-01-01 to 2026-01-03 at 1a2b3c4+, 5d6e7f8; not recorded for 1 of 3 rows."
    )
    assert from_results.span(rows[:1]) == "Measured 2026-01-03 at 1a2b3c4+."
    assert from_results.span(rows[2:]) == "Date and commit of these rows were not recorded."
    derived = [{"sources": "results/shapes/table.json", "date": "2026-01-01", "commit": "5d6e7f8"}]
    assert from_results.span(derived).startswith("Derived from results/shapes/table.json. Date and")


def test_a_cost_that_was_not_recorded_is_shown_as_unknown():
    from_results = pytest.importorskip("_ext.from_results", exc_type=ImportError)
    assert from_results.cell("unknown", ".0f") == "unknown"
    assert from_results.cell(12.6, ".0f") == "13"
    assert from_results.cell(None, ".0f") == ""
