"""Configurations that are wrong in some places: each is refused in words, or runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.cache import CACHE_VARIABLE
from tasks.commands.catalog import TASKS

SCRIPT = Path(__file__).parents[2] / "benchmarks/fuzz.py"


def fuzz(cache, *args):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, args)],
        env={**os.environ, CACHE_VARIABLE: str(cache), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_no_traceback_and_no_hang(qm9_cache, tmp_path):
    done = fuzz(qm9_cache, "--cases", 40, "--seed", 1, "--results", tmp_path / "fuzz.json")
    rows = json.loads((tmp_path / "fuzz.json").read_text())["rows"]
    assert [row["task"] for row in rows] == list(TASKS)
    assert sum(row["cases"] for row in rows) == 40
    for row in rows:
        assert row["tracebacks"] == row["hangs"] == row["killed"] == 0, done.stdout
        assert row["refused"] + row["accepted"] == row["cases"]


@pytest.mark.slow
def test_what_is_changed_is_sound_before(qm9_cache):
    done = fuzz(qm9_cache, "--sound")
    assert done.returncode == 0, done.stderr
