"""Pictures of clouds and of how well they are counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.plots.curves import save
from tasks.sources.shapes.data import Shapes
from tasks.sources.shapes.motions import Motion
from tasks.sources.shapes.patterns import Patterns

_POINT, _RIGHT, _WRONG, _GUIDE = "#2457a6", "#3a3f4b", "#c8502d", "#8a8fa3"
_SETS = {"D": "#2457a6", "T2": "#6f9bd8", "SE2": "#c8502d"}
_COLORS = ("#8a8fa3", "#2457a6", "#c8502d", "#5a9a5a", "#b08a2e", "#7a4fa3")
_COLUMNS = 4
_SHOWN = 8

CELLS = (("D", "D"), ("D", "T2"), ("D", "SE2"), ("T2", "T2"), ("T2", "SE2"), ("SE2", "SE2"))
"""The published pairs of training and test set."""

PUBLISHED = {
    name: dict(zip(CELLS, values, strict=True))
    for name, values in {
        "SetTransformer": (0.58, 0.44, 0.44, 0.61, 0.51, 0.55),
        "LieTransformer-T2": (0.75, 0.75, 0.63, 0.75, 0.63, 0.70),
        "LieTransformer-SE2": (0.71, 0.71, 0.69, 0.71, 0.69, 0.72),
    }.items()
}
"""Published accuracies (Hutchinson et al. 2021) by network and cell."""


def draw_clouds(
    path: str = "clouds.png",
    patterns: Patterns = Patterns(),  # noqa: B008 (immutable)
    count: int = 8,
    motion: Motion = "D",
    shift: float = 12.0,
    seed: int = 0,
) -> Path:
    """Draw random clouds with the counts of their shapes.

    Args:
        path: Where the picture goes.
        patterns: The law of the clouds.
        count: Number of clouds.
        motion: ``D``, ``T2`` or ``SE2``.
        shift: Largest shift of a coordinate, in units of the polygons' radius.
        seed: Seed of the clouds.

    Returns:
        The path.

    Raises:
        ValueError: If a number is out of range.
    """
    if count < 1:
        raise ValueError(f"count: {count}; accepted: 1 or more.")
    data = Shapes(patterns, test_clouds=count, motion=motion, shift=shift, seed=seed)
    clouds = data.moved("test", motion)
    return _clouds(
        Path(path), list(patterns.shapes), patterns.unit, clouds.points, clouds.mask, clouds.counts
    )


def draw_predictions(
    path: Path,
    shapes: Sequence[str],
    unit: float,
    points: npt.NDArray[np.floating],
    mask: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
) -> Path:
    """Draw clouds with true counts, and with the predicted ones where they differ.

    Args:
        path: Where the picture goes.
        shapes: Names of the shapes.
        unit: The polygons' radius in the coordinates.
        points: Coordinates ``(n, N, 2)``; the first few clouds are drawn.
        mask: Which points exist, ``(n, N)``.
        counts: True counts ``(n, shapes)``.
        predicted: Predicted counts ``(n, shapes)``.

    Returns:
        The path.
    """
    # Clouds with a mistake say most.
    order = np.argsort((counts == predicted).all(1), kind="stable")
    half = order[: _SHOWN // 2]
    rest = [row for row in range(len(counts)) if row not in half][: _SHOWN - len(half)]
    chosen = np.concatenate([half, rest]).astype(int)
    return _clouds(
        path, shapes, unit, points[chosen], mask[chosen], counts[chosen], predicted[chosen]
    )


def draw_accuracy(
    path: Path, shapes: Sequence[str], accuracy: Mapping[str, Sequence[float]], constant: float
) -> Path:
    """Draw the accuracy for each shape on each test set as bars.

    Args:
        path: Where the picture goes.
        shapes: Names of the shapes.
        accuracy: For each test set the accuracies of the shapes.
        constant: The accuracy of guessing, as a line to compare with.

    Returns:
        The path.
    """
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.subplots()
    place, width = np.arange(len(shapes)), 0.8 / len(accuracy)
    for number, (name, values) in enumerate(accuracy.items()):
        offset = (number - (len(accuracy) - 1) / 2) * width
        axes.bar(place + offset, values, width, label=f"test {name}", color=_SETS.get(name))
    axes.axhline(constant, color=_GUIDE, linestyle="--", linewidth=1, label="most common count")
    axes.set(ylim=(0, 1), ylabel="accuracy")
    axes.set_xticks(place, shapes)
    axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
    return path


def _clouds(
    path: Path,
    shapes: Sequence[str],
    unit: float,
    points: npt.NDArray[np.floating],
    mask: npt.NDArray[np.bool_],
    counts: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64] | None = None,
) -> Path:
    columns = min(_COLUMNS, len(points))
    rows = -(-len(points) // columns)
    figure = Figure(figsize=(2.6 * columns, 3.0 * rows), layout="compressed")
    panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels[len(points) :]:
        panel.set_visible(False)
    reach = max(np.abs(points[mask]).max(), 1.0) * 1.05
    for number, panel in enumerate(panels[: len(points)]):
        x, y = points[number][mask[number]].T
        panel.scatter(x, y, s=7, color=_POINT, linewidths=0)
        panel.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        panel.set_aspect("equal")
        panel.spines[:].set_color(_GUIDE)
        guess = None if predicted is None else predicted[number]
        wrong = guess is not None and bool((guess != counts[number]).any())
        text = _counted(shapes, counts[number])
        if wrong and guess is not None:
            text += f"\npredicted {_counted(shapes, guess)}"
        panel.set_title(text, fontsize=8, color=_WRONG if wrong else _RIGHT)
    panel = panels[0]
    panel.plot([-0.95 * reach, -0.95 * reach + 2 * unit], [-0.93 * reach] * 2, color=_RIGHT)
    panel.text(-0.95 * reach, -0.9 * reach, "2 units", fontsize=6, color=_RIGHT)
    save(figure, path, dpi=130)
    return path


def _counted(shapes: Sequence[str], counts: npt.NDArray[np.int64]) -> str:
    """Counts in words: 2 triangles, 1 L."""
    named = [
        f"{count} {shape}{'s' if count > 1 else ''}"
        for shape, count in zip(shapes, counts, strict=True)
        if count
    ]
    first, second = named[:2], named[2:]
    return ",\n".join(", ".join(part) for part in (first, second) if part) or "nothing"


def draw_table(results: str = "results/shapes/table.json", path: str = "shapes_table.png") -> Path:
    """Draw the accuracy of each network for each pair of training and test set.

    Args:
        results: A file with rows of ``network``, ``train``, ``test``, ``seed`` and ``accuracy``.
        path: Where the picture goes.

    Returns:
        The path.

    Raises:
        ValueError: If the file holds no such rows.
    """
    rows = read_rows(results, ("network", "train", "test", "seed", "accuracy"))
    networks = list(dict.fromkeys(str(row["network"]) for row in rows))
    cells = [cell for cell in CELLS if any((row["train"], row["test"]) == cell for row in rows)]
    figure = Figure(figsize=(7.5, 1.2 + 0.42 * len(networks)), layout="constrained")
    axes = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    place = np.arange(len(networks))[::-1]
    for panel, cell in zip(axes, cells, strict=True):
        for y, network in zip(place, networks, strict=True):
            found = [
                row["accuracy"]
                for row in rows
                if (row["network"], row["train"], row["test"]) == (network, *cell)
            ]
            if found:
                panel.scatter(found, [y] * len(found), s=14, color=_POINT, alpha=0.7, linewidths=0)
                panel.plot([np.mean(found)] * 2, [y - 0.25, y + 0.25], color=_POINT)
            published = PUBLISHED.get(network.partition(",")[0], {}).get(cell)
            if published is not None:
                panel.scatter(published, y, marker="|", s=90, color=_WRONG)
        panel.set_title(f"{cell[0]} → {cell[1]}", fontsize=9)
        panel.set(xlim=(0.4, 1.0), ylim=(-0.6, len(networks) - 0.4))
        panel.grid(axis="x", color="#e4e6ec")
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(place, networks, fontsize=8)
    figure.supxlabel("accuracy: each seed, their mean (line), published (red)", fontsize=8)
    return _save(figure, path)


def draw_invariance(
    results: str = "results/shapes/invariance.json", path: str = "shapes_invariance.png"
) -> Path:
    """Draw the error of invariance against the number of lift samples.

    Args:
        results: A file with rows of ``weights``, ``lift``, ``samples``, ``error`` and, for a lift
            without a number of samples, ``samples`` of null.
        path: Where the picture goes.

    Returns:
        The path.

    Raises:
        ValueError: If the file holds no such rows.
    """
    rows = read_rows(results, ("weights", "lift", "samples", "error"))
    panels = list(dict.fromkeys(str(row["weights"]) for row in rows))
    figure = Figure(figsize=(4.2 * len(panels), 3.8), layout="constrained")
    for axes, weights in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        lifts = dict.fromkeys(str(row["lift"]) for row in rows if row["weights"] == weights)
        for color, lift in zip(_COLORS, lifts, strict=False):
            own = [row for row in rows if (row["weights"], row["lift"]) == (weights, lift)]
            if own[0]["samples"] is None:
                axes.axhline(own[0]["error"], color=color, linestyle="--", label=lift)
                continue
            x, y = zip(*((row["samples"], row["error"]) for row in own), strict=True)
            axes.plot(x, y, color=color, marker="o", markersize=3, label=lift)
        axes.set(xscale="log", yscale="log", xlabel="elements over each point")
        axes.set_title(weights, fontsize=9)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(color="#e4e6ec")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=7)
    figure.axes[0].set_ylabel("median of the largest change of a score")
    return _save(figure, path)


def read_rows(path: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a file of results.

    Args:
        path: The file.
        keys: What each row must have.

    Raises:
        ValueError: If there is no such file, or a row lacks a key.
    """
    if not Path(path).is_file():
        raise ValueError(f"results: there is no file {path}.")
    try:
        rows = json.loads(Path(path).read_text())["rows"]
        lacking = [key for key in keys if any(key not in row for row in rows)]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"results: {path} is no file of results with rows.") from error
    if not rows or lacking:
        raise ValueError(f"results: the rows of {path} have no {', '.join(lacking or keys)}.")
    return list(rows)


def _save(figure: Figure, path: str) -> Path:
    save(figure, Path(path))
    return Path(path)


PICTURES = {"clouds": draw_clouds, "table": draw_table, "invariance": draw_invariance}
"""What ``lie-attention plot shapes`` draws, the first by default."""
