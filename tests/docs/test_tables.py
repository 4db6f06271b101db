"""The tables that are made from result files say what those files say."""

import json

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
