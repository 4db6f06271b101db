"""``lie-attention check-group``: run the laws on a group of the user's own."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from jsonargparse import ArgumentParser

from liegroups import LieGroup

_SHOWN = 400


def check_group(args: Sequence[str]) -> bool:
    """Print a table of laws with pass, fail and the smallest counterexample.

    Args:
        args: What follows ``check-group`` on the command line.

    Returns:
        Whether every law that was tried holds.

    Raises:
        ValueError: If the argument does not name a group.
        ImportError: If the testing kit is not installed.
    """
    parser = ArgumentParser(
        prog="lie-attention check-group",
        description="Run the laws of Lie groups on a group of your own.",
    )
    parser.add_argument(
        "group", type=str, help="The group as MODULE:NAME, a class without arguments or an object."
    )
    parser.add_argument(
        "--examples", type=int, default=100, help="Number of examples that each law is tried on."
    )
    settings = parser.parse_args(list(args))
    group = find_group(settings.group)
    try:
        from liegroups.testing import GROUP_LAWS, iterate_checks
    except ImportError as error:
        raise ImportError(
            "check-group needs the testing kit: pip install 'lie-attention[testing]'."
        ) from error
    print(f"{group}: dimension {group.dim}, {group.matrix_size} × {group.matrix_size} matrices")
    counts = {"pass": 0, "fail": 0, "skip": 0}
    for result in iterate_checks(GROUP_LAWS, (group,), group, None, examples=settings.examples):
        verdict = {True: "pass", False: "fail", None: "skip"}[result.passed]
        counts[verdict] += 1
        print(f"  {verdict}  {result.name:32} {result.formula}")
        if result.message:
            text = " ".join(result.message.split())
            print(f"        {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}")
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return counts["fail"] == 0


def find_group(path: str) -> LieGroup:
    """The group that ``MODULE:NAME`` names; modules in the working folder are found.

    Args:
        path: Dotted path of the module, a colon, and the name in it.

    Returns:
        The group; a class is called without arguments.

    Raises:
        ValueError: If there is no such module or name, or it is no group.
    """
    module_name, colon, name = path.partition(":")
    if not colon or not name:
        raise ValueError(
            f"group: {path!r} is not of the form MODULE:NAME, as in my_package:MyGroup."
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise ValueError(f"group: there is no module {error.name!r} here or installed.") from error
    if not hasattr(module, name):
        raise ValueError(f"group: the module {module_name} has no {name!r}.")
    found = getattr(module, name)
    try:
        group = found() if inspect.isclass(found) else found
    except TypeError as error:
        raise ValueError(
            f"group: {name} cannot be built without arguments ({error}). Name an object instead, "
            f"such as a line MY_GROUP = {name}(...) in the module."
        ) from error
    if not isinstance(group, LieGroup):
        raise ValueError(f"group: {path} is a {type(group).__name__}, not a liegroups.LieGroup.")
    return group
