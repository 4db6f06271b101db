"""Averages of the weights over the steps of a training."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.trainer.states import TrainerFn


class WeightAverage(EMAWeightAveraging):
    """Validates, tests and keeps the exponential average of the weights, one a step.

    Lightning's own callback, but a test after training takes the average from the checkpoint, not
    the last weights beside it.

    Args:
        decay: Share of the average that a step keeps.

    Raises:
        ValueError: If ``decay`` is not between 0 and 1.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay: {decay}; accepted: between 0 and 1.")
        super().__init__(use_buffers=False, decay=decay)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with the average when a training is resumed."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
