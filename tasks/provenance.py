"""Where figures come from: the command, the commit, the machine and the date."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path

import torch

_ROOT = Path(__file__).resolve().parent.parent


def provenance(arguments: Sequence[str], program: str = "lie-attention") -> dict[str, str]:
    """What a file of results says of its making.

    Args:
        arguments: The arguments of the program; of a path from the root only the last part is
            kept, which is the same on every machine.
        program: The program.

    Returns:
        ``command``, ``commit`` (of the source, where it is under version control), ``machine`` and
        ``date``.
    """
    return {
        "command": shlex.join([program, *map(_shown, arguments)]),
        "commit": _commit(),
        "machine": machine(),
        "date": date.today().isoformat(),
    }


@cache
def machine() -> str:
    """The processor, the number of cores, the GPU where there is one, and torch's version."""
    parts = [_processor(), f"{os.cpu_count()} cores"]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join([*parts, f"torch {torch.__version__}"])


def _commit() -> str:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=_ROOT, capture_output=True, text=True
        )
    except OSError:
        return ""
    return found.stdout.strip()


def _shown(argument: str) -> str:
    option, equals, value = argument.rpartition("=")
    path = Path(value)
    return f"{option}{equals}{path.name}" if path.is_absolute() else argument


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
