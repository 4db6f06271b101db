"""What a run leaves in its folder: metrics, the learning curve, the figures of the task."""

from __future__ import annotations

import io
import json
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

    The history travels in the checkpoints, so that the curve of a resumed run is whole.
    """

    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []
        self._seconds = 0.0
        self._since: float | None = None
        self._validated = False

    @property
    def seconds(self) -> float:
        """Seconds of training so far, all resumed parts together."""
        return self._seconds + (0.0 if self._since is None else monotonic() - self._since)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._since = monotonic()

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
        self._seconds, self._since = self.seconds, None

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Keep an interrupted training, and say how to go on with it."""
        if self._since is None:
            return
        self._seconds, self._since = self.seconds, None
        folder = Path(trainer.default_root_dir)
        trainer.save_checkpoint(folder / "checkpoints" / "last.ckpt")
        trainer.print(f"Stopped. Go on with: lie-attention fit --resume {folder}")

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
