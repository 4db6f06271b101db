"""Where figures come from: the command, the commit, the date, the machine, and what they cost."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

UNKNOWN: Final = "unknown"
"""Stands where nothing was recorded."""

FIELDS: Final = ("command", "commit", "version", "date", "machine", "cpu_seconds")
"""What each row of a result file says of its making; ``results/README.md`` describes them."""

_ROOT = Path(__file__).resolve().parent.parent
_ABSOLUTE = re.compile(r"(?<![\w.~:/-])/(?:[^\s/,;'\"\]})]+/)*([^\s/,;'\"\]})]+)")


def provenance(arguments: Sequence[str], program: str = "lie-attention") -> dict[str, str]:
    """What is known of the making of figures while they are made, all but their cost.

    Args:
        arguments: The arguments of the program. Of a path from the root the part below the source
            is kept, elsewhere the last part, which are the same on every machine.
        program: The program.

    Returns:
        ``command``; ``commit`` of the source that runs, with ``+`` where the tree was changed, and
        ``unknown`` where the source is in no repository, as where it was installed; ``version`` of
        the product; ``date`` and ``machine``.
    """
    return {
        "command": shlex.join([program, *map(_shown, arguments)]),
        "commit": commit(),
        "version": version(),
        "date": date.today().isoformat(),
        "machine": machine(),
    }


def recorded(found: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a row that was written earlier.

    Args:
        found: A row, or what a run says of its making.

    Returns:
        All of ``FIELDS``: as they were recorded, else ``unknown``.
    """
    return {name: UNKNOWN if found.get(name) in (None, "") else found[name] for name in FIELDS}


def processor_seconds() -> float:
    """Processor time so far, user and system, of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


@cache
def commit() -> str:
    """The commit of the source, with ``+`` where the tree was changed when it was first asked for.

    Files that are not tracked, and what is below ``results/``, are no changes.

    Returns:
        An abbreviated commit, or ``unknown`` unless this very file is tracked by the repository
        that it lies in: a package that is installed within somebody's repository is none of it.
    """
    try:
        if not _git("ls-files", "--", str(Path(__file__).resolve())):
            return UNKNOWN
        head = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no", ".", ":(exclude)results")
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return f"{head}+" if changed else head


@cache
def version() -> str:
    """The version of the product."""
    try:
        return importlib.metadata.version("lie-attention")
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN


@cache
def machine() -> str:
    """The processor, the number of cores, the GPU where there is one, and torch's version."""
    parts = [_processor(), f"{os.cpu_count()} cores"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join([*parts, f"torch {torch.__version__}"])


def _git(*arguments: str) -> str:
    # In a hook of somebody's repository these variables name that one, wherever git is started.
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    found = subprocess.run(
        ["git", "--no-optional-locks", *arguments],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return found.stdout.strip()


def _shown(argument: str) -> str:
    option, equals, value = argument.rpartition("=")
    path = Path(value)
    if not path.is_absolute():
        return _ABSOLUTE.sub(r"\1", argument)
    shown = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path.name
    return f"{option}{equals}{shown}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
