"""Models as one file: what is read is what was written, and nothing else is."""

import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from tasks.commands.export import export_run
from tasks.errors import UserError
from tasks.runs.checkpoint import load_model
from tasks.runs.exported import read_card, read_exported, write_exported
from tasks.runs.folder import RunFolder
from tasks.training import Model

FEW = ["--data.train_clouds=16", "--data.val_clouds=8", "--data.test_clouds=8"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from tasks.commands import main

    folder = tmp_path_factory.mktemp("runs") / "squares"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.parent)
        main.launch(
            ["fit", "--config", "shapes/quick.yaml", "--run", str(folder), *FEW,
             "--trainer.max_epochs=1"],
            main.TaskCLI,
        )  # fmt: skip
    return folder


def test_what_is_read_is_the_model_of_the_run(run, tmp_path):
    path = tmp_path / "squares.safetensors"
    card = export_run(run, path, card={"not_for": "circles"})
    expected = load_model(Model, RunFolder(run).weights)
    found = load_model(Model, path)
    assert found.kind == expected.kind and found.is_trained
    for name, weight in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], weight, rtol=0, atol=0)
    assert read_card(path) == json.loads(json.dumps(card))
    assert card["not_for"] == "circles"
    assert card["predicts"] == expected.objective.described
    assert {"seed", "command", "commit", "date", "parameters"} <= card.keys()


def test_half_precision_takes_half_of_the_room_and_is_read_as_single(run, tmp_path):
    single, half = tmp_path / "single.safetensors", tmp_path / "half.safetensors"
    export_run(run, single)
    export_run(run, half, half=True)
    own, rounded = (read_exported(path, "model")["state_dict"] for path in (single, half))
    for name, weight in own.items():
        assert rounded[name].dtype == weight.dtype
        torch.testing.assert_close(rounded[name], weight, rtol=1e-3, atol=1e-4)
    size = sum(w.numel() for w in own.values() if w.is_floating_point())
    assert single.stat().st_size - half.stat().st_size == pytest.approx(2 * size, rel=0.01)


def checkpoint(**settings):
    return {
        "state_dict": {"weight": torch.ones(2)},
        "hyper_parameters": {"network": "none"},
        "objective": {"kind": "none", "extra": {"mean": torch.tensor([1.5])}, "centered": True},
        "lie_attention": {"format": 2, "version": "0.1.0"},
        "pytorch-lightning_version": "2.6",
        **settings,
    }


def test_tensors_beside_the_weights_come_back_as_tensors(tmp_path):
    path = tmp_path / "a.safetensors"
    write_exported(path, checkpoint(), {})
    found = read_exported(path, "model")
    assert found["objective"]["extra"]["mean"] == torch.tensor([1.5])
    assert found["state_dict"].keys() == {"weight"}


def test_weights_too_large_for_half_precision_stay_as_they_are(tmp_path):
    path = tmp_path / "a.safetensors"
    large = torch.tensor([1e6, 1.0])
    write_exported(path, checkpoint(state_dict={"weight": large}), {}, half=True)
    torch.testing.assert_close(read_exported(path, "model")["state_dict"]["weight"], large)


def test_settings_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be written as text"):
        write_exported(tmp_path / "a.safetensors", checkpoint(hyper_parameters={"f": print}), {})
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged, or no file of safetensors"),
        (b"\x00" * 100, "damaged, or no file of safetensors"),
        (pickle.dumps({"state_dict": {}}), "damaged, or no file of safetensors"),
    ],
    ids=["empty", "zeros", "pickle"],
)
def test_other_files_are_refused(content, words, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        load_model(Model, path)


def test_every_cut_of_a_file_is_refused(run, tmp_path):
    path, cut = tmp_path / "a.safetensors", tmp_path / "cut.safetensors"
    export_run(run, path)
    whole = path.read_bytes()
    for share in range(10):
        cut.write_bytes(whole[: len(whole) * share // 10])
        with pytest.raises(UserError, match="damaged, or no file of safetensors"):
            read_exported(cut, "model")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "not how their model is built"),
        ({"lie_attention": "{"}, "settings are not readable"),
        ({"lie_attention": "[]"}, "settings are not readable"),
        ({"lie_attention": json.dumps({"settings": "{}"})}, "settings are not readable"),
        (
            {"lie_attention": json.dumps({"settings": json.dumps(
                {**checkpoint(state_dict={}), "objective": {"tensor": "beside.9"}}
            )})},
            "settings are not readable",
        ),
    ],
)  # fmt: skip
def test_weights_of_others_are_refused(metadata, words, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.ones(2)}, path, metadata)
    with pytest.raises(UserError, match=words):
        load_model(Model, path)


def test_classes_of_others_are_not_imported(tmp_path):
    path = tmp_path / "a.safetensors"
    settings = {"network": {"class_path": "os.system"}, "_instantiator": "x"}
    write_exported(path, checkpoint(hyper_parameters=settings), {})
    with pytest.raises(UserError, match=r"os\.system"):
        load_model(Model, path)


def test_a_run_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not the folder of a run"):
        export_run(tmp_path / "nothing", tmp_path / "a.safetensors")
