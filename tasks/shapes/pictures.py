"""Pictures of clouds and of how well they are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.shapes.data import Shapes
from tasks.shapes.motions import MOTIONS, Motion
from tasks.shapes.patterns import Patterns

_POINT, _RIGHT, _WRONG, _GUIDE = "#2457a6", "#3a3f4b", "#c8502d", "#8a8fa3"
_SETS = {"D": "#2457a6", "T2": "#6f9bd8", "SE2": "#c8502d"}
_COLUMNS = 4
_SHOWN = 8


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
        Path(path), data.shapes, patterns.unit, clouds.points, clouds.mask, clouds.counts
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
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
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
    figure = Figure(figsize=(2.6 * columns, 3.0 * rows), layout="constrained")
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
            text += f"\nnot {_counted(shapes, guess)}"
        panel.set_title(text, fontsize=8, color=_WRONG if wrong else _RIGHT)
    panel = panels[0]
    panel.plot([-0.95 * reach, -0.95 * reach + 2 * unit], [-0.93 * reach] * 2, color=_RIGHT)
    panel.text(-0.95 * reach, -0.9 * reach, "2 units", fontsize=6, color=_RIGHT)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
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


PICTURES = {"clouds": draw_clouds}
"""What ``lie-attention plot shapes`` draws, the first by default."""

__all__ = ["MOTIONS", "PICTURES", "draw_accuracy", "draw_clouds", "draw_predictions"]
