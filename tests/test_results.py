"""Every row below results/ says where it comes from and what it cost."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from tasks.provenance import FIELDS, UNKNOWN

RESULTS = Path(__file__).resolve().parents[1] / "results"
FILES = sorted(RESULTS.rglob("*.json"))
COMMIT = re.compile(r"[0-9a-f]{7,40}\+?")
ABSOLUTE = re.compile(r"(^|[\s='\"\[{(,:])[/~]")


def faults(row):
    """What is wrong with the fields of a row."""
    found = [f"no {name}" for name in FIELDS if row.get(name) in (None, "")]
    if found:
        return found
    command, commit, version, day, machine, cost = (row[name] for name in FIELDS)
    if not all(isinstance(each, str) for each in (command, commit, version, day, machine)):
        return ["not text"]
    if ABSOLUTE.search(command):
        found.append(f"a path of one machine in {command!r}")
    if commit != UNKNOWN and not COMMIT.fullmatch(commit):
        found.append(f"commit {commit!r}")
    if day != UNKNOWN and (len(day) != 10 or not _is_date(day)):
        found.append(f"date {day!r}")
    is_number = isinstance(cost, int | float) and not isinstance(cost, bool)
    if cost != UNKNOWN and not (is_number and 0 <= cost < float("inf")):
        found.append(f"cpu_seconds {cost!r}")
    if "sources" in row and command == UNKNOWN:
        found.append("derived by an unknown command")
    return found


def _is_date(text):
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def test_there_are_files():
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_row_says_where_it_comes_from(path):
    content = json.loads(path.read_text())
    assert content.keys() <= {"notes", "rows", "failed", "accepted_absurd"}, (
        "the head speaks for no row"
    )
    assert content["rows"]
    wrong = {place: found for place, row in enumerate(content["rows"]) if (found := faults(row))}
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_derived_row_names_a_file_that_is_there(path):
    for row in json.loads(path.read_text())["rows"]:
        if "sources" in row:
            assert (RESULTS.parent / row["sources"]).is_file()


GOOD = {
    "command": "python benchmarks/qm9.py train --cache-dir laq --unit kcal/mol",
    "commit": "1a2b3c4+",
    "version": "0.1.0",
    "date": "2026-11-22",
    "machine": "a processor, 2 cores",
    "cpu_seconds": 1.5,
}


@pytest.mark.parametrize(
    "change",
    [
        {"command": "python /home/me/qm9.py"},
        {"command": "python qm9.py --cache-dir=/folder/x"},
        {"command": "python qm9.py --data.source '{folder: ~/archive}'"},
        {"command": ""},
        {"commit": "main"},
        {"commit": "1a2b3c4 (dirty)"},
        {"date": "22 November"},
        {"date": "2026-13-01"},
        {"cpu_seconds": None},
        {"cpu_seconds": "some"},
        {"cpu_seconds": float("nan")},
        {"machine": None},
    ],
    ids=str,
)
def test_the_guard_notices(change):
    assert not faults(GOOD)
    assert not faults(dict.fromkeys(FIELDS, UNKNOWN))
    assert faults(GOOD | change)
