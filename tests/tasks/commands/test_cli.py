"""The command line, run in this process on a few molecules of the real data."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tasks.commands.main import COMMANDS, find_config
from tasks.training import Model

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "tasks/configs"
QUICK = str(CONFIGS / "qm9/quick.yaml")
RELATIVE = "--model.network.invariant=RelativePose"
SMALL = [
    "--model.network.width=16",
    "--model.network.layers=1",
    "--model.network.heads=4",
    "--data.train_molecules=64",
    "--data.val_molecules=32",
    "--data.test_molecules=40",
    "--trainer.max_epochs=2",
    "--trainer.enable_progress_bar=false",
]


@pytest.fixture
def command_cache(qm9_cache):
    return qm9_cache


def fit(run, *args, folder="runs/first"):
    run("fit", "--config", QUICK, *SMALL, "--run", folder, *args)
    return Path(folder)


# ---- what works ------------------------------------------------------------------------------


def test_a_run_leaves_its_config_metrics_pictures_and_checkpoints(lie_attention, capsys):
    folder = fit(lie_attention)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["unit"] == "meV"
    assert 0 < metrics["test/mae"] < 5000
    assert 300 < metrics["test/mae_constant"] < 600
    assert metrics["equivariance/kind"] == "exact"
    assert metrics["equivariance/error"] < 1e-10
    assert metrics["equivariance/error_float32"] < 1e-4
    assert [row["epoch"] for row in metrics["history"]] == [1, 2]
    for name in ("learning_curve.png", "parity.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    for name in ("config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (folder / name).stat().st_size > 0
    printed = capsys.readouterr().out
    assert f"Test error of homo: {metrics['test/mae']:.4g} meV on 40 molecules" in printed
    assert "Invariance to SE3(): exact" in printed


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (
            [RELATIVE, "--model.network.group=SE3", "--model.network.lift.count=4"],
            "in_distribution",
        ),
        (
            [RELATIVE, "--model.network.group=SO3", "--model.network.lift.count=2"],
            "in_distribution",
        ),
        (["--model.network.group=SE3", "--model.network.invariant=Distance"], "exact"),
        (["--model.network.group=SE3", "--model.network.invariant=InverseDistance"], "exact"),
        (
            ["--model.network.group=SE3", "--model.network.invariant=[Distance, InverseDistance]"],
            "exact",
        ),
        (
            [RELATIVE, "--model.network.group=liegroups.T3", "--model.network.kernel=Product"],
            "exact",
        ),
        (
            [
                "--model.network.kernel=Joint",
                "--model.network.normalizer=Count",
                "--model.network.pooling=sum",
            ],
            "exact",
        ),
        (["--data.target=u0", "--data.augment=null"], "exact"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_group_and_an_invariant_are_named_on_the_command_line(lie_attention, settings, kind):
    folder = fit(lie_attention, *settings, "--trainer.max_epochs=1")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["equivariance/kind"] == kind


def test_test_and_predict_take_a_finished_run(lie_attention):
    folder = fit(lie_attention)
    before = json.loads((folder / "metrics.json").read_text())
    lie_attention("test", "--run", folder)
    after = json.loads((folder / "metrics.json").read_text())
    assert after["test/mae"] == pytest.approx(before["test/mae"], rel=1e-5)
    lie_attention("predict", "--run", folder)
    header, *lines = (folder / "predictions.csv").read_text().splitlines()
    assert header == "qm9_index,homo (meV)"
    table = np.array([[float(x) for x in line.split(",")] for line in lines])
    assert len(table) == len(set(table[:, 0])) == 40
    assert (np.abs(table[:, 1] + 6500) < 3000).all()


@pytest.mark.parametrize("batches", [2, 5], ids=["at an epoch's end", "within an epoch"])
def test_a_resumed_run_ends_like_an_uninterrupted_one(lie_attention, monkeypatch, capsys, batches):
    settings = [
        "--trainer.max_epochs=4",
        "--model.network.group=SE3",
        "--model.network.invariant=RelativePose",
    ]
    settings += ["--data.train_molecules=96"]  # 3 batches an epoch
    whole, part = fit(lie_attention, *settings, folder="runs/whole"), Path("runs/part")
    steps = iter(range(1000))
    step = Model.training_step

    def interrupted(self, batch):
        if next(steps) == batches:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "training_step", interrupted)
        with pytest.raises(SystemExit):
            fit(lie_attention, *settings, folder=str(part))
    assert not (part / "metrics.json").exists()
    assert "lie-attention fit --resume runs/part" in capsys.readouterr().out
    lie_attention("fit", "--resume", part)
    ends = [
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for folder in (whole, part)
    ]
    for name, expected in ends[0].items():
        torch.testing.assert_close(ends[1][name], expected, rtol=0, atol=0)


def test_settings_are_printed_and_explained(lie_attention, capsys):
    with pytest.raises(SystemExit) as left:
        lie_attention("fit", "--config", QUICK, "--model.network.group=SE3", "--print_config")
    assert left.value.code == 0
    assert "class_path: liegroups.SE3" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        lie_attention("fit", "--help")
    assert left.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "alpha, gap, homo, lumo" in printed
    with pytest.raises(SystemExit):
        lie_attention("fit", "--model.network.help=LieTransformer")
    assert "features of a pair that the kernel sees" in " ".join(capsys.readouterr().out.split())


def test_the_help_names_every_command(lie_attention, capsys):
    with pytest.raises(SystemExit) as left:
        lie_attention("--help")
    assert left.value.code == 0
    printed = capsys.readouterr().out
    assert not [name for name in ("fit", "predict", *COMMANDS) if name not in printed]


def test_a_shipped_config_is_taken_by_its_name_where_there_is_no_such_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("qm9/quick", "qm9/quick.yaml", "tasks/configs/qm9/quick.yaml", QUICK):
        assert find_config(name) == Path(QUICK)
    assert find_config("qm9/none.yaml") == Path("qm9/none.yaml")
    own = Path("qm9/quick.yaml")
    own.parent.mkdir()
    own.touch()
    assert find_config("qm9/quick.yaml") == own


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            ["--model.network.group=SE9"],
            ["model.network.group", "'SE9'", "SE3", "my_package.MyLieGroup"],
        ),
        (["--model.network.group=SE2"], ["model.network.group", "2 coordinates", "T3, SE3 or SO3"]),
        (
            ["--model.network.invariant=Distant"],
            ["model.network.invariant", "'Distant'", "InverseDistance"],
        ),
        (["--model.network.invariant=OrbitLabels"], ["OrbitLabels", "SE3()", "RelativePose"]),
        (["--model.network.kernel=Some"], ["model.network.kernel", "'Some'", "Product"]),
        (["--model.network.heads=7"], ["7 heads", "width 16"]),
        (["--model.learning_rate=0"], ["learning_rate", "above 0", "0"]),
        (["--model.widht=3"], ["--model.widht"]),
        (["--data.target=gapp"], ["target", "'gapp'", "alpha, gap, homo"]),
        (["--data.split=random"], ["split", "'random'", "lietransformer", "110k"]),
        (["--data.train_molecules=200000"], ["train_molecules", "200000", "100,000"]),
        (["--task=md99"], ["task", "'md99'", "qm9"]),
        (["--config=nothing.yaml"], ["config", "nothing.yaml"]),
    ],
    ids=lambda value: value[0],
)
def test_a_wrong_setting_stops_before_any_data_are_read(refusal, monkeypatch, settings, words):
    def read(*args):
        raise AssertionError("data were read")

    monkeypatch.setattr("tasks.sources.qm9.data.load", read)
    config = [] if "--config" in settings[0] else ["--config", QUICK]
    message = refusal("fit", *config, *SMALL, *settings)
    for word in words:
        assert word in message
    assert not Path("runs").exists()


def test_a_finished_run_is_not_overwritten(lie_attention, refusal):
    folder = fit(lie_attention)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    message = refusal("fit", "--config", QUICK, *SMALL, "--run", folder)
    assert "nothing is overwritten" in message
    assert f"--resume {folder}" in message
    for path, content in before.items():
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content", [b"hello", b"", "weights", "other network"], ids=["text", "empty", "weights", "net"]
)
def test_a_foreign_checkpoint_is_refused(lie_attention, refusal, content):
    folder = fit(lie_attention, "--trainer.max_epochs=1")
    path = Path("foreign.ckpt")
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "weights":
        torch.save({"weight": torch.ones(3)}, path)
    else:
        other = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
        other["state_dict"] = {"layer.weight": torch.ones(3)}
        torch.save(other, path)
    message = refusal("test", "--config", folder / "config.yaml", "--ckpt_path", path)
    assert "checkpoint" in message
    assert "runs/NAME/checkpoints" in message


def test_a_checkpoint_runs_no_code(refusal):
    class Payload:
        def __reduce__(self):
            return Path.touch, (Path("executed"),)

    torch.save(Payload(), "foreign.ckpt")
    message = refusal("test", "--config", QUICK, "--ckpt_path", "foreign.ckpt")
    assert "no checkpoint" in message and "would run code" in message
    assert not Path("executed").exists()


def test_weights_are_needed_to_test(refusal):
    assert "--run FOLDER" in refusal("test", "--config", QUICK)
    assert "there is no file none.ckpt" in refusal("test", "--ckpt_path", "none.ckpt")
    assert "runs/none is not the folder of a run" in refusal("test", "--run", "runs/none")


def test_another_target_than_the_trained_one_is_refused(lie_attention, refusal):
    folder = fit(lie_attention, "--trainer.max_epochs=1")
    message = refusal("test", "--run", folder, "--data.target=gap")
    assert "'gap'" in message
    assert "trained on 'homo'" in message


def test_missing_qm9pack_is_named(refusal, monkeypatch, tmp_path):
    monkeypatch.setenv("LIE_ATTENTION_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = refusal("fit", "--config", QUICK, *SMALL)
    assert "qm9pack" in message
    assert "lie-attention[qm9]" in message


# ---- configs ---------------------------------------------------------------------------------


FEW = {
    "qm9": ["--data.train_molecules=8", "--data.val_molecules=4"],
    "dynamics": ["--data.train_systems=8", "--data.val_systems=4", "--data.test_systems=4"],
    "md17": ["--data.source=Springs", "--data.train_frames=8", "--data.val_frames=4"],
    "shapes": ["--data.train_clouds=8", "--data.val_clouds=4", "--data.test_clouds=4"],
}


@pytest.mark.parametrize(
    "config",
    [
        path.relative_to(CONFIGS)
        for path in sorted(CONFIGS.rglob("*.yaml"))
        if "grid" not in yaml.safe_load(path.read_text())  # a study: tests/tasks/studies
    ],
    ids=lambda path: str(path.with_suffix("")),
)
def test_every_config_builds_and_takes_a_step(lie_attention, config, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph, **_: graph)  # It takes minutes.
    lie_attention(
        "fit",
        "--config",
        CONFIGS / config,
        *FEW[config.parts[0]],
        "--trainer.fast_dev_run=true",
        "--trainer.enable_progress_bar=false",
    )
