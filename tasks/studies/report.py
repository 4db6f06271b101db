"""What a study found: a table of means and spreads, and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tasks.plots.curves import save
from tasks.studies.grid import Axis, Label

_COLORS = ("#2457a6", "#c8502d", "#3b8f6b", "#8a5fb0", "#b8902f", "#8a8fa3")
_MARKERS = "os^Dvp"
_NOT_DRAWN = ("seconds", "cpu_seconds")
_CROWD = 9

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """The runs that differ only in what the spread is taken over.

    Args:
        labels: Their labels on the other axes.
        values: The figures of each run by name.
    """

    labels: Mapping[str, Label]
    values: Mapping[str, Sequence[float]]

    @property
    def count(self) -> int:
        """Number of runs."""
        return max((len(values) for values in self.values.values()), default=0)

    def mean(self, column: str) -> float:
        """The mean of a figure."""
        return float(np.mean(self.values[column]))

    def spread(self, column: str) -> float | None:
        """The standard deviation of a figure, with n - 1; None for a single run."""
        values = self.values[column]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


def group_rows(rows: Sequence[Row], axes: Sequence[Axis], spread: str) -> list[Group]:
    """Group the rows of results by all axes but one.

    Args:
        rows: The results, one row a run.
        axes: The axes of the study.
        spread: The axis over which the spread is taken.

    Returns:
        The groups that have a run, in the order of the grid; figures that are not numbers are
        left out.
    """
    by = [axis.name for axis in axes if axis.name != spread]
    columns = [name for name in (rows[0] if rows else ()) if name not in {a.name for a in axes}]
    found: dict[tuple[Label, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in by), []).append(row)
    groups = []
    for labels, members in found.items():
        values = {name: [row[name] for row in members] for name in columns}
        numbers = {k: v for k, v in values.items() if all(isinstance(x, int | float) for x in v)}
        groups.append(Group(dict(zip(by, labels, strict=True)), numbers))
    return groups


def table(groups: Sequence[Group], axes: Sequence[Axis]) -> str:
    """The groups as a table in Markdown, a line each; axes that do not vary are left out.

    Args:
        groups: The groups.
        axes: The axes of the study.
    """
    if not groups:
        return "No run has ended yet."
    varied = [axis.name for axis in axes if axis.varies and axis.name in groups[0].labels]
    columns = list(groups[0].values)
    lines = [[*varied, "runs", *columns]]
    for group in groups:
        cells = [str(group.labels[name]) for name in varied]
        lines.append([*cells, str(group.count), *(_figure(group, name) for name in columns)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    shown = [
        "| "
        + " | ".join(
            cell.ljust(width) if i < len(varied) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join(
        "-" * (width + 2) if i < len(varied) else "-" * (width + 1) + ":"
        for i, width in enumerate(widths)
    )
    return "\n".join([shown[0], rule + "|", *shown[1:]])


def draw(path: Path, groups: Sequence[Group], axes: Sequence[Axis], spread: str) -> None:
    """Draw the figures: the mean with the spread as a bar, and each run as a dot.

    Along the abscissa goes an axis of numbers if there is one, else the one with most choices;
    colors tell the last of the other axes apart, and each combination of the rest has a panel.

    Args:
        path: Where the picture goes.
        groups: The groups.
        axes: The axes of the study.
        spread: The axis over which the spread is taken.
    """
    varied = [axis for axis in axes if axis.varies and axis.name != spread]
    along = _abscissa(varied)
    others = [axis for axis in varied if axis is not along]
    hue = others.pop() if others else None
    panels = list(dict.fromkeys(tuple(g.labels[axis.name] for axis in others) for g in groups))
    columns = [name for name in groups[0].values if name not in _NOT_DRAWN] if groups else []
    if not columns:
        return
    cells = [(panel, column) for panel in panels for column in columns]
    crowd = (len(along.choices) if along else 1) * (len(hue.choices) if hue else 1)
    wide = crowd > _CROWD  # Then one beneath the other.
    width, height = (7.2, 2.6) if wide else (3.8, 2.9)
    across = 1 if wide else len(columns)
    down = len(cells) // across
    figure = Figure(figsize=(width * across, height * down + 0.4), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for (panel, column), place in zip(cells, grid.flat, strict=True):
        members = [g for g in groups if tuple(g.labels[axis.name] for axis in others) == panel]
        _panel(place, members, column, along, hue)
        place.set_title(", ".join(map(str, panel)), fontsize="medium", loc="left")
    handles, names = grid[0][0].get_legend_handles_labels()
    if hue is not None:
        figure.legend(
            handles, names, title=_words(hue.name), loc="outside right upper", frameon=False
        )
    save(figure, path)


def _panel(
    place: Any, groups: Sequence[Group], column: str, along: Axis | None, hue: Axis | None
) -> None:
    """One figure against one axis."""
    choices: list[Label] = [choice.label for choice in along.choices] if along else [""]
    numeric = along is not None and _is_numeric(along)
    hues: list[Label | None] = [choice.label for choice in hue.choices] if hue else [None]
    step = min(np.diff(sorted(float(c) for c in choices))) if numeric else 1.0
    for number, label in enumerate(hues):
        shift = (number - (len(hues) - 1) / 2) * min(0.6 / len(hues), 0.2) * step
        shift *= 0.25 if numeric else 1.0
        color, marker = _COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)]
        members = [g for g in groups if hue is None or g.labels[hue.name] == label]
        members.sort(key=lambda g: choices.index(g.labels[along.name]) if along else 0)
        xs = [
            (float(g.labels[along.name]) if numeric else choices.index(g.labels[along.name]))
            + shift
            if along
            else 0.0
            for g in members
        ]
        for x, group in zip(xs, members, strict=True):
            values = group.values[column]
            place.plot([x] * len(values), values, ".", color=color, alpha=0.35, markersize=5)
        place.errorbar(
            xs,
            [group.mean(column) for group in members],
            [group.spread(column) or 0.0 for group in members],
            fmt=f"{marker}-" if numeric else marker,
            color=color,
            markersize=5,
            linewidth=1,
            elinewidth=1,
            capsize=3,
            label=str(label),
        )
    shown = [value for group in groups for value in group.values[column] if value > 0]
    everything = [value for group in groups for value in group.values[column]]
    if len(shown) == len(everything) and shown and max(shown) > 20 * min(shown):
        place.set_yscale("log")
        place.yaxis.set_major_formatter("{x:g}")
    if numeric:
        place.set_xticks([float(c) for c in choices], [str(c) for c in choices])
    else:
        slanted = {"rotation": 30, "ha": "right"} if len(choices) > 4 else {}
        place.set_xticks(range(len(choices)), [str(c) for c in choices], **slanted)
        place.set_xlim(-0.5, len(choices) - 0.5)
    place.set(xlabel=_words(along.name) if along else "", ylabel=_words(column))
    place.grid(axis="y", linewidth=0.4, alpha=0.5)
    place.spines[["top", "right"]].set_visible(False)


def _abscissa(axes: Sequence[Axis]) -> Axis | None:
    numeric = [axis for axis in axes if _is_numeric(axis)]
    return numeric[0] if numeric else max(axes, key=lambda axis: len(axis.choices), default=None)


def _is_numeric(axis: Axis) -> bool:
    return all(
        isinstance(choice.label, int | float) and not isinstance(choice.label, bool)
        for choice in axis.choices
    )


def _figure(group: Group, column: str) -> str:
    """Mean and spread, to the digits that the spread leaves."""
    mean, spread = group.mean(column), group.spread(column)
    if spread is None:
        return f"{mean:.4g}"
    if not np.isfinite(mean) or not np.isfinite(spread):
        return f"{mean:.4g} ± {spread:.2g}"
    smallest = spread if spread > 0 else abs(mean) / 1000
    digits = max(0, 1 - int(np.floor(np.log10(smallest)))) if smallest > 0 else 0
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"


_UNITS = {
    "_mev_per_angstrom": " (meV/Å)",
    "_mev": " (meV)",
    "_angstrom": " (Å)",
}


def _words(name: str) -> str:
    """A name of a column as words, with its unit."""
    unit = ""
    for ending, known in _UNITS.items():
        if name.endswith(ending):
            name, unit = name.removesuffix(ending), known
            break
    return " ".join("MAE" if word == "mae" else word for word in name.split("_")) + unit
