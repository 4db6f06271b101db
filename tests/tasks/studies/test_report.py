"""Means and spreads, against the standard library; the table and the picture."""

import statistics
from pathlib import Path

import pytest

from tasks.studies import Axis, combine, group_rows
from tasks.studies.report import draw, table

AXES = [
    Axis.parse("data.molecule", ["ethanol", "aspirin"]),
    Axis.parse("radius_angstrom", {"keys": "radius", "values": [2.0, 3.0]}),
    Axis.parse("fixed", [7]),
    Axis.parse("seed_everything", [0, 1, 2]),
]
ERRORS = [3.1, 2.9, 3.6, 5.0, 5.5, 4.1, 30.0, 31.0, 29.5, 70.0, 71.0, 66.0]


def rows(count=None):
    labels = [run.labels for run in combine(AXES)]
    return [
        {**label, "force_mae_mev": error, "seconds": 10 * error, "unit": "meV"}
        for label, error in list(zip(labels, ERRORS, strict=True))[:count]
    ]


def test_means_and_spreads_are_taken_over_the_seeds():
    groups = group_rows(rows(), AXES, "seed")
    assert [dict(group.labels) for group in groups] == [
        {"molecule": molecule, "radius_angstrom": radius, "fixed": 7}
        for molecule in ("ethanol", "aspirin")
        for radius in (2.0, 3.0)
    ]
    for number, group in enumerate(groups):
        values = ERRORS[3 * number : 3 * number + 3]
        assert group.count == 3
        assert set(group.values) == {"force_mae_mev", "seconds"}
        assert group.mean("force_mae_mev") == pytest.approx(statistics.mean(values))
        assert group.spread("force_mae_mev") == pytest.approx(statistics.stdev(values))


def test_a_single_run_has_no_spread():
    first, second = group_rows(rows(4), AXES, "seed")
    assert (first.count, second.count) == (3, 1)
    assert second.spread("force_mae_mev") is None


def test_the_table_has_a_line_for_each_group_and_what_varies():
    text = table(group_rows(rows(4), AXES, "seed"), AXES)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert cells[0] == ["molecule", "radius_angstrom", "runs", "force_mae_mev", "seconds"]
    assert cells[2] == ["ethanol", "2.0", "3", "3.20 ± 0.36", "32.0 ± 3.6"]
    assert cells[3] == ["ethanol", "3.0", "1", "5", "50"]
    assert len(cells) == 4
    assert "No run" in table([], AXES)


@pytest.mark.parametrize("axes", [AXES, AXES[1:], AXES[2:], AXES[3:]], ids=len)
def test_the_picture_is_drawn_for_any_number_of_axes(axes, tmp_path: Path):
    path = tmp_path / "picture.png"
    names = [axis.name for axis in AXES if axis not in axes]
    left = [{k: v for k, v in row.items() if k not in names} for row in rows()]
    draw(path, group_rows(left, axes, "seed"), axes, "seed")
    assert path.read_bytes().startswith(b"\x89PNG")
