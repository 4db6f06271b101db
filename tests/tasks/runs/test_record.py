"""Interrupts: wherever one comes in a training, the resumed training ends like a whole one."""

import json
import os
import signal
from functools import wraps
from pathlib import Path

import pytest
import torch

from tasks.commands.main import main
from tasks.training import Model


def outcome(folder):
    """All but the time, and the training figures: of an epoch in two parts, those of the second."""
    metrics = json.loads(Path(folder, "metrics.json").read_text())
    history = [
        {k: v for k, v in row.items() if k == "epoch" or k.startswith("val/")}
        for row in metrics["history"]
    ]
    last = torch.load(Path(folder, "checkpoints/last.ckpt"), weights_only=True)
    weights = {name: value.tolist() for name, value in last["state_dict"].items()}
    return metrics["test/mae"], history, weights


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hook", "call", "number"),
    [
        ("training_step", 6, signal.SIGINT),  # within an epoch of 4 batches
        ("training_step", 6, signal.SIGTERM),
        ("on_before_optimizer_step", 6, signal.SIGINT),  # while the weights change
        ("on_train_batch_end", 8, signal.SIGINT),  # at its last batch
        ("validation_step", 2, signal.SIGINT),  # while the best weights are looked for
        ("on_train_epoch_end", 3, signal.SIGINT),
        ("on_train_epoch_end", 5, signal.SIGTERM),  # when all is trained
    ],
)
def test_an_interrupt_at_any_point_costs_nothing(monkeypatch, capsys, hook, call, number):
    main(["fit", "--config=config.yaml", "--run=whole"])
    original, count = getattr(Model, hook), 0

    @wraps(original)  # Lightning looks at the arguments.
    def interrupted(self, *args, **kwargs):
        nonlocal count
        count += 1
        if count == call:
            os.kill(os.getpid(), number)
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Model, hook, interrupted)
        with pytest.raises(SystemExit):
            main(["fit", "--config=config.yaml", "--run=part"])
    assert not Path("part/metrics.json").exists()
    assert "lie-attention fit --resume part" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    main(["fit", "--resume=part"])
    assert outcome("part") == outcome("whole")


@pytest.mark.slow
def test_an_error_between_batches_and_checkpoint_leaves_the_last_good_checkpoint(monkeypatch):
    main(["fit", "--config=config.yaml", "--run=whole"])
    original, count = Model.on_before_optimizer_step, 0

    def torn(self, optimizer):
        nonlocal count
        count += 1
        if count == 6:
            with torch.no_grad():
                next(self.parameters()).add_(1.0)  # A step that is half done.
            raise RuntimeError("no memory is left")
        return original(self, optimizer)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "on_before_optimizer_step", torn)
        with pytest.raises(RuntimeError, match="no memory"):
            main(["fit", "--config=config.yaml", "--run=part"])
    main(["fit", "--resume=part"])
    assert outcome("part") == outcome("whole")


def test_a_training_that_diverges_ends_with_the_weights_before(monkeypatch, capsys):
    original = Model.on_before_optimizer_step

    def explode(self, optimizer):
        if self.current_epoch == 2:
            next(self.parameters()).grad.fill_(torch.inf)
        return original(self, optimizer)

    monkeypatch.setattr(Model, "on_before_optimizer_step", explode)
    with pytest.raises(SystemExit):
        main(["fit", "--config=config.yaml", "--run=run"])
    error = capsys.readouterr().err
    assert "diverged in epoch 2" in error and "model.learning_rate" in error
    last = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert last["epoch"] == 1
    assert all(value.isfinite().all() for value in last["state_dict"].values())


def test_a_test_of_early_weights_keeps_the_history_of_the_whole_training():
    main(["fit", "--config=config.yaml", "--run=whole"])
    metrics = json.loads(Path("whole/metrics.json").read_text())
    epochs = [row["epoch"] for row in metrics["history"]]
    assert epochs == [1, 2, 3, 4, 5]
    assert ["val/mae" in row for row in metrics["history"]] == [False, True, False, True, False]
    main(["test", "--run=whole"])
    again = json.loads(Path("whole/metrics.json").read_text())
    assert again["history"] == metrics["history"]
    assert again["train/seconds"] == metrics["train/seconds"]
