"""Importing liegroups loads torch, and nothing heavy besides."""

import subprocess
import sys

import pytest

HEAVY = [
    "e3nn",
    "einops",
    "geomstats",
    "hypothesis",
    "jsonargparse",
    "lightning",
    "matplotlib",
    "pytest",
    "pytorch_lightning",
    "scipy",
    "sympy",
    "torch._dynamo",
]


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("liegroups", [*HEAVY, "liegroups.testing"]),
        ("liegroups.testing", ["e3nn", "einops", "geomstats", "pytorch_lightning", "matplotlib"]),
    ],
)
def test_import_is_light(module, forbidden):
    # torch itself may load some of these where they are installed: what counts is what we add.
    code = (
        "import sys, torch; before = set(sys.modules); "
        f"import {module}; added = set(sys.modules) - before; "
        f"print(sorted(added & set({forbidden!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_changes_no_global_state():
    code = (
        "import torch; "
        "state = lambda: (torch.get_default_dtype(), torch.is_grad_enabled(), "
        "torch.get_num_threads(), torch.get_float32_matmul_precision(), "
        "torch.initial_seed(), torch.get_rng_state().sum().item()); "
        "torch.manual_seed(0); before = state(); "
        "import liegroups, liegroups.testing; assert state() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
