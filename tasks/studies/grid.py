"""The grid of a study: axes of labeled choices, and the runs that combine them."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import yaml

Label = str | int | float | bool
"""What a choice is called in tables: a number stays one."""

_LONGEST = 200  # characters
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_POWER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")  # YAML 1.1 takes 1e-3 for a text.
_NAMES = {"seed_everything": "seed"}
_FORMS = (
    "a list of values, or {keys: KEYS, values: VALUES} where VALUES is a list or names each value, "
    "or {choices: {LABEL: {KEY: VALUE, ...}, ...}}"
)


@dataclass(frozen=True)
class Choice:
    """One entry of an axis.

    Args:
        label: What it is called.
        settings: The keys of the configuration that it sets, and their values.
    """

    label: Label
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Axis:
    """What varies in one direction of the grid.

    Args:
        name: What it is called, in tables and in results.
        choices: Its entries, whose labels differ.

    Raises:
        ValueError: If there is no choice, two have one label, or they set different keys.
    """

    name: str
    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if not self.choices:
            raise ValueError(f"grid.{self.name}: there is no value.")
        for label, count in Counter(str(choice.label) for choice in self.choices).items():
            if count > 1:
                raise ValueError(
                    f"grid.{self.name}: {count} values are called {label!r}; give them names, as "
                    "in {keys: KEY, values: {NAME: VALUE, ...}}."
                )
        if len({frozenset(choice.settings) for choice in self.choices}) > 1:
            raise ValueError(
                f"grid.{self.name}: every choice sets the same keys; got "
                + "; ".join(f"{choice.label}: {', '.join(choice.settings)}" for choice in self)
            )

    def __iter__(self) -> Any:
        return iter(self.choices)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the configuration that it sets."""
        return tuple(self.choices[0].settings)

    @property
    def varies(self) -> bool:
        """Whether there is more than one choice."""
        return len(self.choices) > 1

    @classmethod
    def parse(cls, name: str, given: Any) -> Axis:
        """Read an axis as a study file has it.

        Args:
            name: Its name, or the key that it sets.
            given: A list of values of the key ``name``; or a mapping with ``keys``, one key or
                several that are set alike, and ``values``, a list or a mapping from label to
                value; or a mapping with ``choices``, from label to the settings made together.

        Returns:
            The axis. One that is named by a key alone takes the key's last part as its name.

        Raises:
            ValueError: If it is none of these.
        """
        if isinstance(given, list):
            given = {"keys": name, "values": given}
            name = _NAMES.get(name, name.rpartition(".")[2])
        if not isinstance(given, dict):
            raise ValueError(f"grid.{name}: {given!r}; accepted: {_FORMS}.")
        if set(given) == {"choices"} and _maps(given["choices"]):
            chosen = given["choices"]
            if not all(_maps(settings) for settings in chosen.values()):
                raise ValueError(f"grid.{name}: each choice is {{KEY: VALUE, ...}}; got {chosen}.")
            return cls(name, tuple(Choice(label, dict(chosen[label])) for label in chosen))
        if set(given) != {"keys", "values"}:
            raise ValueError(f"grid.{name}: got {', '.join(map(str, given))}; accepted: {_FORMS}.")
        keys, values = given["keys"], given["values"]
        keys = [keys] if isinstance(keys, str) else keys
        if not isinstance(keys, list) or not keys or not all(isinstance(k, str) for k in keys):
            raise ValueError(f"grid.{name}: keys: {keys!r}; accepted: a key or a list of keys.")
        if not isinstance(values, list | dict):
            raise ValueError(f"grid.{name}: values: {values!r}; accepted: a list or a mapping.")
        named = values.items() if isinstance(values, dict) else ((label(v), v) for v in values)
        return cls(name, tuple(Choice(text, dict.fromkeys(keys, value)) for text, value in named))


@dataclass(frozen=True)
class Run:
    """One training of a study.

    Args:
        name: Its name, which is also that of its folder.
        labels: The label on each axis.
        settings: The keys that differ from run to run, and their values.
    """

    name: str
    labels: Mapping[str, Label]
    settings: Mapping[str, Any]

    @property
    def arguments(self) -> list[str]:
        """The settings as arguments of ``lie-attention fit``."""
        return [argument(key, value) for key, value in self.settings.items()]


def combine(axes: Sequence[Axis]) -> list[Run]:
    """All combinations of the choices; the last axis varies fastest.

    Args:
        axes: The axes.

    Returns:
        The runs; each is named by its labels on the axes that vary.

    Raises:
        ValueError: If two axes have one name or set one key, or two runs would have one name.
    """
    for what, several in (
        ("are called", [axis.name for axis in axes]),
        ("set", [key for axis in axes for key in axis.keys]),
    ):
        for name, count in Counter(several).items():
            if count > 1:
                raise ValueError(f"grid: {count} axes {what} {name!r}.")
    runs = []
    for choices in product(*axes):
        labels = {axis.name: choice.label for axis, choice in zip(axes, choices, strict=True)}
        settings = {key: value for choice in choices for key, value in choice.settings.items()}
        parts = [_part(axis.name, labels[axis.name]) for axis in axes if axis.varies]
        runs.append(Run("-".join(parts) or "run", labels, settings))
        if len(runs[-1].name) > _LONGEST:
            raise ValueError(
                f"grid: {runs[-1].name!r} is too long for the name of a folder; give the values "
                "short names."
            )
    for name, count in Counter(run.name for run in runs).items():
        if count > 1:
            raise ValueError(
                f"grid: {count} runs would be called {name!r}; give the values names that differ "
                "in letters, digits or one of + . = _"
            )
    return runs


def label(value: Any) -> Label:
    """What a value of a configuration is called.

    Args:
        value: A number, a name, a class with its arguments, a list of these, or anything else.

    Returns:
        Numbers as they are; of a dotted path, its last part; the members of a list joined by +.

    Example:
        >>> label([{"class_path": "liegroups.RadialBasis", "init_args": {"radius": 4.0}}, "T3"])
        'RadialBasis(radius=4.0)+T3'
    """
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str) and _POWER.fullmatch(value):
        return float(value)
    if isinstance(value, str):
        return value.rpartition(".")[2] if _DOTTED.fullmatch(value) else value
    if isinstance(value, list):
        return "+".join(str(label(each)) for each in value)
    if isinstance(value, dict) and isinstance(value.get("class_path"), str):
        arguments = value.get("init_args") or {}
        given = ", ".join(f"{key}={label(each)}" for key, each in arguments.items())
        return f"{label(value['class_path'])}({given})" if given else label(value["class_path"])
    return "none" if value is None else json.dumps(value, sort_keys=True)


def argument(key: str, value: Any) -> str:
    """A setting as an argument of the command line.

    Args:
        key: The dotted key.
        value: Its value.

    Returns:
        One argument, which YAML reads back as the value.

    Example:
        >>> argument("model.invariant", ["Distance", "InverseDistance"])
        '--model.invariant=[Distance, InverseDistance]'
    """
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    text = text.removesuffix("...\n").strip()  # Plain scalars end a document.
    return f"--{key}={text}"


def _part(axis: str, text: Label) -> str:
    """A label as part of the name of a folder; a number says what it is of."""
    named = text if isinstance(text, str) else f"{axis}{text}"
    return re.sub(r"[^\w+.=]+", "_", named).strip("_.")


def _maps(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)
