"""A LieTransformer that predicts one property of a molecule."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import Any, Literal

import torch
from attention import Kernel, LieTransformer, Normalizer, Softmax, Sum
from liegroups import T3, Haar, Invariant, LieGroup, RelativePose, Sampler
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.functional import l1_loss

from tasks.qm9.data import QM9, MoleculeBatch


class QM9Model(LightningModule):
    """Predict a target of QM9 with attention that is equivariant to a group.

    The network learns the standardized target with the L1 loss; the mean and deviation of the
    training targets are kept with the weights. Adam with a linear warm-up and a cosine decay.

    Args:
        group: The group, for example ``T3``, ``SE3`` or ``SO3``, or the dotted path of your own.
        invariant: What the kernel sees of a pair: ``RelativePose``, ``Distance``,
            ``InverseDistance``, or a list for a mix by heads.
        lift: Chooses the group elements over each atom.
        width: Number of features an atom in the hidden layers.
        layers: Number of attention blocks.
        heads: Number of attention heads; divides ``width``.
        kernel: Combines content and location: ``Sum``, ``Product`` or ``Joint``.
        normalizer: Turns logits into weights: ``Softmax`` or ``Count``.
        pooling: ``mean`` over the atoms for intensive targets, ``sum`` for extensive ones.
        learning_rate: Largest learning rate.
        weight_decay: Decoupled weight decay.
        warmup: Share of the training steps over which the learning rate rises.

    Raises:
        ValueError: If the group's space does not have the invariant, or a number is out of range.
    """

    def __init__(
        self,
        group: LieGroup = T3(),  # noqa: B008 (immutable)
        invariant: Invariant | list[Invariant] = RelativePose(),  # noqa: B008 (immutable)
        lift: Sampler = Haar(count=4),  # noqa: B008 (immutable)
        width: int = 128,
        layers: int = 4,
        heads: int = 8,
        kernel: Callable[[int, int, Tensor], Kernel] = Sum,
        normalizer: Normalizer = Softmax(),  # noqa: B008 (immutable)
        pooling: Literal["mean", "sum"] = "mean",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        warmup: float = 0.05,
    ) -> None:
        super().__init__()
        if learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0; got {learning_rate}.")
        if weight_decay < 0:
            raise ValueError(f"weight_decay must not be below 0; got {weight_decay}.")
        if not 0 <= warmup < 1:
            raise ValueError(f"warmup is a share of the steps, in [0, 1); got {warmup}.")
        self.save_hyperparameters()
        self.network = LieTransformer(
            group,
            QM9.in_features,
            1,
            invariant=invariant,
            lift=lift,
            width=width,
            layers=layers,
            heads=heads,
            kernel=kernel,
            normalizer=normalizer,
            pooling=pooling,
        )
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup
        self.target: str | None = None
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def forward(self, batch: MoleculeBatch) -> Tensor:
        """Predict the target, ``(B,)`` in its unit, of a batch of molecules."""
        return self.standardized(batch) * self.std + self.mean

    def standardized(self, batch: MoleculeBatch) -> Tensor:
        """Predict the standardized target, ``(B,)``."""
        return self.network(batch.features, batch.positions, batch.mask)[:, 0]

    def setup(self, stage: str) -> None:
        """Take the target's statistics from the data, or check that the two belong together."""
        data = self._data
        if stage == "fit" and self.target is None:
            self.target = data.target.name
            self.mean.fill_(data.mean)
            self.std.fill_(data.std)
        self._check_target()

    def on_fit_start(self) -> None:
        """Check the target again, now that a checkpoint may have been loaded."""
        self._check_target()

    on_validation_start = on_test_start = on_predict_start = on_fit_start

    def training_step(self, batch: MoleculeBatch) -> Tensor:
        """L1 loss of the standardized target."""
        loss = l1_loss(self.standardized(batch), (batch.target - self.mean) / self.std)
        self.log("train/mae", loss.detach() * self.std, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: MoleculeBatch) -> None:
        """Log the mean absolute error in the target's unit."""
        self._log_error("val/mae", batch)

    def test_step(self, batch: MoleculeBatch) -> Tensor:
        """Log the mean absolute error in the target's unit; return the predictions."""
        return self._log_error("test/mae", batch)

    def predict_step(self, batch: MoleculeBatch) -> Tensor:
        """Predict the target in its unit."""
        return self(batch)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam, with the learning rate rising linearly, then falling along a cosine to zero."""
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        rising = max(int(self.warmup * steps), 1)

        def share(step: int) -> float:
            if step < rising:
                return (step + 1) / rising
            return (1 + cos(pi * (step - rising) / max(steps - rising, 1))) / 2

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the name of the target with the weights."""
        checkpoint["target"] = self.target

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read the name of the target.

        Raises:
            ValueError: If the checkpoint is not one of this model.
        """
        if "target" not in checkpoint or "network.embedding.weight" not in checkpoint["state_dict"]:
            raise ValueError(
                "the checkpoint was not written by the QM9 task; give one from the folder "
                "runs/NAME/checkpoints of a QM9 run."
            )
        self.target = checkpoint["target"]

    @property
    def _data(self) -> QM9:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, QM9):
            raise ValueError(f"QM9Model is trained on QM9 data; got {type(data).__name__}.")
        return data

    def _check_target(self) -> None:
        if self.target is not None and self.target != self._data.target.name:
            raise ValueError(
                f"data.target is {self._data.target.name!r}, but the checkpoint was trained on "
                f"{self.target!r}; give --data.target {self.target}."
            )

    def _log_error(self, name: str, batch: MoleculeBatch) -> Tensor:
        prediction = self(batch)
        error = l1_loss(prediction, batch.target)
        self.log(name, error, prog_bar=True, batch_size=len(prediction))
        return prediction
