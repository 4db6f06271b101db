"""Result files: what was measured, where, when and by which command."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent


def write(name: str, rows: Sequence[dict[str, object]], notes: str) -> Path:
    """Write ``results/NAME.json`` and return its path."""
    path = ROOT / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "command": " ".join(["python", *map(_shown, sys.argv)]),
        "commit": _commit(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "date": date.today().isoformat(),
        "notes": notes,
        "rows": list(rows),
    }
    # In one step, so that whoever reads it meanwhile, or stops this, finds a whole file.
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)
    return path


def _commit() -> str:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
        )
    except OSError:  # A machine without git.
        return ""
    return found.stdout.strip()


def _shown(argument: str) -> str:
    """An argument as it is on every machine: of a path from the root, its last part."""
    path = Path(argument)
    if not path.is_absolute():
        return argument
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
