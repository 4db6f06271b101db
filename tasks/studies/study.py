"""What a study is: a configuration, what all runs change of it, and what they vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.commands.catalog import TASKS
from tasks.provenance import FIELDS
from tasks.runs.settings import read_mapping
from tasks.studies.grid import Axis, Run, argument, combine

_KEYS = ("config", "settings", "grid", "columns", "spread", "notes")
_RESERVED = ("config", "run", "resume", "ckpt_path", "print_config", "help")


@dataclass(frozen=True)
class Study:
    """A configuration, and the grid of settings to train it with.

    Args:
        name: The name of its file.
        config: The configuration that the runs start from.
        settings: Arguments of ``lie-attention fit`` that all runs share.
        axes: What varies.
        columns: Names of the figures in the results, and the keys of ``metrics.json`` that they
            are read from; all figures of the test when empty.
        spread: The axis over which the mean and the spread are taken.
        notes: What a reader of the results should know.

    Raises:
        ValueError: If a setting is not one that a study may make, or ``spread`` is no axis.
    """

    name: str
    config: Path
    settings: tuple[str, ...] = ()
    axes: tuple[Axis, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    spread: str = "seed"
    notes: str = ""

    def __post_init__(self) -> None:
        if not self.axes:
            raise ValueError(
                "grid: the study varies nothing; give, say, --grid.seed_everything='[0, 1, 2]'."
            )
        varied = {key: axis.name for axis in self.axes for key in axis.keys}
        for text in self.settings:
            key = text.removeprefix("--").partition("=")[0]
            if key in _RESERVED:
                raise ValueError(f"{key}: a study does not take --{key} for its runs.")
            if key in varied:
                raise ValueError(
                    f"{key}: it is set for all runs, and by the axis {varied[key]!r} of the grid."
                )
        for key in varied:
            if key in _RESERVED:
                raise ValueError(f"grid: {key} is no setting of a training.")
        clash = {axis.name for axis in self.axes} & set(self.columns)
        if clash:
            raise ValueError(f"columns: {', '.join(sorted(clash))} is the name of an axis.")
        taken = ({axis.name for axis in self.axes} | set(self.columns)) & set(FIELDS)
        if taken:
            raise ValueError(
                f"grid, columns: {', '.join(sorted(taken))} stands in each row of the results "
                "already, and says where it comes from; give the axis or the column another name."
            )

    @property
    def runs(self) -> list[Run]:
        """The runs, in the order of the grid."""
        return combine(self.axes)

    @property
    def task(self) -> str:
        """The name of the task."""
        named = [text for text in self.settings if text.startswith("--task=")]
        if named:
            return named[-1].partition("=")[2]
        return str(read_mapping("config", self.config).get("task", next(iter(TASKS))))

    def arguments(self, run: Run) -> list[str]:
        """The arguments of ``lie-attention fit`` for a run."""
        return ["--config", str(self.config), *self.settings, *run.arguments]

    @property
    def identity(self) -> dict[str, Any]:
        """What the runs depend on, as JSON has it; two studies that agree in it have equal runs."""
        content = read_mapping("config", self.config)
        grid = {
            axis.name: {str(choice.label): dict(choice.settings) for choice in axis.choices}
            for axis in self.axes
        }
        return {"config": content, "settings": list(self.settings), "grid": grid}

    @classmethod
    def read(cls, path: Path) -> Study:
        """Read a study file.

        Args:
            path: A YAML file with ``config``, a path from the folder of the file; ``grid``, a
                mapping from names to what :meth:`tasks.studies.Axis.parse` reads; and where wanted
                ``settings``, ``columns``, ``spread`` and ``notes``.

        Raises:
            ValueError: If the file is not such a study.
        """
        given = read_mapping("study", path)
        unknown = [str(key) for key in given if key not in _KEYS]
        if unknown:
            raise ValueError(
                f"study: {path} has {', '.join(unknown)}; accepted: {', '.join(_KEYS)}."
            )
        for key, kind in (("grid", dict), ("settings", dict), ("columns", dict)):
            if not isinstance(given.get(key) or {}, kind):
                raise ValueError(f"study: {key} of {path} is a mapping; got {given[key]!r}.")
        if not isinstance(given.get("config"), str):
            raise ValueError(f"study: {path} names no config.")
        return cls(
            name=path.stem,
            config=path.parent / given["config"],
            settings=tuple(argument(k, v) for k, v in (given.get("settings") or {}).items()),
            axes=tuple(Axis.parse(str(k), v) for k, v in (given.get("grid") or {}).items()),
            columns={str(k): str(v) for k, v in (given.get("columns") or {}).items()},
            spread=str(given.get("spread", "seed")),
            notes=" ".join(str(given.get("notes", "")).split()),
        )

    def narrowed(self, name: str, given: Any) -> Study:
        """The study with an axis cut down, changed or added.

        Args:
            name: The name of an axis, or a key.
            given: A list of labels of that axis, to take these alone; or an axis, which takes the
                place of the one of its name or is a new one.
        """
        axis = Axis.parse(name, given)
        for old in self.axes:
            if name == old.name and isinstance(given, list):
                kept = [c for c in old.choices if c.label in given]
                if len(kept) == len(given):
                    axis = Axis(name, tuple(kept))
                elif len(old.keys) == 1:
                    axis = Axis.parse(name, {"keys": list(old.keys), "values": given})
                else:
                    labels = ", ".join(str(choice.label) for choice in old.choices)
                    raise ValueError(f"grid.{name}: {given}; accepted: some of {labels}.")
        if axis.name in [old.name for old in self.axes]:
            axes = tuple(axis if old.name == axis.name else old for old in self.axes)
        else:
            axes = (*self.axes, axis)
        return replace(self, axes=axes)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between the identities of two studies, one line a key."""
    before, after = flat(old), flat(new)
    lines = []
    for key in [*before, *(key for key in after if key not in before)]:
        was, now = before.get(key, "absent"), after.get(key, "absent")
        if was != now:
            lines.append(f"{key} was {was}, and is now {now}")
    return lines


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """The leaves of nested mappings by their dotted keys; what is no mapping is a leaf."""
    if isinstance(value, dict) and value:
        leaves: dict[str, str] = {}
        for key, each in value.items():
            leaves |= flat(each, f"{prefix}.{key}" if prefix else str(key))
        return leaves
    if prefix == "settings" and isinstance(value, Sequence):
        pairs = (str(text).removeprefix("--").partition("=") for text in value)
        return {key: text for key, _, text in pairs}
    return {prefix: repr(value)}
