"""A run on a database that grows keeps its parts."""

import json
from pathlib import Path

import numpy as np
import pytest

from tasks.data.parts import Parts
from tasks.runs.checkpoint import read_checkpoint

ase = pytest.importorskip("ase.db")

SMALL = [
    *("--task=molecules", "--data.path=a.db", "--data.target=gap", "--data.unit=eV"),
    *("--data.val_molecules=10", "--data.test_molecules=10", "--trainer.max_epochs=1"),
    *("--model.network.width=8", "--model.network.heads=2", "--model.network.layers=1"),
]


def add(first, count):
    from ase.build import molecule

    random = np.random.default_rng(first)
    for number in range(first, first + count):
        atoms = molecule(["CH4", "H2O", "NH3", "CH3OH", "C2H6"][number % 5])
        atoms.rattle(0.05, seed=number)
        ase.connect("a.db").write(atoms, gap=float(random.normal()))


def parts():
    return Parts.from_state(read_checkpoint(Path("a/checkpoints/last.ckpt"))["parts"])


def test_a_row_more_is_refused_or_joins_the_training_part(lie_attention, refusal):
    add(0, 60)
    lie_attention("fit", *SMALL, "--run=a")
    before = parts()
    lie_attention("test", "--run=a")
    add(60, 7)
    assert "were trained on by this run" in refusal("test", "--run=a")
    assert "--new_rows train" in refusal("fit", "--resume=a", "--trainer.max_epochs=2")
    lie_attention("fit", "--resume=a", "--trainer.max_epochs=2", "--new_rows=train")
    after = parts()
    assert after.counts == {"train": 47, "val": 10, "test": 10}
    for part in ("val", "test"):
        assert after.digests[part] == before.digests[part]
    assert len(json.loads(Path("a/metrics.json").read_text())["history"]) == 2
