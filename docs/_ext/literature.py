"""What was published beside what we measured, as rows of text.

``python docs/_ext/literature.py`` writes the overview into the README; a test holds it there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from tasks.plots.dynamics import PUBLISHED as SPRINGS
from tasks.plots.shapes import PUBLISHED as SHAPES

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PUBLISHED = ROOT / "results", ROOT / "tasks/published"
BEGIN, END = "<!-- made by docs/_ext/literature.py -->", "<!-- until here -->"

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
Row = dict[str, Any]

_QM9 = "alpha gap homo lumo mu cv g h r2 u u0 zpve".split()
_HEADS = "α / bohr³,gap / meV,HOMO / meV,LUMO / meV,μ / D,C_V / cal/(mol K),G / meV,H / meV"
_HEADS += ",⟨R²⟩ / bohr²,U / meV,U₀ / meV,ZPVE / meV"
_DYNAMICS = {
    "lie-small": "ours, a kernel that contains the form of springs",
    "lie-small-long": "ours, the same for 2,000 iterations",
    "lie-T2-perceptron": "ours, T2, perceptrons of relative positions",
    "lie-SE2-perceptron": "ours, SE2, perceptrons of distances",
    "lieconv-T2": "LieConv-T2, trained here",
    "FC": "FC, trained here",
    "HFC": "HFC, trained here",
    "OGN": "OGN, trained here",
    "HOGN": "HOGN, trained here",
}


def files() -> list[Path]:
    """The files that the tables are made from, where they are there."""
    names = (
        "qm9/table", "md17/accuracy", "shapes/summary", "dynamics/data_efficiency",
        "attention/speed",
    )  # fmt: skip
    ours = [RESULTS / f"{name}.json" for name in names]
    return [PUBLISHED / "qm9.json", PUBLISHED / "md17.json", *(x for x in ours if x.exists())]


def rows(name: str, folder: Path = RESULTS) -> list[Row]:
    """The rows of a result file; none where it is not there."""
    path = folder / f"{name}.json"
    return list(json.loads(path.read_text())["rows"]) if path.exists() else []


def shapes() -> Table:
    """Accuracies of counting shapes, trained on D, T2 or SE2 and tested on one of them."""
    cells = ("D_D", "D_T2", "D_SE2", "T2_T2", "T2_SE2", "SE2_SE2")
    head = ("network", *(cell.replace("_", " → ") for cell in cells))
    body = [
        (row["network"], *(str(row.get(cell, "")) for cell in cells))
        for row in rows("shapes/summary")
    ]
    return head, body


def md17() -> Table:
    """Errors of energies and forces for the molecules that we have trained on."""
    ours = {row["molecule"]: row for row in rows("md17/accuracy")}
    published = rows("md17", PUBLISHED)
    systems = list(dict.fromkeys(row["system"] for row in published))
    head = ("molecule", "ours", *systems)
    body = []
    for molecule in dict.fromkeys(row["molecule"] for row in published):
        cells = [_energy_and_forces(ours[molecule])] if molecule in ours else ["not trained"]
        cells += [
            _energy_and_forces(row)
            for system in systems
            for row in published
            if (row["molecule"], row["system"]) == (molecule, system)
        ]
        body.append((molecule, *cells))
    return head, body


def qm9() -> Table:
    """Errors of the targets of QM9: what was published, then the best of ours for each."""
    head = ("system", "split", *_HEADS.split(","))
    body = [
        (row["system"], row["split"], *(_short(row.get(target)) for target in _QM9))
        for row in rows("qm9", PUBLISHED)
    ]
    ours = rows("qm9/table")
    for split in dict.fromkeys(row["split"] for row in ours):
        best = _best([row for row in ours if row["split"] == split])
        body.append(
            (
                "ours",
                split,
                *(_short(best[target]["mae"]) if target in best else "" for target in _QM9),
            )
        )
    return head, body


def dynamics() -> Table:
    """Errors of roll-outs of springs over 5 and 100 points, by the number of systems."""
    ours = rows("dynamics/data_efficiency")
    sizes = sorted({row["train_systems"] for row in ours} & set(next(iter(SPRINGS.values()))))
    head = ("model", *(f"{size:,} systems" for size in sizes))
    body = []
    for model in dict.fromkeys(row["model"] for row in ours):
        cells = []
        for size in sizes:
            own = [row for row in ours if (row["model"], row["train_systems"]) == (model, size)]
            cells.append(_medians(own) if own else "")
        if any(cells):
            body.append((_DYNAMICS.get(model, model), *cells))
    for model, curve in SPRINGS.items():
        pairs = (curve[size] for size in sizes)
        body.append((f"{model} (published)", *(f"{a:.1e} / {b:.1e}" for a, b in pairs)))
    return head, body


def overview() -> Table:
    """One line a task: what we reach beside the published system that it is to be held to."""
    head = ("task", "measure", "here", "published")
    body: list[tuple[str, ...]] = []
    for row in rows("shapes/summary"):
        if row["network"] == "LieTransformer-SE2, distances":
            published = SHAPES["LieTransformer-SE2"]["D", "SE2"]
            body.append(
                (
                    "counting shapes",
                    "accuracy, trained upright, tested rotated",
                    str(row["D_SE2"]),
                    f"{published:.2f} (LieTransformer-SE2)",
                )
            )
    best = _best([row for row in rows("qm9/table") if row["split"] == "lietransformer"])
    if "homo" in best:
        found = best["homo"]
        published = {row["system"]: row for row in rows("qm9", PUBLISHED)}
        body.append(
            (
                "QM9",
                f"HOMO, mean absolute error; here {_duration(found['seconds'])} of training on "
                f"{_device(found['device'])}",
                f"{found['mae']:.0f} meV",
                f"{published['LieTransformer-SE3']['homo']:.0f} meV (LieTransformer-SE3)",
            )
        )
    for row in rows("md17/accuracy"):
        published = {
            each["system"]: each
            for each in rows("md17", PUBLISHED)
            if each["molecule"] == row["molecule"]
        }
        body.append(
            (
                f"revised MD17, {row['molecule']}",
                f"energy / forces, mean absolute errors in meV and meV/Å; here "
                f"{_duration(row['seconds'])} on a shared core",
                _energy_and_forces(row),
                f"{_energy_and_forces(published['NequIP'])} (NequIP)",
            )
        )
    by_model: dict[str, list[Row]] = {}
    for row in rows("dynamics/data_efficiency"):
        if row["train_systems"] == 100:
            by_model.setdefault(row["model"], []).append(row)
    for model in ("lie-small", "lie-SE2-perceptron"):
        if model in by_model:
            near, far = SPRINGS["LieTransformer"][100]
            body.append(
                (
                    "springs, 100 systems",
                    "error over 5 / 100 points; " + _DYNAMICS[model].removeprefix("ours, "),
                    _medians(by_model[model]),
                    f"{near:.1e} / {far:.1e} (LieTransformer)",
                )
            )
    for row in rows("attention/speed"):
        found = (row["system"], row["part"], row["backend"], row["lifts"])
        if found == ("LieTransformer-SE3", "network", "auto", 4):
            body.append(
                (
                    "cost",
                    "time and memory of training on 32 molecules, 4 lifts, 10 M parameters",
                    f"{row['seconds_forward_backward']:.1f} s, {row['peak_mb'] / 1000:.1f} GB",
                    f"{row['public_seconds_forward_backward']:.1f} s, "
                    f"{row['public_peak_mb'] / 1000:.0f} GB (the LieTransformer's public code)",
                )
            )
    return head, body


TABLES: dict[str, Callable[[], Table]] = {
    "overview": overview,
    "shapes": shapes,
    "md17": md17,
    "qm9": qm9,
    "dynamics": dynamics,
}


def in_markdown(found: Table) -> str:
    """A table as Markdown has it."""
    head, body = found
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def in_readme() -> str:
    """The table as it stands in the README."""
    text = (ROOT / "README.md").read_text()
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def _best(found: list[Row]) -> dict[str, Row]:
    best: dict[str, Row] = {}
    for row in sorted(found, key=lambda row: -float(row["mae"])):
        best[row["target"]] = row
    return best


def _energy_and_forces(row: Row) -> str:
    return f"{row['energy_mae_mev']:.2g} / {row['force_mae_mev_per_angstrom']:.2g}"


def _medians(own: list[Row]) -> str:
    worst = float("inf")
    pair = (
        median(worst if row[key] is None else row[key] for row in own)
        for key in ("mse_5", "mse_100")
    )
    return " / ".join("diverged" if value == worst else f"{value:.1e}" for value in pair)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _duration(seconds: float) -> str:
    for size, unit in ((1, "seconds"), (60, "minutes")):
        if seconds < 90 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.1f} hours"


def _device(name: str) -> str:
    return re.sub(r"^cpu, (\d+) (threads?)$", r"\1 \2 of a CPU", name)


if __name__ == "__main__":
    path = ROOT / "README.md"
    text = path.read_text()
    before, begin, rest = text.partition(BEGIN)
    if not begin or END not in rest:
        raise SystemExit(f"{path} has no lines {BEGIN!r} and {END!r}")
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n{in_markdown(overview())}\n{END}{after}")
