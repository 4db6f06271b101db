"""``lie-attention test --table``: errors on the twelve targets, beside published ones."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from tasks.cache import write_atomic
from tasks.provenance import recorded
from tasks.sources.qm9.splits import SPLITS
from tasks.sources.qm9.targets import TARGETS

Row = dict[str, Any]

_RESULTS: Final = Path("results/qm9/table.json")
_PUBLISHED: Final = Path(__file__).resolve().parents[1] / "published/qm9.json"
_LABELS: Final[dict[str, type | tuple[type, ...]]] = {
    "network": str,
    "target": str,
    "split": str,
    "train_molecules": int,
    "mae": (int, float),
    "unit": str,
}


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"test --table: {message}")


def table(args: Sequence[str]) -> bool:
    """Print the errors of runs on the targets of QM9 beside published ones, a table for each split.

    Args:
        args: What follows ``test`` on the command line.

    Returns:
        True.

    Raises:
        ValueError: A file or a folder holds no results, or an argument is wrong.
    """
    parser = _Parser(
        prog="lie-attention test --table",
        description="The errors of runs on the targets of QM9, beside published ones.",
    )
    parser.add_argument("--table", action="store_true", required=True, help="Print the table.")
    parser.add_argument(
        "results",
        nargs="*",
        type=Path,
        help=f"Folders of tested runs and files of results; by default {_RESULTS}.",
    )
    parser.add_argument("--output", type=Path, help="File to write the rows of the results to.")
    parser.add_argument(
        "--published", type=Path, default=_PUBLISHED, help="File of the published errors."
    )
    given = parser.parse_args(list(args))
    rows = [row for path in given.results or [_RESULTS] for row in read(path)]
    print(markdown(rows, read_published(given.published)))
    if given.output is not None:
        content = {"notes": "Errors of tested runs.", "rows": rows}
        write_atomic(given.output, (json.dumps(content, indent=2) + "\n").encode())
        print(f"Written: {given.output}")
    return True


def read(path: Path) -> list[Row]:
    """Read results.

    Args:
        path: The folder of a run that has been tested, or a file with ``rows``.

    Returns:
        A row for each target: ``network``, ``target``, ``split``, ``train_molecules``, ``mae``,
        ``unit``, ``equivariance``, ``equivariance_error``, ``seconds`` (of training), ``device``,
        and where it comes from, as it was recorded.

    Raises:
        ValueError: There are none.
    """
    file = path / "metrics.json" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(
            f"test --table: there is no file {file}; give folders of runs that have been tested, "
            "or files of results."
        )
    try:
        content = json.loads(file.read_text())
        found = content["rows"] if "rows" in content else _of_run(content)
        rows: list[Row] = [row | recorded(row) for row in found]
        for row in rows:
            for name, kind in _LABELS.items():
                if not isinstance(row[name], kind):
                    raise TypeError(f"{name}: {row[name]!r}")
            if row["split"] not in SPLITS or row["target"] not in TARGETS:
                raise ValueError(f"split {row['split']!r}, target {row['target']!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"test --table: {file} holds no results of QM9 ({type(error).__name__}: {error})."
        ) from error
    return rows


def read_published(path: Path) -> list[Row]:
    """Read published errors: rows with ``system``, ``split`` and the targets that it has.

    Raises:
        ValueError: There is no such file, or it holds no rows.
    """
    try:
        rows: list[Row] = json.loads(path.read_text())["rows"]
        return [row for row in rows if row["system"] and row["split"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"published: {path} is not a file of published errors; give "
            "tasks/published/qm9.json of the project."
        ) from error


def markdown(rows: Iterable[Row], published: Iterable[Row]) -> str:
    """Set the tables: one for each split that has results, as the splits are not comparable."""
    lines: list[str] = []
    ours = list(rows)
    theirs = list(published)
    for split in SPLITS.values():
        here = [row for row in ours if row["split"] == split.name]
        if not here:
            continue
        systems: dict[str, Mapping[str, float]] = {
            row["system"]: {name: row[name] for name in TARGETS if name in row}
            for row in theirs
            if row["split"] == split.name
        }
        for row in here:
            label = f"**{row['network']}**"
            if row["train_molecules"] != split.train:
                label += f" ({row['train_molecules']:,} molecules)"
            systems[label] = {**systems.get(label, {}), row["target"]: row["mae"]}
        head = [f"{name} / {target.unit}" for name, target in TARGETS.items()]
        lines += [
            f"Mean absolute errors on the split {split.name} ({split.train:,} training molecules):",
            "",
            f"| | {' | '.join(head)} |",
            "|---" * (len(head) + 1) + "|",
        ]
        for system, errors in systems.items():
            cells = [f"{errors[name]:.3g}" if name in errors else "" for name in TARGETS]
            lines.append(f"| {system} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _of_run(metrics: Mapping[str, Any]) -> list[Row]:
    names = str(metrics["target"]).split(", ")
    return [
        {
            "network": metrics["network"],
            "target": name,
            "split": metrics["split"],
            "train_molecules": metrics["train/molecules"],
            "mae": metrics[f"{name}/mae"],
            "unit": metrics[f"{name}/unit"],
            "equivariance": metrics["equivariance/kind"],
            "equivariance_error": metrics["equivariance/error"],
            "seconds": metrics.get("train/seconds"),
            "device": metrics["device"],
            **recorded(metrics.get("provenance", {})),
        }
        for name in names
    ]
