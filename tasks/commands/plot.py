"""``lie-attention plot TASK PICTURE``: what a task has to show, drawn into a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import getdoc
from pathlib import Path

from jsonargparse import ArgumentParser

from tasks.commands.catalog import TASKS
from tasks.errors import UserError

Picture = Callable[..., Path]


def plot(args: Sequence[str]) -> bool:
    """Draw a picture of a task and say where it is.

    A module of pictures exports ``PICTURES``, functions by name; the arguments of a function are
    the options of its picture, and it returns the path of the file.

    Args:
        args: What follows ``plot`` on the command line: the task, the picture, by default the
            task's first, and options.

    Returns:
        True.

    Raises:
        UserError: If there is no such task or picture, or an option is wrong.
    """
    given = list(args)
    drawable = _drawable()
    if not given or given[0] in ("-h", "--help"):
        for task, pictures in drawable.items():
            for name, function in pictures.items():
                purpose = (getdoc(function) or "").splitlines()[0]
                print(f"lie-attention plot {task} {name:12} {purpose}")
        return True
    task, *given = given
    if task not in drawable:
        raise UserError(
            f"plot: the task {task!r} has no pictures; accepted: {', '.join(drawable)}."
        )
    pictures = drawable[task]
    name = given.pop(0) if given and not given[0].startswith("-") else next(iter(pictures))
    if name not in pictures:
        raise UserError(f"plot: {task} has no {name!r}; accepted: {', '.join(pictures)}.")
    function = pictures[name]
    parser = ArgumentParser(
        prog=f"lie-attention plot {task} {name}",
        description=(getdoc(function) or "").splitlines()[0],
        exit_on_error=False,
    )
    parser.add_function_arguments(function, as_positional=False)
    try:
        settings = parser.instantiate(parser.parse_args(given))
    except Exception as error:
        if isinstance(error, (ValueError, OSError)) or type(error).__name__ == "ArgumentError":
            raise UserError(f"plot: {' '.join(str(error).split())}") from error
        raise
    print(f"Written: {function(**vars(settings))}")
    return True


def _drawable() -> dict[str, dict[str, Picture]]:
    """The pictures of the tasks that have any."""
    return {
        name: import_module(task.pictures).PICTURES
        for name, task in TASKS.items()
        if task.pictures is not None
    }
