"""Pictures of a run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator
from torch import Tensor

from tasks.cache import write_atomic

_TRAIN, _VALIDATION, _GUIDE = "#8a8fa3", "#2457a6", "#c8502d"


class _Some(LogFormatter):
    """Labels where matplotlib finds room for them, as plain numbers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def save(figure: Figure, path: Path, dpi: int = 150) -> None:
    """Write a picture in one step, in place of what stands at the path, which may be a link.

    Args:
        figure: The picture.
        path: Where it goes; the ending says the format.
        dpi: Dots an inch.
    """
    content = io.BytesIO()
    figure.savefig(content, dpi=dpi, format=path.suffix.removeprefix(".") or "png")
    write_atomic(path, content.getvalue())


def learning_curve(
    path: Path,
    history: Sequence[dict[str, float]],
    criterion: str,
    label: str,
    constant: float | None = None,
) -> None:
    """Draw the error against the epoch.

    Args:
        path: Where the picture goes.
        history: One entry an epoch: ``epoch``, and ``train/`` and ``val/`` of the criterion where
            known.
        criterion: Name of the error in the history, such as ``mae``.
        label: What the error is, with its unit.
        constant: The error of a constant predictor, as a line to compare with.
    """
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, key, color in (
        ("training", f"train/{criterion}", _TRAIN),
        ("validation", f"val/{criterion}", _VALIDATION),
    ):
        points = [(row["epoch"], row[key]) for row in history if key in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, color=color, marker="o", markersize=3)
    if constant is not None:
        axes.axhline(
            constant, color=_GUIDE, linestyle="--", linewidth=1, label="constant predictor"
        )
    axes.set(xlabel="epoch", ylabel=label, yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(_Some(minor_thresholds=(2, 0.5)))
    axes.tick_params(which="minor", labelsize="small")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def parity(path: Path, target: Tensor, prediction: Tensor, name: str, error: str) -> None:
    """Draw predictions against true values.

    Args:
        path: Where the picture goes.
        target: True values, ``(n,)``.
        prediction: Predicted values, ``(n,)``.
        name: What they are, with the unit.
        error: The error, to be written into the picture.
    """
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    both = np.concatenate([target.numpy(), prediction.numpy()])
    low, high = np.quantile(both, [0.001, 0.999])
    pad = 0.05 * (high - low) or 1.0
    limits = (low - pad, high + pad)
    axes.plot(limits, limits, color=_GUIDE, linewidth=1)
    axes.scatter(target, prediction, s=5, alpha=0.35, linewidths=0, color=_VALIDATION)
    axes.set(xlim=limits, ylim=limits, xlabel=f"true {name}", ylabel=f"predicted {name}")
    axes.set_aspect("equal")
    axes.text(0.04, 0.96, error, transform=axes.transAxes, va="top")
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
