"""Pictures of trajectories, of errors, of what is conserved, and of data efficiency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from matplotlib.animation import FFMpegWriter, FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from tasks.plots.curves import save
from tasks.systems import System

_COLORS: Final = (
    "#2457a6", "#c8502d", "#3a8f5c", "#8a5fa8", "#b58a1b", "#4c9bb0", "#1f1f1f", "#d17fa6",
    "#7a4a2b", "#98a51d",
)  # fmt: skip
_GUIDE: Final = "#8a8fa3"

PUBLISHED: Final[dict[str, dict[int, tuple[float, float]]]] = {
    "FC": {
        10: (1.3e-1, 5.5), 25: (1.0e-1, 4.0), 50: (6.8e-2, 3.0), 100: (4.2e-2, 2.1),
        400: (9.3e-3, 6.3e-1), 1000: (2.0e-3, 1.3e-1), 3000: (5.1e-4, 3.5e-2),
        10000: (8.7e-5, 7.7e-3), 30000: (3.2e-5, 2.3e-3), 96000: (2.9e-5, 2.3e-3),
    },
    "graph network": {
        10: (2.2e-2, 2.7), 25: (9.6e-3, 1.2), 50: (5.0e-3, 8.1e-1), 100: (2.1e-3, 3.8e-1),
        400: (6.0e-4, 6.0e-2), 1000: (3.8e-4, 5.9e-2), 3000: (5.7e-5, 1.4e-2),
        10000: (1.3e-5, 4.7e-3), 30000: (1.5e-6, 1.5e-3), 96000: (2.7e-6, 1.7e-3),
    },
    "LieConv": {
        10: (3.5e-3, 2.3e-1), 25: (9.3e-4, 7.0e-2), 50: (2.7e-4, 1.7e-2), 100: (1.6e-4, 1.3e-2),
        400: (2.4e-5, 3.7e-3), 1000: (3.3e-5, 7.4e-3), 3000: (5.0e-6, 9.5e-4),
        10000: (2.2e-6, 3.2e-4), 30000: (2.1e-7, 4.8e-5), 96000: (6.2e-8, 7.9e-6),
    },
    "LieTransformer": {
        10: (7.4e-4, 6.7e-2), 25: (1.5e-4, 2.9e-2), 50: (5.9e-5, 1.4e-2), 100: (2.5e-5, 3.9e-3),
        400: (8.5e-6, 3.7e-3), 1000: (5.7e-6, 1.8e-3), 3000: (1.2e-6, 6.8e-4),
        10000: (4.6e-7, 1.6e-4), 30000: (2.9e-7, 3.7e-5), 96000: (1.1e-7, 1.6e-5),
    },
}  # fmt: skip
"""Median errors over 5 and 100 points by model and number of training systems, read off the curves
of the poster of Hutchinson et al. 2021, LieTransformer."""


def draw_trajectories(
    path: Path, system: System, true: Tensor, predicted: Tensor, parameters: Tensor
) -> None:
    """Draw the paths of the particles of a few systems.

    Args:
        path: Where the picture goes.
        system: The system.
        true: True states ``(systems, points, 2, particles, dim)``.
        predicted: Predicted states of the same shape.
        parameters: Parameters ``(systems, particles, parameters)``.
    """
    count = len(true)
    figure = Figure(figsize=(3.1 * count, 3.4), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    both = _scenes(system, true, parameters), _scenes(system, predicted, parameters)
    for number, (axes, a, b) in enumerate(zip(panels, *both, strict=True)):
        for n in range(a.shape[1]):
            color = _COLORS[n % len(_COLORS)]
            first = number == n == 0
            axes.plot(*a[:, n].T, color=color, linewidth=3, alpha=0.3, label="true" * first)
            axes.plot(*b[:, n].T, color=color, linewidth=1, label="predicted" * first)
            axes.plot(*b[-1, n], color=color, marker="o", markersize=4)
        _frame(axes)
        if number == 0:
            axes.legend(frameon=False, loc="best", fontsize="small")
    time = system.spacing * (true.shape[1] - 1)
    figure.suptitle(f"{type(system).__name__}: {count} test systems from time 0 to {time:.3g}")
    save(figure, path)


def draw_error(path: Path, times: Tensor, errors: Mapping[str, Tensor]) -> None:
    """Draw squared errors against time: the median over the systems, and from 10 to 90 %.

    Args:
        path: Where the picture goes.
        times: Points in time ``(points,)``.
        errors: Squared errors ``(systems, points)`` by model.
    """
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, values), color in zip(errors.items(), _cycle(errors), strict=True):
        _band(axes, times[1:], values[:, 1:], name, color)
    axes.set(xlabel="time", ylabel="squared error of the state", yscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def draw_conserved(
    path: Path, times: Tensor, drifts: Mapping[str, Mapping[str, Tensor]], title: str = ""
) -> None:
    """Draw the drift of conserved quantities against time, a panel each.

    Args:
        path: Where the picture goes.
        times: Points in time ``(points,)``.
        drifts: Relative drifts ``(systems, points)`` by model and quantity.
        title: Title of the whole.
    """
    names = list(dict.fromkeys(name for each in drifts.values() for name in each))
    figure = Figure(figsize=(3.4 * len(names), 3.4), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axes, name in zip(panels, names, strict=True):
        for (model, found), color in zip(drifts.items(), _cycle(drifts), strict=True):
            if name in found:
                _band(axes, times[1:], found[name][:, 1:], model, color)
        axes.set(xlabel="time", title=name.replace("_", " "), yscale="log")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("relative drift")
    panels[0].legend(frameon=False, fontsize="small")
    if title:
        figure.suptitle(title)
    save(figure, path)


def draw_data_efficiency(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Draw roll-out errors against the number of training systems, beside the published curves.

    Args:
        path: Where the picture goes.
        rows: Rows with ``model``, ``train_systems``, ``mse_5`` and ``mse_100``; the curves are
            medians over the rows of a model and size.
    """
    figure = Figure(figsize=(11.5, 4.6), layout="constrained")
    panels = figure.subplots(1, 2)
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    for axes, key, place, points in zip(
        panels, ("mse_5", "mse_100"), (0, 1), (5, 100), strict=True
    ):
        for (name, curve), style in zip(PUBLISHED.items(), (":", "-.", "--", "-"), strict=True):
            values = [each[place] for each in curve.values()]
            label = f"{name}, published"
            axes.plot(list(curve), values, style, color=_GUIDE, linewidth=1.3, label=label)
        for model, color, marker in zip(models, _cycle(models), cycle("osD^vPX*hp"), strict=False):
            medians = _medians(rows, model, key)
            axes.plot(*zip(*medians, strict=True), color=color, marker=marker, ms=4, label=model)
            own = [row for row in rows if row["model"] == model and row[key] is not None]
            axes.scatter(
                [row["train_systems"] for row in own],
                [row[key] for row in own],
                s=8, alpha=0.4, color=color, linewidths=0,
            )  # fmt: skip
        axes.set(
            xscale="log", yscale="log", xlabel="training systems",
            ylabel=f"mean squared error over {points} points",
        )  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize="small")
    save(figure, path)


def animate(
    path: Path,
    system: System,
    true: Tensor,
    predicted: Tensor,
    parameters: Tensor,
    frames_per_second: int = 25,
) -> None:
    """Write a moving picture of one system, the truth as rings and the prediction as discs.

    Args:
        path: Where it goes: ``.gif``, or ``.mp4`` where ffmpeg is installed.
        system: The system.
        true: True states ``(points, 2, particles, dim)``.
        predicted: Predicted states of the same shape.
        parameters: Parameters ``(particles, parameters)``.
        frames_per_second: Frames in a second.

    Raises:
        ValueError: If the file's ending is another, or ffmpeg is missing.
    """
    check_animation(path)
    (a,), (b,) = (_scenes(system, each[None], parameters[None]) for each in (true, predicted))
    both = np.concatenate((a, b)).reshape(-1, 2)
    low, high = both.min(0), both.max(0)
    pad = 0.08 * float((high - low).max()) or 1.0
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(low[0] - pad, high[0] + pad), ylim=(low[1] - pad, high[1] + pad))
    _frame(axes)
    axes.set_aspect("equal", adjustable="box")  # The limits above hold the whole motion.
    colors = [_COLORS[n % len(_COLORS)] for n in range(a.shape[1])]
    tails = [axes.plot([], [], color=color, linewidth=1, alpha=0.6)[0] for color in colors]
    rings = axes.scatter(
        a[0, :, 0], a[0, :, 1], s=90, facecolors="none", edgecolors=colors, label="true"
    )
    discs = axes.scatter(b[0, :, 0], b[0, :, 1], s=24, c=colors, label="predicted")
    axes.legend(frameon=False, loc="upper right", fontsize="small")

    def show(step: int) -> list[Any]:
        rings.set_offsets(a[step])
        discs.set_offsets(b[step])
        for n, tail in enumerate(tails):
            tail.set_data(*b[max(step - 40, 0) : step + 1, n].T)
        axes.set_title(f"{type(system).__name__}, time {system.spacing * step:.2f}")
        return [rings, discs, *tails]

    writer = (FFMpegWriter if path.suffix == ".mp4" else PillowWriter)(fps=frames_per_second)
    path.parent.mkdir(parents=True, exist_ok=True)
    FuncAnimation(figure, show, frames=len(a)).save(path, writer=writer, dpi=90)


def check_animation(path: Path) -> None:
    """Raise unless an animation can be written to a file of this name.

    Args:
        path: The file.

    Raises:
        ValueError: If the file's ending is not ``.gif`` or ``.mp4``, or ffmpeg is missing.
    """
    if path.suffix not in (".gif", ".mp4"):
        raise ValueError(f"an animation is a .gif or an .mp4 file; got {path.name}.")
    if path.suffix == ".mp4" and not FFMpegWriter.isAvailable():
        raise ValueError(f"{path.name} needs the program ffmpeg, which is not installed; use .gif.")


def _scenes(system: System, states: Tensor, parameters: Tensor) -> list[np.ndarray]:
    """Points of the plane ``(points, particles, 2)`` for each system."""
    found = []
    for trajectory, own in zip(states, parameters, strict=True):
        positions = trajectory[:, 0].double()
        _, points = system.scene(positions, own.double().expand(len(positions), -1, -1))
        found.append(points.numpy())
    return found


def _frame(axes: Axes) -> None:
    axes.set_aspect("equal", adjustable="datalim")
    axes.tick_params(labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)


def _band(axes: Axes, times: Tensor, values: Tensor, label: str, color: str) -> None:
    # Zeros, which a logarithmic axis cannot show, are drawn at the smallest rounding error.
    floor = torch.finfo(torch.float64).eps / 10
    low, middle, high = (
        values.double().quantile(level, 0).clamp(min=floor).numpy() for level in (0.1, 0.5, 0.9)
    )
    axes.plot(times.numpy(), middle, color=color, label=label, linewidth=1.4)
    axes.fill_between(times.numpy(), low, high, color=color, alpha=0.15, linewidth=0)


def _cycle(items: Any) -> list[str]:
    return [_COLORS[n % len(_COLORS)] for n in range(len(items))]


def _medians(rows: Sequence[Mapping[str, Any]], model: str, key: str) -> list[tuple[int, float]]:
    sizes = sorted({int(row["train_systems"]) for row in rows if row["model"] == model})
    found = []
    for size in sizes:
        values = [
            np.inf if row[key] is None else float(row[key])
            for row in rows
            if row["model"] == model and row["train_systems"] == size
        ]
        found.append((size, float(np.median(values))))
    return found
