"""Tables of what was measured, from the files under results/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from _ext import literature
from _ext.tables import table
from tasks.provenance import UNKNOWN

RESULTS = Path(__file__).resolve().parents[2] / "results"


class Results(SphinxDirective):
    """A table of a file under results/: lines of ``key | heading | format`` name its columns.

    The option ``only``, as in ``:only: part=network points=256``, leaves out other rows. Below it
    stands when and of which commits the rows were measured.
    """

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"only": str}

    def run(self) -> list[nodes.Node]:
        path = RESULTS / self.arguments[0]
        self.env.note_dependency(str(path))
        columns = [[part.strip() for part in line.split("|")] for line in self.content if line]
        only = [part.split("=") for part in self.options.get("only", "").split()]
        found = [
            row
            for row in json.loads(path.read_text())["rows"]
            if all(str(row.get(key)) == value for key, value in only)
        ]
        rows = [[nodes.Text(cell(row.get(key), form)) for key, _, form in columns] for row in found]
        return [
            table([heading for _, heading, _ in columns], rows, [2] * len(columns)),
            nodes.paragraph("", span(found), classes=["origin"]),
        ]


def cell(value: Any, form: str) -> str:
    """A figure as it is shown: nothing where there is none, ``unknown`` as it is."""
    if value is None:
        return ""
    return str(value) if value == UNKNOWN else format(value, form)


def span(rows: Sequence[Mapping[str, Any]]) -> str:
    """When the rows of a table, or those that they are derived from, were measured, and by what."""
    source = next((row["sources"] for row in rows if row.get("sources", "").endswith(".json")), "")
    if source:
        measured = json.loads((RESULTS.parent / source).read_text())["rows"]
        return f"Derived from {source}. {span(measured)}"
    known = [row for row in rows if UNKNOWN not in (row["date"], row["commit"])]
    if not known:
        return "Date and commit of these rows were not recorded."
    dates = sorted({row["date"] for row in known})
    commits = sorted({row["commit"] for row in known})
    between = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    text = f"Measured {between} at {', '.join(commits)}"
    if len(known) < len(rows):
        text += f"; not recorded for {len(rows) - len(known)} of {len(rows)} rows"
    return f"{text}."


class GroupSpeed(SphinxDirective):
    """Our time beside that of the fastest peer, from results/groups/speed.json."""

    def run(self) -> list[nodes.Node]:
        path = RESULTS / "groups" / "speed.json"
        self.env.note_dependency(str(path))
        found: dict[tuple[Any, ...], dict[str, float]] = {}
        measured = json.loads(path.read_text())["rows"]
        for row in measured:
            key = tuple(row[k] for k in ("group", "operation", "batch", "direction"))
            found.setdefault(key, {})[row["library"]] = 1e3 * row["seconds"]
        rows = []
        for (group, operation, batch, direction), times in found.items():
            ours = times.pop("ours")
            peer = min(times, key=times.__getitem__)
            what = f"{group} {operation}, {batch:,}, {direction}"
            cells = (what, f"{ours:.3g}", peer, f"{times[peer]:.3g}", f"{ours / times[peer]:.2f}")
            rows.append([nodes.Text(cell) for cell in cells])
        head = ("operation, batch, direction", "ours / ms", "fastest peer", "its / ms", "ratio")
        origin = nodes.paragraph("", span(measured), classes=["origin"])
        return [table(head, rows, (4, 2, 3, 2, 2)), origin]


class Literature(SphinxDirective):
    """What was published beside what we measured: the rows of a task, or ``overview``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        for path in literature.files():
            self.env.note_dependency(str(path))
        head, rows = literature.TABLES[self.arguments[0]]()
        return [table(head, [[nodes.Text(cell) for cell in row] for row in rows], [2] * len(head))]


def setup(app: Any) -> dict[str, bool]:
    """Registers the directives."""
    app.add_directive("results", Results)
    app.add_directive("group-speed", GroupSpeed)
    app.add_directive("literature", Literature)
    return {"parallel_read_safe": True}
