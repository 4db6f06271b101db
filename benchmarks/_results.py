"""Result files: rows of figures, each with where it comes from and what it cost.

results/README.md describes them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tasks.provenance import FIELDS, UNKNOWN, commit, provenance, recorded

ROOT = Path(__file__).resolve().parent.parent

Row = dict[str, Any]

commit()  # The tree may change while a benchmark runs: what runs is what was there at its start.


def stamped(row: Row) -> Row:
    """A row that this command has just made, with where it comes from.

    Args:
        row: The row, with the ``cpu_seconds`` that were spent on its figures.
    """
    origin = provenance(sys.argv, "python") | {"cpu_seconds": row["cpu_seconds"]}
    return {key: value for key, value in row.items() if key not in FIELDS} | {
        name: origin[name] for name in FIELDS
    }


def spent(rows: Iterable[Row]) -> float | str:
    """The processor seconds of rows together; unknown where those of one are."""
    each = [row.get("cpu_seconds", UNKNOWN) for row in rows]
    return UNKNOWN if UNKNOWN in each else round(sum(each), 1)


def read(name: str) -> list[Row]:
    """The rows of ``results/NAME.json`` as they were recorded; none where it is not there."""
    path = ROOT / "results" / f"{name}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return [row | recorded(row) for row in rows]


def write(name: str, rows: Sequence[Row], notes: str) -> Path:
    """Write ``results/NAME.json`` and return its path.

    Raises:
        ValueError: A row does not say where it comes from.
    """
    for row in rows:
        missing = [field for field in FIELDS if field not in row]
        if missing:
            raise ValueError(f"{name}: no {', '.join(missing)} in {row}; stamped() adds them.")
    path = ROOT / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"notes": notes, "rows": list(rows)}
    # In one step, so that whoever reads it meanwhile, or stops this, finds a whole file.
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)
    return path
