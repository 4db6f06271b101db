"""What a run leaves in its folder: metrics, the learning curve, the figures of the task."""

from __future__ import annotations

import io
import json
import signal
import threading
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from lightning_fabric.plugins.io import TorchCheckpointIO
from pytorch_lightning import Callback, LightningModule, Trainer

from tasks.base import TaskModel
from tasks.cache import write_atomic
from tasks.plots import learning_curve


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints so that a process that is killed leaves the old one or the new one.

    Lightning's own writes to the system's temporary folder, and from there to the place by a copy
    where that is another file system.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_atomic(Path(path), content.getvalue())


class Record(Callback):
    """Writes ``metrics.json``, ``learning_curve.png`` and the task's figures.

    The history travels in the checkpoints, so that the curve of a resumed run is whole. An
    interrupt stops the training after the batch that it comes in, so that the checkpoint that is
    then written is one that the training would have passed; a second one stops it at once. Where
    that is within an epoch, the training figures of this epoch are those of its second part.
    """

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []
        self._seconds = 0.0
        self._since: float | None = None
        self._validated = False
        self._interrupted = False
        self._consistent = False
        self._handler: Any = None

    @property
    def seconds(self) -> float:
        """Seconds of training so far, all resumed parts together."""
        return self._seconds + (0.0 if self._since is None else monotonic() - self._since)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and listen to interrupts."""
        self._since = monotonic()
        self._interrupted = self._consistent = False
        listening = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if listening and threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._interrupt)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop where an interrupt has come at the end of an epoch, after its checkpoint."""
        self._consistent = False
        self._stop_if_interrupted()

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
                self._stop_if_interrupted()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that there are new figures of the validation part."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch to the history, without figures that are older."""
        row = {"epoch": float(trainer.current_epoch + 1), "seconds": self.seconds}
        for name, value in trainer.callback_metrics.items():
            if self._validated or not name.startswith("val/"):
                row[name] = float(value)
        self.history.append(row)
        self._validated = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._consistent = False
        self._stop_if_interrupted()
        self._end()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Keep an interrupted training, and say how to go on with it."""
        if self._since is None:
            return
        self._end()
        folder = Path(trainer.default_root_dir)
        last = folder / "checkpoints" / "last.ckpt"
        if self._consistent:
            trainer.save_checkpoint(last)
        if last.exists():
            trainer.print(f"Stopped. Go on with: lie-attention fit --resume {folder}")

    def _end(self) -> None:
        """Stop the clock, and leave interrupts to others."""
        self._seconds, self._since = self.seconds, None
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None

    def _interrupt(self, number: int, frame: Any) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        print("Stopping after this batch; interrupt again to stop at once.", flush=True)

    def _stop_if_interrupted(self) -> None:
        if self._interrupted:
            raise KeyboardInterrupt

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write everything, and say it in a few lines."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, TaskModel)
        folder = Path(trainer.log_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.json"
        results = pl_module.results()
        constant = results.get(f"test/{pl_module.criterion}_constant")
        files = pl_module.draw(folder)
        metrics: dict[str, Any] = {
            **results,
            "parameters": sum(p.numel() for p in pl_module.parameters()),
        }
        training: dict[str, Any] = {
            "train/seconds": self.seconds,
            "train/threads": torch.get_num_threads(),
            "history": self.history,
        }
        if path.exists():  # Written by the training, all of which it saw.
            before = json.loads(path.read_text())
            if len(before.get("history", [])) > len(self.history):
                training = {name: before[name] for name in training}
                self.history = training["history"]
        if self.history:
            curve = folder / "learning_curve.png"
            learning_curve(
                curve,
                self.history,
                pl_module.criterion,
                pl_module.curve_label,
                constant if isinstance(constant, float) else None,
            )
            files.insert(0, curve)
            metrics |= training
        write_atomic(path, (json.dumps(metrics, indent=2) + "\n").encode())
        trainer.print("\n".join(pl_module.summary()))
        trainer.print(f"Written: {', '.join(str(file) for file in [path, *files])}")

    def state_dict(self) -> dict[str, Any]:
        """The history and the clock, for a checkpoint."""
        return {"history": self.history, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint; the best, which is tested at the end, may be an early one."""
        if len(state_dict["history"]) > len(self.history):
            self.history = state_dict["history"]
            self._seconds = state_dict["seconds"]
