"""What a run leaves in its folder: metrics, the learning curve, the figures of the task."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from tasks.cache import write_atomic
from tasks.data.parts import Parts
from tasks.plots.curves import learning_curve
from tasks.provenance import processor_seconds, recorded
from tasks.runs.checkpoint import Diverged
from tasks.runs.folder import LAST, METRICS, RunFolder
from tasks.runs.say import say
from tasks.training.model import Model

_SAME_INTERRUPT = 1.0
"""Seconds in which a second signal is the same interrupt: a launcher passes its own on."""


class Record(Callback):
    """Writes ``metrics.json``, ``learning_curve.png`` and the task's figures.

    The history travels in the checkpoints, so that the curve of a resumed run is whole. An
    interrupt, or the signal TERM, stops the training after the batch that it comes in, so that the
    checkpoint that is then written is one that the training would have passed; a second interrupt
    stops it at once. Where that is within an epoch, the training figures of this epoch are those of
    its second part. Where several processes train together, they stop after the same batch.

    Args:
        folder: The folder of the run.
        results: Where the figures of a test go: the folder of the run, or one in it.
        made: What is known of the making of the weights; see :func:`tasks.provenance.recorded`.
    """

    def __init__(self, folder: RunFolder, results: Path, made: Mapping[str, Any]) -> None:
        self.folder, self.results, self.made = folder, results, recorded(made)
        self.history: list[dict[str, float]] = []
        self.weights = "best"
        self._seconds = self._cpu_seconds = 0.0
        self._cpu_since = 0.0
        self._processes = 1
        self._since: float | None = None
        self._validated = False
        self._interrupted: float | None = None  # when
        self._stopping = False
        self._consistent = False
        self._handlers: dict[int, Any] = {}
        self._group: Any = None
        self._first = True

    @property
    def seconds(self) -> float:
        """Seconds of training so far, all resumed parts together."""
        return self._seconds + (0.0 if self._since is None else monotonic() - self._since)

    @property
    def cpu_seconds(self) -> float:
        """Processor seconds of training so far, those of processes that read data included."""
        now = 0.0 if self._since is None else processor_seconds() - self._cpu_since
        return self._cpu_seconds + now * self._processes  # They do the same work.

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look which of several processes this is."""
        self._first, self._processes = trainer.is_global_zero, trainer.world_size

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the signal TERM end the process while there is nothing to keep."""
        _end_by_term()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the signal TERM end the process: a test is done again from the checkpoint."""
        _end_by_term()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the signal TERM end the process."""
        _end_by_term()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and listen to interrupts."""
        self._since, self._cpu_since = monotonic(), processor_seconds()
        self._interrupted, self._stopping, self._consistent = None, False, False
        if trainer.world_size > 1:  # The signals are compared in the memory of the host.
            self._group = torch.distributed.new_group(backend="gloo")
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # A shell turns interrupts off for what runs in its background.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._interrupt)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop where an interrupt has come at the end of an epoch, after its checkpoint."""
        self._consistent = False
        self._stop_if_interrupted(trainer)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember that nothing has changed since the last batch."""
        self._consistent = batch_idx % trainer.accumulate_grad_batches == 0

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """Remember that the weights are about to change."""
        self._consistent = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop where an interrupt has come, unless the end of the epoch is still to be done."""
        done = batch_idx + 1
        if done < trainer.num_training_batches:
            self._consistent = done % trainer.accumulate_grad_batches == 0
            if self._consistent:
                self._stop_if_interrupted(trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that there are new figures of the validation part."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch to the history, without figures that are older.

        Raises:
            Diverged: The weights are not finite any more; no checkpoint is written of them.
        """
        if not all(weight.isfinite().all() for weight in pl_module.parameters()):
            raise Diverged(trainer.current_epoch, self.folder.path / LAST.parent)
        row = {"epoch": float(trainer.current_epoch + 1), "seconds": self.seconds}
        for name, value in trainer.callback_metrics.items():
            if self._validated or not name.startswith("val/"):
                row[name] = float(value)
        self.history.append(row)
        self._validated = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._consistent = False
        self._stop_if_interrupted(trainer)
        self._end()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Keep an interrupted training, and say how to go on with it."""
        if self._since is None:
            return
        self._end()
        if isinstance(exception, Diverged):
            return
        # A checkpoint of several processes is the work of all, and others may be lost.
        if self._consistent and (self._stopping or trainer.world_size == 1):
            try:
                trainer.save_checkpoint(self.folder.path / LAST, weights_only=False)
            except Diverged as error:
                say(f"Stopped: {error}")
                return
        if not self.folder.config.exists():
            return
        message = f"Stopped. Go on with: lie-attention fit --resume {self.folder}"
        if self._stopping or trainer.world_size == 1:
            if trainer.is_global_zero:
                say(message)
        else:
            say(f"Process {trainer.global_rank} of {trainer.world_size}: {message}")

    def _end(self) -> None:
        """Stop the clock, and leave interrupts to others."""
        self._seconds, self._cpu_seconds, self._since = self.seconds, self.cpu_seconds, None
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def _interrupt(self, number: int, frame: Any) -> None:
        if self._interrupted is None:
            self._interrupted = monotonic()
            if self._first:
                say("Stopping after this batch; interrupt again to stop at once.")
        elif number == signal.SIGINT and monotonic() - self._interrupted > _SAME_INTERRUPT:
            raise KeyboardInterrupt

    def _stop_if_interrupted(self, trainer: Trainer) -> None:
        """Stop where an interrupt has come to any of the processes."""
        self._stopping = self._interrupted is not None
        if trainer.world_size > 1:
            stopping = torch.tensor(int(self._stopping))
            torch.distributed.all_reduce(stopping, torch.distributed.ReduceOp.MAX, self._group)
            self._stopping = bool(stopping)
        if self._stopping:
            raise KeyboardInterrupt

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write everything, and say it in a few lines."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Model)
        results = pl_module.results()
        wrong = [name for name, value in results.items() if _is_wrong(value)]
        if wrong:
            raise ValueError(
                f"the test gives no finite number for {', '.join(wrong)}, so nothing is written: "
                "the network or its data overflow. Train again with a lower model.learning_rate."
            )
        constant = results.get(f"test/{pl_module.criterion}_constant")
        files = pl_module.draw(self.results)
        path = self.results / METRICS
        metrics: dict[str, Any] = {
            **results,
            "parameters": sum(p.numel() for p in pl_module.parameters()),
            "weights": self.weights,
        }
        training: dict[str, Any] = {
            "train/seconds": self.seconds,
            "train/cpu_seconds": self.cpu_seconds,
            "train/threads": torch.get_num_threads(),
            "provenance": {**self.made, "cpu_seconds": self.cpu_seconds},
            "history": self.history,
        }
        before = self.folder.read_metrics()  # Written by the training, all of which it saw.
        if len(before.get("history", [])) >= max(len(self.history), 1):
            training = {name: before[name] for name in training if name in before}
            self.history = training["history"]
        if self.history:
            curve = self.results / "learning_curve.png"
            learning_curve(
                curve,
                self.history,
                pl_module.criterion,
                pl_module.curve_label,
                constant if isinstance(constant, float) else None,
            )
            files.insert(0, curve)
            metrics |= training
        write_atomic(path, (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode())
        for logger in trainer.loggers:
            numbers = {name: each for name, each in results.items() if isinstance(each, float)}
            logger.log_metrics(numbers, trainer.global_step)
        say("\n".join(pl_module.summary()))
        if self.weights != "best":
            say("These are the last weights: none were ever validated.")
        say(f"Written: {', '.join(str(file) for file in [path, *files])}")

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep which rows the weights are trained, validated and tested on."""
        parts: Parts | None = getattr(trainer.datamodule, "parts", None)  # type: ignore[attr-defined]
        checkpoint["parts"] = None if parts is None else parts.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """The history and the clocks, for a checkpoint."""
        return {
            "history": self.history,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; the best, which is tested at the end, may be an early one."""
        if len(state_dict["history"]) > len(self.history):
            self.history = state_dict["history"]
            self._seconds = state_dict["seconds"]
            self._cpu_seconds = state_dict.get("cpu_seconds", 0.0)


def _end_by_term() -> None:
    """Take the signal TERM from Lightning, which would answer it by leaving with status 0."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _is_wrong(value: Any) -> bool:
    return isinstance(value, float) and not isfinite(value)
