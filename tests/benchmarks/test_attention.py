"""A case of the benchmark of attention, in a process of its own as the benchmark runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "attention.py"
TINY = {"system": "LieTransformer-T3", "points": 4, "width": 8, "layers": 1, "heads": 2}


def answers(case, *questions):
    run = subprocess.run(
        [sys.executable, SCRIPT, "case", json.dumps(case)],
        input="".join(f"{question}\n" for question in questions),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


@pytest.mark.parametrize("part", ["network", "linear maps", "location"])
def test_a_case_steps_when_asked_and_says_what_it_took(part):
    first, second, end = answers(TINY | {"part": part}, "step", "step", "end")
    for step in (first, second):
        assert 0 < step["forward"] < step["both"]
        assert step["cpu"] > 0
    assert end["peak_mb"] >= end["baseline_mb"] > 0


def test_a_case_that_fails_says_why():
    (answer,) = answers(TINY | {"heads": 3}, "step")
    assert "heads must divide width" in answer["failed"]


def test_a_folder_that_is_no_checkout_is_named(tmp_path):
    (answer,) = answers(TINY | {"public": str(tmp_path)}, "step")
    assert "give a checkout of oxcsml/lie-transformer" in answer["failed"]
