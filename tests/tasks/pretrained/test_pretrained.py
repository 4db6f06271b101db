"""Models that come with the package: small, honest in their cards, and usable by name."""

import csv
import os
from math import isfinite
from pathlib import Path

import pytest
import torch

from tasks import pretrained
from tasks.errors import UserError
from tasks.sources.md17 import MD17, RMD17
from tasks.sources.qm9 import QM9

NAMES = pretrained.names()
ARCHIVE = os.environ.get("RMD17_FOLDER")
"""Where the archive of revised MD17 is unpacked; the errors of its models are measured there."""


def error(name, data):
    """Mean absolute error on the test part."""
    model = pretrained.load(name)
    data.setup("test")
    errors = []
    for batch in data.test_dataloader():
        found = model.objective.errors(model(model.cast(batch)), batch)
        errors.append(found["mae"].detach())
    return float(torch.cat(errors).mean())


def test_there_are_models():
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_cards_say_what_is_to_be_known(name):
    card = pretrained.card(name)
    assert card["name"] == name
    for key in ("predicts", "split", "unit", "test/mae", "cpu_seconds", "seed", "commit", "date"):
        assert card[key] not in (None, "unknown"), key
    assert len(card["not_for"]) > 40
    assert pretrained.path_of(name).stat().st_size <= 2e6
    # Of a hundred, by the weights as they are kept, beside the whole test part of those of the run.
    assert card["hundred/mae"] == pytest.approx(card["test/mae"], rel=0.35)


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("qm9-")])
def test_errors_on_a_hundred_molecules_are_those_of_the_card(name, qm9_cache):
    card = pretrained.card(name)
    data = QM9(
        card["target"], card["split"], test_molecules=100, batch_size=100, cache_dir=str(qm9_cache)
    )
    assert error(name, data) == pytest.approx(card["hundred/mae"], rel=1e-4)


@pytest.mark.skipif(ARCHIVE is None, reason="RMD17_FOLDER does not name the archive")
@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("rmd17-")])
def test_errors_on_a_hundred_frames_are_those_of_the_card(name):
    card = pretrained.card(name)
    data = MD17(card["molecule"], RMD17(ARCHIVE), train_frames=card["train/frames"],
                val_frames=50, test_frames=100, batch_size=20)  # fmt: skip
    assert error(name, data) == pytest.approx(card["hundred/mae"], rel=1e-4)


def test_an_unknown_name_is_answered_with_those_that_there_are():
    with pytest.raises(UserError, match=NAMES[0]):
        pretrained.load("qm9-taste")


def test_predictions_by_name(lie_attention, tmp_path):
    """From a file of molecules to a table, without a network connection."""
    pytest.importorskip("ase")
    from ase.build import molecule
    from ase.io import write

    write(tmp_path / "given.xyz", [molecule("CH3CH2OH"), molecule("H2O")])
    name = NAMES[0]
    with pytest.raises(SystemExit) as left:
        lie_attention("predict", "--model", name, "given.xyz")
    assert left.value.code == 0
    with Path("given-predictions.csv").open() as file:
        rows = list(csv.reader(file))
    assert len(rows) == 3 and rows[1][2] == "C2H6O"
    assert all(isfinite(float(row[-1])) for row in rows[1:])


def test_an_unknown_name_on_the_command_line(refusal, tmp_path):
    (tmp_path / "given.xyz").write_text("1\n\nH 0 0 0\n")
    assert NAMES[0] in refusal("predict", "--model", "qm9-taste", "given.xyz")


def test_a_run_becomes_a_file_that_predicts(lie_attention, refusal, tmp_path):
    lie_attention(
        "fit", "--config", "shapes/quick.yaml", "--run", "runs/a", "--trainer.max_epochs=1",
        "--data.train_clouds=16", "--data.val_clouds=8", "--data.test_clouds=8",
    )  # fmt: skip
    with pytest.raises(SystemExit) as left:
        lie_attention("export", "--run", "runs/a", "--half", "--not_for", "circles")
    assert left.value.code == 0
    assert Path("runs/a/a.safetensors").is_file()
    assert "nothing is overwritten" in refusal("export", "--run", "runs/a")
    assert "ends in .safetensors" in refusal("export", "--run", "runs/a", "--output", "a.pt")
    assert "no folder" in refusal("export", "--run", "runs/a", "--output", "b/a.safetensors")
    assert "is not the folder of a run" in refusal(
        "export", "--run", "runs", "--output", "b.safetensors"
    )
