"""The folder that is named is the folder, wherever it lies and whatever is written in it."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml

from tasks.errors import UserError
from tasks.runs.folder import Busy, RunFolder, free_file, free_name
from tasks.training import Model


def content(folder):
    """Every file below a folder with what it holds."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def last(folder):
    return torch.load(Path(folder, "checkpoints/last.ckpt"), weights_only=True)


# ---- a copy, a move, a mount -----------------------------------------------------------------


def test_resuming_a_copy_changes_the_copy_alone(fit, go):
    fit("--run=a", "--trainer.max_epochs=2")
    shutil.copytree("a", "b")
    before = content("a")
    go("fit", "--resume=b", "--trainer.max_epochs=3")
    assert content("a") == before
    assert last("b")["epoch"] == 2
    assert len(json.loads(Path("b/metrics.json").read_text())["history"]) == 3


def test_a_run_that_was_moved_goes_on_where_it_is_and_keeps_its_best_weights(monkeypatch, fit, go):
    fit("--run=old", "--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=1")
    best = torch.load("old/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    Path("elsewhere").mkdir()
    Path("old").rename("elsewhere/new")
    original = Model.validation_step

    def worse(self, batch):
        self.objective.force_rms *= 50
        return original(self, batch)

    with monkeypatch.context() as patch:  # Every later epoch is worse than those before.
        patch.setattr(Model, "validation_step", worse)
        go("fit", "--resume=elsewhere/new", "--trainer.max_epochs=4")
    assert not Path("old").exists()
    kept = torch.load("elsewhere/new/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(kept[name], value) for name, value in best.items())


def test_what_is_written_in_a_run_does_not_say_where_it_is(fit, go):
    fit("--run=a", "--trainer.max_epochs=2")
    shutil.copytree("a", "b")
    settings = yaml.safe_load(Path("b/config.yaml").read_text())
    assert not {"run", "resume", "ckpt_path"} & settings.keys()
    settings |= {"run": "a", "resume": "a", "ckpt_path": "a/checkpoints/best.ckpt"}
    Path("b/config.yaml").write_text(yaml.safe_dump(settings))
    before = content("a")
    go("fit", "--resume=b", "--trainer.max_epochs=3")
    go("test", "--run=b")
    go("predict", "--run=b")
    assert content("a") == before
    assert last("b")["epoch"] == 2 and Path("b/predictions.csv").exists()


def test_nothing_of_a_run_names_the_folder_that_it_was_made_in(tmp_path, fit):
    fit("--run=a", "--trainer.max_epochs=1")
    for path in (Path("a/config.yaml"), Path("a/metrics.json")):
        assert str(tmp_path) not in path.read_text()


# ---- what is there stays ---------------------------------------------------------------------


def test_a_training_from_the_weights_of_a_run_leaves_that_run(fit, refused):
    fit("--run=a", "--trainer.max_epochs=2")
    before = content("a")
    fit("--ckpt_path=a/checkpoints/best.ckpt", "--run=b", "--trainer.max_epochs=4")
    assert content("a") == before
    assert Path("b/metrics.json").exists()
    message = refused(
        "fit", "--config=config.yaml", "--ckpt_path=a/checkpoints/best.ckpt", "--run=a"
    )
    assert "holds a run already" in message
    assert content("a") == before


def test_two_trainings_in_one_second_have_two_folders(fit):
    for _ in range(2):
        fit("--trainer.max_epochs=1")
    names = sorted(path.name for path in Path("runs").iterdir())
    assert len(names) == 2
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: free_name(Path("runs/same")), range(16)))
    assert len(set(made)) == 16


def test_two_runs_at_once_are_refused(fit, refused):
    fit("--run=a", "--trainer.max_epochs=1")
    shutil.copytree("a", "b")
    before = content("a"), content("b")
    message = refused("test", "--run=a", "--run=b")
    assert "given 2 times: a, b" in message
    assert (content("a"), content("b")) == before


def test_a_test_with_other_settings_writes_beside_the_figures_of_the_run(fit, go):
    fit("--run=a", "--trainer.max_epochs=2")
    before = content("a")
    go("test", "--run=a", "--data.test_frames=3")
    go("test", "--run=a", "--data.test_frames=4")
    assert {path: content("a")[path] for path in before} == before
    for folder, frames in (("a/test", 3), ("a/test-2", 4)):
        assert json.loads(Path(folder, "metrics.json").read_text())["test/frames"] == frames
        assert (
            yaml.safe_load(Path(folder, "config.yaml").read_text())["data"]["test_frames"] == frames
        )


def test_predictions_are_never_overwritten(fit, go):
    fit("--run=a", "--trainer.max_epochs=1")
    go("predict", "--run=a")
    first = Path("a/predictions.csv").read_bytes()
    go("predict", "--run=a")
    assert (
        Path("a/predictions.csv").read_bytes() == first == Path("a/predictions-2.csv").read_bytes()
    )


def test_a_file_that_cannot_be_filled_goes_again():
    with pytest.raises(RuntimeError), free_file(Path("a.csv")) as path:
        raise RuntimeError
    assert not path.exists()


def test_a_test_of_a_checkpoint_without_a_run_has_a_folder_of_its_own(fit, go):
    fit("--run=a", "--trainer.max_epochs=1")
    before = content("a")
    go("test", "--config=config.yaml", "--ckpt_path=a/checkpoints/last.ckpt")
    assert content("a") == before
    (folder,) = Path("runs").iterdir()
    assert folder.name.startswith("test-md17-") and (folder / "metrics.json").exists()


# ---- one process at a time -------------------------------------------------------------------


HOLD = """
import sys, time
from tasks.runs.folder import RunFolder
RunFolder(sys.argv[1]).hold()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def held():
    """A folder that another process holds."""
    Path("a").mkdir(exist_ok=True)
    process = subprocess.Popen([sys.executable, "-c", HOLD, "a"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_training_in_a_folder_is_refused_until_the_first_is_gone(held, fit, refused):
    assert "another process works in a" in refused("fit", "--config=config.yaml", "--run=a")
    assert not Path("a/config.yaml").exists()
    held.kill()
    held.wait()
    fit("--run=a", "--trainer.max_epochs=1")
    assert Path("a/metrics.json").exists()


def test_a_test_beside_a_training_writes_beside_it(fit, go):
    fit("--run=a", "--trainer.max_epochs=1")
    before = content("a")
    process = subprocess.Popen([sys.executable, "-c", HOLD, "a"], stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        go("test", "--run=a")
    finally:
        process.kill()
        process.wait()
    assert {path: content("a")[path] for path in before} == before
    assert Path("a/test/metrics.json").exists()


def test_a_process_may_hold_what_it_holds():
    folder = RunFolder("a")
    with folder.held(), folder.held():
        folder.hold()
        assert Path("a/.lock").exists()
    assert not Path("a").exists()  # Nothing was written to it.


def test_holding_waits_as_long_as_it_was_told(held):
    with pytest.raises(Busy, match="another process"):
        RunFolder("a").hold(wait=0.1)


# ---- links -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["metrics.json", "learning_curve.png", "parity_forces.png", "predictions.csv"]
)
def test_a_link_in_place_of_a_file_is_not_followed(name, fit, go):
    fit("--run=a", "--trainer.max_epochs=1")
    Path("victim").write_text("precious")
    Path("a", name).unlink(missing_ok=True)
    Path("a", name).symlink_to(Path("victim").resolve())
    go("test", "--run=a")
    go("predict", "--run=a")
    assert Path("victim").read_text() == "precious"


@pytest.mark.parametrize("name", ["checkpoints", ".lock"])
def test_a_link_in_place_of_a_folder_or_lock_is_refused(name, fit, refused):
    fit("--run=a", "--trainer.max_epochs=1")
    Path("victim").mkdir()
    if name == "checkpoints":
        shutil.copytree("a/checkpoints", "victim", dirs_exist_ok=True)
        shutil.rmtree("a/checkpoints")
        Path("a/checkpoints").symlink_to(Path("victim").resolve())
    else:
        Path("a/.lock").unlink()
        Path("a/.lock").symlink_to(Path("victim").resolve() / "lock")
    before = content("victim")
    assert "is a link" in refused("fit", "--resume=a", "--trainer.max_epochs=2")
    assert content("victim") == before


def test_a_run_may_be_named_by_a_link(fit, go):
    fit("--run=a", "--trainer.max_epochs=1")
    Path("latest").symlink_to("a")
    go("fit", "--resume=latest", "--trainer.max_epochs=2")
    assert last("a")["epoch"] == 1


def test_a_folder_that_cannot_be_written_to_is_named(refused):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    Path("a").mkdir(mode=0o500)
    assert "a" in refused("fit", "--config=config.yaml", "--run=a/b")


def test_claiming_a_folder_with_a_run_raises():
    Path("a/checkpoints").mkdir(parents=True)
    with pytest.raises(UserError, match="--resume a"):
        RunFolder("a").claim()
