"""One line for each epoch, where there is no terminal to show a bar on."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar

from tasks.runs.say import say
from tasks.training.record import Record

__all__ = ["EpochLines", "on_a_terminal"]


class EpochLines(Callback):
    """Prints the figures of each epoch, its time and the time left, unless a bar is shown.

    Args:
        record: Has the history of the training, complete when this callback's turn comes.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._begun = (0.0, 0)  # Seconds and steps that are of earlier parts of the training.
        self._last = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what begins, and remember where it does."""
        self._begun = self.record.seconds, trainer.global_step
        self._last = self._begun[0]
        if not trainer.is_global_zero or _shows_a_bar(trainer):
            return
        parameters = sum(weight.numel() for weight in pl_module.parameters())
        total = trainer.estimated_stepping_batches
        steps = f", step {trainer.global_step:,} of {total:,}" if total < float("inf") else ""
        say(f"Training {parameters:,} parameters in {self.record.folder}{steps}.")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print a line."""
        seconds, last = self.record.seconds, self._last
        self._last = seconds
        if not trainer.is_global_zero or _shows_a_bar(trainer):
            return
        done, total = trainer.global_step, trainer.estimated_stepping_batches
        rate = (seconds - self._begun[0]) / max(done - self._begun[1], 1)
        left = f", {duration(rate * (total - done))} left" if total < float("inf") else ""
        epochs = "" if (trainer.max_epochs or -1) < 0 else f"/{trainer.max_epochs}"
        say(
            f"epoch {trainer.current_epoch + 1}{epochs}: {figures(self.record.history[-1])}; "
            f"{duration(seconds - last)}{left}"
        )


def figures(row: Mapping[str, float]) -> str:
    """The figures of an epoch as a person reads them."""
    return ", ".join(
        f"{name} {value:.5g}" for name, value in row.items() if name not in ("epoch", "seconds")
    )


def duration(seconds: float) -> str:
    """A time with the two units that matter.

    Example:
        >>> duration(4.25), duration(75), duration(7800), duration(200_000)
        ('4.2 s', '1 min 15 s', '2 h 10 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    whole = round(seconds)
    first = next(place for place, (_, size) in enumerate(units) if whole >= size)
    (name, size), (next_name, next_size) = units[first], units[first + 1]
    return f"{whole // size} {name} {whole % size // next_size} {next_name}"


def on_a_terminal() -> bool:
    """Whether somebody may be looking at what is printed."""
    return sys.stdout.isatty()


def _shows_a_bar(trainer: Trainer) -> bool:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return any(
        isinstance(each, ProgressBar) and getattr(each, "is_enabled", True) for each in callbacks
    )
