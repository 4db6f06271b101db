"""Shapes of arrays in and out of the public functions, checked at every call of every test.

``watch_shapes`` is called once, before any test. A call runs first, so that it can refuse what is
wrong by a message of its own; then its arguments and its result are held to the shapes below, with
axes of one name of one size. What is compiled or recorded has no calls to look at.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from typing import Any

import torch
from jaxtyping import Shaped, jaxtyped
from torch import Tensor

import attention
import liegroups
import tasks
from attention import Head, Kernel, LieAttention, Network
from liegroups import HomogeneousSpace, Invariant, LieGroup, Sampler
from liegroups.compiling import in_a_mode
from tasks.data import Table
from tasks.objectives import EnergiesAndForces, Objective, Regression
from tasks.systems import HamiltonianField, Integrator, System

__all__ = ["SHAPES", "ShapeError", "watch_shapes"]

RESULT = "result"
ELEMENTS, TANGENTS = "... {self.matrix_size} {self.matrix_size}", "... {self.dim}"
POINTS, GROUP = "... {self.point_dim}", "... {self.group.matrix_size} {self.group.matrix_size}"
STATE, PARAMETERS = "batch 2 particles {self.dim}", "batch particles parameters"

SHAPES: Mapping[type, Mapping[str, Mapping[str, str]]] = {
    LieGroup: {
        "exp": {"a": "*batch {self.dim}", RESULT: "*batch {self.matrix_size} {self.matrix_size}"},
        "log": {"g": "*batch {self.matrix_size} {self.matrix_size}", RESULT: "*batch {self.dim}"},
        "hat": {"a": "*batch {self.dim}", RESULT: "*batch {self.matrix_size} {self.matrix_size}"},
        "vee": {"x": "*batch {self.matrix_size} {self.matrix_size}", RESULT: "*batch {self.dim}"},
        "inverse": {"g": "*batch m m", RESULT: "*batch m m"},
        "adjoint": {"g": "*batch m m", RESULT: "*batch {self.dim} {self.dim}"},
        "project": {"x": "*batch m m", RESULT: "*batch m m"},
        "in_range_of_exp": {"g": "*batch m m", RESULT: "*batch"},
        "compose": {"g": ELEMENTS, "h": ELEMENTS, RESULT: ELEMENTS},
        "relative": {"g": ELEMENTS, "h": ELEMENTS, RESULT: ELEMENTS},
        "relative_log": {"g": ELEMENTS, "h": ELEMENTS, RESULT: TANGENTS},
        "bracket": {"a": TANGENTS, "b": TANGENTS, RESULT: TANGENTS},
        "sample": {RESULT: ELEMENTS},
    },
    HomogeneousSpace: {
        "act": {"g": GROUP, "x": POINTS, RESULT: POINTS},
        "section": {"x": "*batch {self.point_dim}", RESULT: "*batch m m"},
        "representative": {"x": "*batch d", RESULT: "*batch d"},
        "nearest_point": {"x": "*batch d", RESULT: "*batch d"},
        "orbit_label": {"x": "*batch d", RESULT: "*batch {self.orbit_label_dim}"},
        "is_singular": {"x": "*batch d", RESULT: "*batch"},
        "cocycle": {"g": GROUP, "x": POINTS},
    },
    Invariant: {"__call__": {RESULT: "... dim"}},
    Sampler: {"__call__": {"points": "*batch points d", RESULT: "... m m"}},
    Network: {
        "forward": {
            "features": "batch points {self.in_features}",
            "points": "batch points {self.space.point_dim}",
            "mask": "batch points",
            "edges": "2 edges",
            RESULT: "batch ...",
        }
    },
    LieAttention: {"forward": {"features": "batch points in_width", RESULT: "batch points width"}},
    Kernel: {
        "forward": {RESULT: "heads ..."},
        "bias": {RESULT: "heads ..."},
    },
    Head: {
        "forward": {"features": "batch lifted width", "mask": "batch lifted", RESULT: "batch ..."}
    },
    Objective: {
        "cells": {RESULT: "batch columns"},
        "point_cells": {RESULT: "batch points columns"},
    },
    Regression: {
        "known": {RESULT: "batch targets"},
        "standardized": {RESULT: "batch targets"},
    },
    EnergiesAndForces: {
        "predict": {"result[0]": "batch", "result[1]": "batch atoms 3"},
    },
    Table: {
        "batch": {
            "rows": "batch",
            "result.features": "batch points features",
            "result.points": "batch points dim",
            "result.mask": "batch points",
            "result.targets": "batch ...",
            "result.ids": "batch",
            "result.weight": "batch",
            "result.point_targets": "batch points ...",
        }
    },
    System: {
        "kinetic": {"state": STATE, "parameters": PARAMETERS, RESULT: "batch"},
        "potential": {
            "positions": "batch particles {self.dim}",
            "parameters": PARAMETERS,
            RESULT: "batch",
        },
        "energy": {"state": STATE, "parameters": PARAMETERS, RESULT: "batch"},
        "trajectory": {
            "state": STATE,
            "parameters": PARAMETERS,
            RESULT: "batch {points} 2 particles {self.dim}",
        },
    },
    HamiltonianField: {"__call__": {"state": "batch 2 n d", RESULT: "batch 2 n d"}},
    Integrator: {"__call__": {"state": "batch 2 n d", RESULT: "batch times 2 n d"}},
}
"""By class, which stands for its subclasses, and method: axes of the arguments and the result."""


class ShapeError(AssertionError):
    """An array has not the shape that is stated."""


def watch_shapes() -> None:
    """Hold all classes of the packages to the shapes above, from now on."""
    for package in (liegroups, attention, tasks):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "triton" not in info.name and ".testing" not in info.name:
                try:
                    importlib.import_module(info.name)
                except ImportError:  # It needs an extra that is not here.
                    continue
    for base, methods in SHAPES.items():
        for kind in {base, *_below(base)}:
            for name, shapes in methods.items():
                if kind.__module__.partition(".")[0] != "tests" and name in vars(kind):
                    setattr(kind, name, _watched(vars(kind)[name], shapes))


def _below(base: type) -> Iterator[type]:
    for each in base.__subclasses__():
        yield each
        yield from _below(each)


def _watched(function: Callable[..., Any], shapes: Mapping[str, str]) -> Callable[..., Any]:
    if getattr(function, "__isabstractmethod__", False):
        return function

    @wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or in_a_mode():
            return function(*args, **kwargs)
        result = function(*args, **kwargs)
        given = _signature(function).bind(*args, **kwargs).arguments | {RESULT: result}
        _check(function, shapes, given)
        return result

    return watched


def _check(
    function: Callable[..., Any], shapes: Mapping[str, str], given: Mapping[str, Any]
) -> None:
    with jaxtyped("context"):
        for what, axes in shapes.items():
            value = _part(what, given)
            if isinstance(value, Tensor) and not isinstance(value, _kind(axes.format(**given))):
                sizes = {
                    name: tuple(found.shape)
                    for name in shapes
                    if isinstance(found := _part(name, given), Tensor)
                }
                raise ShapeError(
                    f"{function.__qualname__}: {what} has not the axes {axes!r}; there are {sizes}."
                )


def _part(what: str, given: Mapping[str, Any]) -> Any:
    name, dot, attribute = what.partition(".")
    name, bracket, place = name.partition("[")
    value = given.get(name)
    if bracket and value is not None:
        return value[int(place.rstrip("]"))]
    return getattr(value, attribute) if dot else value


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


@cache
def _kind(axes: str) -> Any:
    return Shaped[Tensor, axes]
