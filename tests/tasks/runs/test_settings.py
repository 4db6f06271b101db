"""What is given counts or is refused, rows stay in their parts, and nothing goes in silence."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tasks.commands.main import main
from tasks.data.parts import Parts, identities
from tasks.runs.checkpoint import load_model, read_checkpoint
from tasks.runs.settings import Settings
from tasks.runs.trust import Trust
from tasks.training import Model
from tasks.training.averaging import WeightAverage


def config(folder):
    return yaml.safe_load(Path(folder, "config.yaml").read_text())


def metrics(folder):
    return json.loads(Path(folder, "metrics.json").read_text())


def rates(folder):
    last = torch.load(Path(folder, "checkpoints/last.ckpt"), weights_only=True)
    return last["optimizer_states"][0]["param_groups"][0]


def edit(path, change):
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


# ---- taken, or refused -----------------------------------------------------------------------


def test_a_resumed_run_takes_what_is_given_and_says_so_in_its_config(fit, go):
    fit("--run=a", "--trainer.max_epochs=1")
    go(
        "fit",
        "--resume=a",
        "--model.learning_rate=0.5",
        "--model.weight_decay=0.25",
        "--model.objective.force_weight=3",
        "--data.batch_size=10",
        "--trainer.max_epochs=2",
    )
    assert (rates("a")["initial_lr"], rates("a")["weight_decay"]) == (0.5, 0.25)
    settings = config("a")
    assert settings["model"]["learning_rate"] == 0.5
    assert settings["model"]["objective"]["init_args"]["force_weight"] == 3.0
    assert settings["data"]["batch_size"] == 10
    first, second = settings["history"]
    assert first["changed"] == [] and first["epoch"] == 0
    assert second["epoch"] == 1 and "fit --resume=a" in second["command"]
    assert {line.partition(":")[0] for line in second["changed"]} == {
        "model.learning_rate",
        "model.weight_decay",
        "model.objective.init_args.force_weight",
        "data.batch_size",
        "trainer.max_epochs",
    }
    go("fit", "--resume=a", "--trainer.max_epochs=3")
    assert rates("a")["initial_lr"] == 0.5
    assert len(config("a")["history"]) == 3


def test_a_resumed_run_without_other_settings_keeps_its_config(fit, go):
    fit("--run=a", "--trainer.max_epochs=1")
    before = Path("a/config.yaml").read_bytes()
    go("fit", "--resume=a")
    assert Path("a/config.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("--model.network.invariant=InverseDistance", "model.network.init_args.invariant"),
        ("--model.network.width=16", "model.network.init_args.width"),
        ("--model.network.group=SE3", "model.network.init_args.group"),
        ("--model.network.normalizer=Count", "model.network.init_args.normalizer"),
    ],
)
def test_what_the_weights_fix_is_refused_by_name(setting, key, fit, refused):
    fit("--run=a", "--trainer.max_epochs=1")
    for command in (["fit", "--resume=a"], ["test", "--run=a"], ["predict", "--run=a"]):
        message = refused(*command, setting)
        assert key in message and "were trained with that" in message
    assert not Path("a/test").exists()


def test_a_setting_of_training_is_refused_where_nothing_is_trained(fit, refused):
    fit("--run=a", "--trainer.max_epochs=1")
    for name in ("learning_rate", "objective.force_weight"):
        message = refused("test", "--run=a", f"--model.{name}=2")
        assert name.rpartition(".")[2] in message and "leave it out" in message


def test_how_it_is_computed_may_change(fit, go):
    fit("--run=a", "--trainer.max_epochs=1")
    go("test", "--run=a", "--model.network.backend=reference")
    assert metrics("a/test")["test/mae"] == pytest.approx(metrics("a")["test/mae"], rel=1e-4)


def test_settings_edited_in_the_folder_do_not_make_another_network(fit, refused):
    fit("--run=a", "--trainer.max_epochs=1")
    settings = config("a")
    settings["model"]["network"]["init_args"]["invariant"] = "InverseDistance"
    Path("a/config.yaml").write_text(yaml.safe_dump(settings))
    assert "model.network.init_args.invariant" in refused("test", "--run=a")


def test_contradictions_are_refused(fit, refused):
    fit("--run=a", "--trainer.max_epochs=1")
    assert "own folder" in refused("fit", "--resume=a", "--run=b")
    weights = "--ckpt_path=a/checkpoints/last.ckpt"
    assert "leave out --resume" in refused("fit", "--resume=a", weights)
    assert not Path("b").exists()


def test_a_config_of_a_run_begins_a_new_one(fit):
    fit("--run=a", "--trainer.max_epochs=1")
    main(["fit", "--config=a/config.yaml", "--run=b"])
    assert config("a").pop("history") != (settings := config("b")).pop("history")
    assert Settings.read(Path("a/config.yaml"), Trust()).content == settings


# ---- rows ------------------------------------------------------------------------------------


def test_a_run_is_not_tested_on_what_it_was_trained_on(fit, go, refused):
    fit("--run=a", "--trainer.max_epochs=1")
    message = refused("test", "--run=a", "--data.split=2")
    assert "were trained on by this run" in message
    message = refused("test", "--run=a", "--data.source.seed=1")
    assert "other data" in message
    go("test", "--run=a", "--data.test_frames=2")


def test_a_run_goes_on_with_its_own_rows(fit, refused):
    fit("--run=a", "--trainer.max_epochs=1")
    more = ["--trainer.max_epochs=2", "--data.source.frames=50"]
    message = refused("fit", "--resume=a", *more)
    assert "training part of the run has 20 frames" in message and "--new_rows train" in message
    assert "val" in refused("fit", "--resume=a", "--data.val_frames=3")
    before = Parts.from_state(read_checkpoint(Path("a/checkpoints/last.ckpt"))["parts"])
    assert [before.counts[part] for part in ("train", "val", "test")] == [20, 4, 8]


def test_new_rows_join_the_training_part_alone(fit, go):
    fit("--run=a", "--trainer.max_epochs=1")
    before = Parts.from_state(read_checkpoint(Path("a/checkpoints/last.ckpt"))["parts"])
    go(
        "fit",
        "--resume=a",
        "--new_rows=train",
        "--trainer.max_epochs=2",
        "--data.source.frames=50",
        "--data.train_frames=30",
    )
    after = Parts.from_state(read_checkpoint(Path("a/checkpoints/last.ckpt"))["parts"])
    for part in ("val", "test"):
        assert after.digests[part] == before.digests[part]
    old, new = set(before.rows["train"].tolist()), set(after.rows["train"].tolist())
    assert old < new and len(new) == 30
    assert not new & (set(before.rows["val"].tolist()) | set(before.rows["test"].tolist()))


def test_weights_are_not_trained_further_on_what_they_will_be_tested_on(fit, refused):
    fit("--run=a", "--trainer.max_epochs=1")
    weights = "--ckpt_path=a/checkpoints/last.ckpt"
    message = refused(
        "fit", "--config=config.yaml", weights, "--data.split=3", "--trainer.max_epochs=2"
    )
    assert "the weights of ckpt_path were trained on" in message


def parts(train, val, test):
    return Parts.of(
        {"train": np.array(train), "val": np.array(val), "test": np.array(test)},
    )


def test_rows_are_told_apart_by_what_they_hold():
    a = np.random.default_rng(0).normal(size=(100, 3, 3))
    ids = identities(a)
    assert len(set(ids.tolist())) == 100
    order = np.random.default_rng(1).permutation(100)
    assert (identities(a[order]) == ids[order]).all()
    moved = a.copy()
    moved[7, 0, 0] += 1e-3
    assert (identities(moved) != ids).nonzero()[0].tolist() == [7]


def test_parts_survive_a_checkpoint_whatever_the_order():
    one = parts([1, 2, 3], [4], [5, 6])
    other = parts([3, 1, 2], [4], [6, 5])
    assert one.digests == other.digests
    again = Parts.from_state(one.state_dict())
    assert again.digests == one.digests and (again.rows["train"] == [1, 2, 3]).all()


def test_copies_of_a_row_keep_their_parts():
    kept = parts([1, 1, 2], [1], [3])
    available = np.array([3, 1, 2, 1, 1, 9, 3])
    places = kept.grown(available, None, "rows")
    chosen = {part: available[rows].tolist() for part, rows in places.items()}
    assert sorted(chosen["train"]) == [1, 1, 2, 9]  # Another copy of a test row does not join.
    assert (chosen["val"], chosen["test"]) == ([1], [3])


# ---- weights that are not finite, averages, no validation --------------------------------------


def poison(monkeypatch, epoch):
    original = Model.on_train_batch_start

    def spoiled(self, batch, batch_idx):
        if self.current_epoch == epoch and batch_idx == 1:
            with torch.no_grad():
                next(self.parameters()).fill_(torch.nan)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(Model, "on_train_batch_start", spoiled)


@pytest.mark.parametrize("interrupted", [True, False])
def test_weights_that_are_not_finite_are_not_saved(monkeypatch, capsys, interrupted, fit):
    poison(monkeypatch, 2)
    if interrupted:
        original, steps = Model.training_step, iter(range(100))

        def stop(self, batch):
            if next(steps) == 10:  # In epoch 2, after the weights were spoiled.
                raise KeyboardInterrupt
            return original(self, batch)

        monkeypatch.setattr(Model, "training_step", stop)
    with pytest.raises(SystemExit):
        fit("--run=a", "--trainer.check_val_every_n_epoch=1")
    printed = capsys.readouterr()
    assert "not finite" in printed.out + printed.err
    for path in Path("a/checkpoints").iterdir():
        saved = torch.load(path, weights_only=True)
        assert saved["epoch"] == 1 or (path.name != "last.ckpt" and saved["epoch"] < 1)
        assert all(weight.isfinite().all() for weight in saved["state_dict"].values())


def test_predictions_that_are_not_finite_are_left_out_and_named(monkeypatch, fit, refused):
    fit("--run=a", "--trainer.max_epochs=1")
    original = Model.predict_step

    def overflow(self, batch):
        table = original(self, batch)
        table[0, 1] = torch.inf
        return table

    monkeypatch.setattr(Model, "predict_step", overflow)
    message = refused("predict", "--run=a")
    lines = Path("a/predictions.csv").read_text().splitlines()
    assert "predictions are not finite" in message
    assert 1 < len(lines) < 9 and not any("inf" in line for line in lines[1:])


def test_a_test_error_that_is_not_finite_is_not_written(monkeypatch, refused):
    original = Model.results
    monkeypatch.setattr(Model, "results", lambda self: original(self) | {"test/mae": torch.nan})
    message = refused("fit", "--config=config.yaml", "--run=a", "--trainer.max_epochs=1")
    assert "no finite number for test/mae" in message
    assert not Path("a/metrics.json").exists()


@pytest.mark.parametrize(
    "settings", [["--trainer.limit_val_batches=0"], ["--trainer.check_val_every_n_epoch=5"]]
)
def test_a_run_that_was_never_validated_is_tested_with_its_last_weights(capsys, settings, fit, go):
    fit("--run=a", "--trainer.max_epochs=2", *settings)
    assert metrics("a")["weights"] == "last"
    assert "none were ever validated" in capsys.readouterr().out
    before = metrics("a")["test/mae"]
    go("test", "--run=a")
    go("predict", "--run=a")
    assert metrics("a")["test/mae"] == before and metrics("a")["weights"] == "last"


def test_averaging_warms_up():
    def average(steps, decay):
        """The average of 1, 2, …, as the callback takes it."""
        callback = WeightAverage(decay)
        mean = torch.zeros(1)
        for number in range(steps):
            value = torch.full((1,), float(number + 1))
            if number == 0:
                mean = value.clone()
                continue
            callback._kwargs["multi_avg_fn"]([mean], [value], torch.tensor(number))
        return float(mean)

    def expected(steps, decay):
        mean = 1.0
        for n in range(1, steps):
            share = min(decay, (1 + n) / (10 + n))
            mean = share * mean + (1 - share) * (n + 1)
        return mean

    for steps in (2, 120, 2000):
        assert average(steps, 0.999) == pytest.approx(expected(steps, 0.999), rel=1e-4)
    assert average(120, 0.999) > 60  # Without a warm-up: 7.7.


# ---- versions and reasons ----------------------------------------------------------------------


@pytest.fixture
def trained(fit):
    fit("--run=a", "--trainer.max_epochs=1")
    return Path("a/checkpoints/last.ckpt")


REASONS = {
    "newer": (
        lambda c: c.update(lie_attention={"format": 99, "version": "7.1"}),
        ["7.1", "format 99", "Install the newer version"],
    ),
    "unknown setting": (
        lambda c: c["hyper_parameters"].update(pool=c["hyper_parameters"].pop("compile")),
        ["was trained with pool", "does not know"],
    ),
    "renamed weight": (
        lambda c: c["state_dict"].update(other=c["state_dict"].popitem()[1]),
        ["weights do not fit", "it lacks network.", "it has other"],
    ),
    "missing class": (
        lambda c: c["hyper_parameters"].update(network={"class_path": "his_package.Net"}),
        ["his_package"],
    ),
    "another task": (
        lambda c: c["objective"].update(kind="Counting"),
        ["is of Counting"],
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_every_refusal_gives_its_true_reason(trained, reason, refused):
    change, words = REASONS[reason]
    edit(trained, change)
    edit(Path("a/checkpoints/last.ckpt"), lambda content: None)
    by_command = refused("test", "--run=a")
    with pytest.raises(Exception) as raised:
        load_model(Model, trained)
    for word in words:
        assert word in by_command
        assert word in str(raised.value) or reason == "another task"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "not a checkpoint"), (b"hello", "not a checkpoint"), (None, "damaged")],
    ids=["empty", "text", "truncated"],
)
def test_a_damaged_file_is_told_from_a_foreign_one(trained, content, words, refused):
    whole = trained.read_bytes()
    trained.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert words in refused("test", "--run=a")


def test_a_device_that_is_not_there_is_named(trained):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(Exception, match=r"device: cuda cannot be used here.*there is: cpu"):
        load_model(Model, trained, device="cuda")


# ---- what is printed ---------------------------------------------------------------------------


def test_each_epoch_is_a_line_where_there_is_no_terminal(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tasks.commands.main",
        "fit",
        "--config=config.yaml",
        "--run=a",
    ]
    ended = subprocess.run(
        [*command, "--trainer.max_epochs=3"],
        capture_output=True,
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    lines = [line for line in ended.stdout.decode("ascii").splitlines() if "epoch" in line]
    assert [line.partition(":")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert "train/mae" in lines[0] and " left" in lines[0]
    assert Path("a/metrics.json").exists()


def test_a_training_outlives_who_reads_what_it_prints():
    command = [
        sys.executable,
        "-m",
        "tasks.commands.main",
        "fit",
        "--config=config.yaml",
        "--run=a",
    ]
    training = subprocess.Popen(
        [*command, "--trainer.max_epochs=2"],
        stdout=subprocess.PIPE,
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )
    training.stdout.close()
    assert training.wait() == 0
    assert len(metrics("a")["history"]) == 2


@pytest.mark.parametrize("name", ["csv", "tensorboard"])
def test_curves_and_final_figures_go_to_a_logger_by_its_short_name(name, fit, go):
    if name == "tensorboard":
        pytest.importorskip("tensorboard")
    fit("--run=a", "--trainer.max_epochs=2", f"--trainer.logger={name}")
    (folder,) = Path("a", name).iterdir()
    written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    for figure in (b"val/mae", b"train/mae", b"test/mae", b"test/energy_mae"):
        assert figure in written
    assert config("a")["trainer"]["logger"]["class_path"].startswith("tasks.runs.loggers.")
    assert str(Path.cwd()) not in Path("a/config.yaml").read_text()
    go("test", "--run=a")


def test_a_logger_that_there_is_not_is_refused(refused):
    message = refused("fit", "--config=config.yaml", "--run=a", "--trainer.logger=ledger")
    assert "ledger" in message and "csv, tensorboard, wandb" in message


def test_processor_time_and_origin_are_in_the_metrics(fit, go):
    fit("--run=a", "--trainer.max_epochs=1")
    found = metrics("a")
    assert 0 < found["train/cpu_seconds"] == found["provenance"]["cpu_seconds"]
    assert "fit --config=config.yaml" in found["provenance"]["command"]
    go("test", "--run=a")
    assert metrics("a")["provenance"] == found["provenance"]
