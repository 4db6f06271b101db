"""What the models of all tasks share: the optimizer's schedule, and what a run reports."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from math import cos, pi
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from liegroups.checks import check_number
from tasks.run.checkpoint import load_model

__all__ = ["TaskModel"]

_FUSED = ("cpu", "cuda")  # Devices with a fused AdamW.


class TaskModel(LightningModule, ABC):
    """A model that can be trained, and that says at the end of a test what came of it.

    Args:
        learning_rate: Largest learning rate.
        weight_decay: Decoupled weight decay.
        warmup: Share of the training steps over which the learning rate rises.

    Raises:
        ValueError: If a number is out of range.
    """

    criterion: ClassVar[str] = "mae"
    """The figure by which weights are chosen, less being better: ``val/mae`` in the metrics."""

    links: ClassVar[Sequence[tuple[str, str]]] = ()
    """Attributes of the data that the model is built with, ``data.NAME`` to ``model.NAME``."""

    of_training: ClassVar[Collection[str]] = ("learning_rate", "weight_decay", "warmup")
    """Settings that training alone depends on: a run may go on with others."""

    free: ClassVar[Collection[str]] = ("backend", "compile", "scatter")
    """Settings that say how something is computed and not what, at any depth."""

    marks: ClassVar[Collection[str]] = ()
    """Keys that a checkpoint of this model has besides Lightning's."""

    @classmethod
    def wrote(cls, checkpoint: Mapping[str, Any]) -> bool:
        """Whether a checkpoint is one of this model."""
        return all(key in checkpoint for key in cls.marks)

    def __init__(self, learning_rate: float, weight_decay: float, warmup: float) -> None:
        super().__init__()
        check_number("learning_rate", learning_rate, above=0)
        check_number("weight_decay", weight_decay, least=0)
        check_number("warmup", warmup, least=0, below=1)
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup

    @abstractmethod
    def label(self, data: LightningDataModule) -> str:
        """The settings that matter most, as part of a folder's name."""

    @property
    @abstractmethod
    def curve_label(self) -> str:
        """What the learning curve shows, with its unit."""

    @abstractmethod
    def results(self) -> dict[str, float | str]:
        """What the last test found, by name; ``test/`` and the criterion is among the names."""

    @abstractmethod
    def summary(self) -> list[str]:
        """What the last test found, as lines for a person."""

    @abstractmethod
    def write_predictions(self, path: Path, predictions: Sequence[Any]) -> None:
        """Write what ``predict_step`` returned for each batch as a CSV file."""

    @abstractmethod
    def draw(self, folder: Path) -> list[Path]:
        """Draw the last test's figures into a folder; return their paths."""

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what a checkpoint says beside the weights.

        Raises:
            ValueError: If the checkpoint is not one of this model.
        """
        if not self.wrote(checkpoint):
            raise ValueError(f"the checkpoint was not written by {type(self).__name__}.")
        weights = [w for w in checkpoint["state_dict"].values() if w.is_floating_point()]
        if weights and (self._trainer is None or self.trainer.precision == "64-true"):
            # Lightning loads double precision into single, and makes it double again after that.
            self.to(weights[0].dtype)
        self.take(checkpoint)

    def take(self, checkpoint: Mapping[str, Any]) -> None:
        """Take what this model keeps in a checkpoint beside the weights.

        Raises:
            ValueError: If it does not fit the settings.
        """

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Build the model that a checkpoint describes, without running anything in it.

        Args:
            checkpoint_path: The file.
            map_location: The device to compute on; the CPU when absent.
            hparams_file: Not accepted: the settings are those of the checkpoint.
            strict: Not accepted: all weights must fit.
            weights_only: Ignored: nothing else is ever read.
            **kwargs: Settings that take the place of those of the checkpoint.

        Raises:
            UserError: See ``tasks.run.checkpoint.load_model``.
        """
        if hparams_file is not None or strict is False:
            raise ValueError("hparams_file and strict: the checkpoint alone says what it is.")
        device = "cpu" if map_location is None else map_location
        return load_model(cls, Path(checkpoint_path), device=device, settings=kwargs)

    def step_generator(self) -> torch.Generator:
        """Randomness for one training step, a function of the run's seed, the step and the rank.

        A run that is interrupted and goes on therefore draws what it would have drawn.
        """
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))  # Where Lightning keeps the run's seed.
        entropy = (seed, self.trainer.global_step, self.trainer.global_rank)
        state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        return torch.Generator(self.device).manual_seed(int(state) >> 1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, with the learning rate rising linearly, then falling along a cosine to zero."""
        optimizer = torch.optim.AdamW(
            self.parameters(),
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            # One kernel for all weights. It cannot clip the scaled gradients of 16-mixed.
            fused=self.device.type in _FUSED and self.trainer.precision != "16-mixed",
        )
        steps = self._total_steps()
        rising = max(int(self.warmup * steps), 1)

        def share(step: int) -> float:
            if step < rising:
                return (step + 1) / rising
            return (1 + cos(pi * min((step - rising) / max(steps - rising, 1), 1))) / 2

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """Take other settings of the optimizer, where a run goes on with them.

        What is restored with the state of the optimizer are those that it had before.
        """
        for config in self.trainer.lr_scheduler_configs:
            schedule = config.scheduler
            if not isinstance(schedule, torch.optim.lr_scheduler.LambdaLR):
                continue
            for place, group in enumerate(schedule.optimizer.param_groups):
                group["weight_decay"] = self.weight_decay
                if group["initial_lr"] == self.learning_rate:
                    continue
                share = schedule.lr_lambdas[place](schedule.last_epoch)
                schedule.base_lrs[place] = group["initial_lr"] = self.learning_rate
                group["lr"] = self.learning_rate * share

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients.

        Lightning refuses to with a fused optimizer under any mixed precision, though only that of
        ``16-mixed`` scales gradients.
        """
        if self.trainer.precision != "bf16-mixed":
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )
        elif gradient_clip_val and gradient_clip_algorithm == "value":
            clip_grad_value_(self.parameters(), gradient_clip_val)
        elif gradient_clip_val:
            clip_grad_norm_(self.parameters(), gradient_clip_val)

    def _total_steps(self) -> int:
        """Number of optimizer steps of the whole run.

        The trainer's own estimate sets up its loaders before a checkpoint is read, and an epoch
        that was interrupted then starts from its first batch.
        """
        trainer = self.trainer
        data = trainer.datamodule  # type: ignore[attr-defined]
        batches, limit = len(data.train_dataloader()), trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        epochs, most = trainer.max_epochs, trainer.max_steps
        if epochs is None or epochs < 0:
            if most < 0:
                raise ValueError("trainer.max_epochs or trainer.max_steps must say when to stop.")
            return most
        steps = -(-batches // trainer.accumulate_grad_batches) * epochs
        return steps if most < 0 else min(steps, most)
