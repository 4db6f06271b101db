"""Averages of the weights over the steps of a training."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from liegroups.checks import check_number

__all__ = ["WeightAverage"]


class WeightAverage(WeightAveraging):
    r"""Validates, tests and keeps the exponential average of the weights, one a step.

    After n steps the average keeps the share

    .. math:: \min\left(d, \frac{1 + n}{10 + n}\right)

    of itself, with the decay d, so that it forgets the initial weights also where the training is
    short.

    Lightning's own callback with four differences: the average lies on the device of the weights,
    where Lightning leaves it in the memory of the host, and has their precision; all weights are
    averaged at once; and a test after training takes the average from the checkpoint, not the last
    weights beside it.

    Args:
        decay: Largest share of the average that a step keeps.

    Raises:
        ValueError: If ``decay`` is not between 0 and 1.
    """

    def __init__(self, decay: float = 0.99) -> None:
        check_number("decay", decay, above=0, below=1)

        @torch.no_grad()
        def average(means: list[Tensor], weights: list[Tensor], steps: Tensor | int) -> None:
            share = min(decay, (1 + int(steps)) / (10 + int(steps)))
            torch._foreach_lerp_(means, weights, 1 - share)

        super().__init__(use_buffers=False, multi_avg_fn=average)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin the average, in the precision that the weights get only after this."""
        super().setup(trainer, pl_module, stage)
        if stage == TrainerFn.FITTING:
            assert self._average_model is not None
            trainer.precision_plugin.convert_module(self._average_model.module)

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
