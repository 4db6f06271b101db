"""Averages of the weights over the steps of a training."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["WeightAverage"]


class WeightAverage(WeightAveraging):
    """Validates, tests and keeps the exponential average of the weights, one a step.

    Lightning's own callback with three differences: the average lies on the device of the weights,
    where Lightning leaves it in the memory of the host; all weights are averaged at once; and a
    test after training takes the average from the checkpoint, not the last weights beside it.

    Args:
        decay: Share of the average that a step keeps.

    Raises:
        ValueError: If ``decay`` is not between 0 and 1.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay: {decay}; accepted: between 0 and 1.")
        super().__init__(use_buffers=False, multi_avg_fn=get_ema_multi_avg_fn(decay))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the average to the device of the weights, which is known only now."""
        average = self._average_model
        assert average is not None
        average.module.to(pl_module.device)
        average.n_averaged = average.n_averaged.cpu()  # It is read every step.

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with the average when a training is resumed."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
