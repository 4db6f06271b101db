"""A network that predicts one property of a molecule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.nn.functional import l1_loss

from attention import (
    AllPairs,
    BackendName,
    Geometry,
    InvariantHead,
    Kernel,
    LieTransformer,
    NeighborhoodRule,
    Normalizer,
    Softmax,
    Sum,
    invariance_error,
)
from liegroups import T3, Haar, Invariant, LieGroup, RelativePose, Sampler
from tasks.base import TaskModel
from tasks.cache import write_atomic
from tasks.plots import parity
from tasks.qm9.batches import MoleculeBatch
from tasks.qm9.data import QM9
from tasks.qm9.networks import PropertyNetwork

_MEASURED_MOLECULES = 32


class QM9Model(TaskModel):
    """Predict a target of QM9 with attention that is equivariant to a group.

    The network learns the standardized target with the L1 loss; the mean and deviation of the
    training targets are kept with the weights.

    Args:
        group: The group, for example ``T3``, ``SE3`` or ``SO3``, or the dotted path of your own.
        invariant: What the kernel sees of a pair: ``RelativePose``, ``Distance``,
            ``InverseDistance``, or a list for a mix by heads.
        lift: Chooses the group elements over each atom.
        width: Number of features an atom in the hidden layers.
        layers: Number of attention blocks.
        heads: Number of attention heads; divides ``width``.
        kernel: Makes the kernel of each layer, for example ``Sum`` of content and location.
        normalizer: Turns logits into weights, for example ``Softmax`` or ``Count``.
        neighborhood: Chooses the neighbors of each lifted atom.
        backend: How to compute the attention: ``auto``, or a name of ``attention.BACKENDS``.
        pooling: ``mean`` over the atoms for intensive targets, ``sum`` for extensive ones.
        property_network: Makes a network of another kind, ``SteerableProperty`` with its settings
            or a ``PropertyNetwork`` of your own, from the number of features, ``invariant`` and
            ``pooling``. The settings from ``group`` to ``backend``, ``invariant`` aside, are those
            of a LieTransformer, and stay at their defaults then.
        learning_rate: Largest learning rate.
        weight_decay: Decoupled weight decay.
        warmup: Share of the training steps over which the learning rate rises.

    Raises:
        ValueError: If the group's space does not have the invariant, is not three-dimensional, a
            number is out of range, or a setting does not belong to the network.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        group: LieGroup = T3(),  # noqa: B008 (immutable)
        invariant: Invariant | list[Invariant] = RelativePose(),  # noqa: B008 (immutable)
        lift: Sampler = Haar(count=4),  # noqa: B008 (immutable)
        width: int = 128,
        layers: int = 4,
        heads: int = 8,
        kernel: Callable[[int, int, Geometry], Kernel] = Sum,
        normalizer: Normalizer = Softmax(),  # noqa: B008 (immutable)
        neighborhood: NeighborhoodRule = AllPairs(),  # noqa: B008 (immutable)
        backend: BackendName = "auto",
        pooling: Literal["mean", "sum"] = "mean",
        property_network: Callable[
            [int, Invariant | list[Invariant], Literal["mean", "sum"]], PropertyNetwork
        ]
        | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        warmup: float = 0.05,
    ) -> None:
        super().__init__(learning_rate, weight_decay, warmup)
        self.save_hyperparameters()
        self.invariant = invariant
        self.network: LieTransformer | PropertyNetwork
        if property_network is None:
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
                neighborhood=neighborhood,
                head=partial(InvariantHead, pooling=pooling),
                backend=backend,
            )
        else:
            _refuse_settings(
                group=group,
                lift=lift,
                width=width,
                layers=layers,
                heads=heads,
                normalizer=normalizer,
                neighborhood=neighborhood,
                backend=backend,
            )
            self.network = property_network(QM9.in_features, invariant, pooling)
        if self.network.space.point_dim != 3:
            raise ValueError(
                f"model.group: {group} acts on points of {self.network.space.point_dim} "
                "coordinates, but atoms have 3; use T3, SE3, SO3 or another group of space."
            )
        self.target: str | None = None
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        self._tested: list[tuple[MoleculeBatch, Tensor]] = []

    def forward(self, batch: MoleculeBatch) -> Tensor:
        """Predict the target, ``(B,)`` in its unit, of a batch of molecules."""
        return self.standardized(batch) * self.std + self.mean

    def standardized(
        self, batch: MoleculeBatch, generator: torch.Generator | None = None
    ) -> Tensor:
        """Predict the standardized target, ``(B,)``, drawing the lift from ``generator``."""
        output: Tensor = self.network(
            batch.features, batch.positions, batch.mask, generator=generator
        )
        return output[:, 0]

    # ---- steps -------------------------------------------------------------------------------

    def training_step(self, batch: MoleculeBatch) -> Tensor:
        """L1 loss of the standardized target."""
        prediction = self.standardized(batch, self.step_generator())
        loss = l1_loss(prediction, (batch.target - self.mean) / self.std)
        self._log("train/mae", loss.detach() * self.std, batch)
        return loss

    def validation_step(self, batch: MoleculeBatch) -> None:
        """Log the mean absolute error in the target's unit."""
        self._log("val/mae", l1_loss(self(batch), batch.target), batch)

    def test_step(self, batch: MoleculeBatch) -> None:
        """Log the mean absolute error in the target's unit, and keep the predictions."""
        prediction = self(batch)
        self._log("test/mae", l1_loss(prediction, batch.target), batch)
        self._tested.append((batch, prediction))

    def predict_step(self, batch: MoleculeBatch) -> Tensor:
        """Predict: the molecules' QM9 indices beside the target in its unit, ``(B, 2)``."""
        return torch.stack((batch.index.double(), self(batch).double()), -1)

    def _log(self, name: str, error: Tensor, batch: MoleculeBatch) -> None:
        training = name.startswith("train")
        self.log(
            name,
            error,
            on_step=False,
            on_epoch=True,
            prog_bar=not training,
            batch_size=len(batch.target),
            sync_dist=not training,
        )

    # ---- what a run reports ------------------------------------------------------------------

    def on_test_epoch_start(self) -> None:
        """Forget an earlier test."""
        self._tested = []

    def label(self, data: LightningDataModule) -> str:
        assert isinstance(data, QM9)
        several = self.invariant if isinstance(self.invariant, list) else [self.invariant]
        names = [data.target.name, type(self.network.space.group).__name__]
        if not isinstance(self.network, LieTransformer):
            names.append(type(self.network).__name__)
        return "-".join([*names, "+".join(type(each).__name__ for each in several)])

    @property
    def curve_label(self) -> str:
        return f"mean absolute error of {self._data.target.name} ({self._data.unit})"

    def results(self) -> dict[str, float | str]:
        batch = MoleculeBatch(*(part[:_MEASURED_MOLECULES] for part in self._tested[0][0]))
        clouds = batch.features, batch.positions, batch.mask
        return {
            "target": self._data.target.name,
            "unit": self._data.unit,
            "split": self._data.split.name,
            "test/mae": float(self.trainer.callback_metrics["test/mae"]),
            "test/mae_constant": self._data.constant_mae["test"],
            "test/molecules": sum(len(prediction) for _, prediction in self._tested),
            "equivariance/group": str(self.network.space.group),
            "equivariance/kind": str(self.network.equivariance),
            "equivariance/error": invariance_error(self.network, *clouds),
            "equivariance/error_float32": invariance_error(
                self.network, *clouds, dtype=torch.float32
            ),
        }

    def summary(self) -> list[str]:
        found = self.results()
        group = self.network.space.group
        kind = str(found["equivariance/kind"]).replace("_", " ")
        return [
            f"Test error of {found['target']}: {found['test/mae']:.4g} {found['unit']} on "
            f"{found['test/molecules']} molecules; a constant scores "
            f"{found['test/mae_constant']:.4g} {found['unit']}.",
            f"Invariance to {group}: {kind}; the output changes by "
            f"{found['equivariance/error']:.1e} of its deviation under random elements "
            f"({found['equivariance/error_float32']:.1e} in float32).",
        ]

    def write_predictions(self, path: Path, predictions: Sequence[Any]) -> None:
        table = torch.cat(list(predictions)).numpy()
        buffer = StringIO()
        columns = f"qm9_index,{self._data.target.name} ({self._data.unit})"
        np.savetxt(
            buffer, table[table[:, 0].argsort()], ["%d", "%.6g"], ",", header=columns, comments=""
        )
        write_atomic(path, buffer.getvalue().encode())

    def draw(self, folder: Path) -> list[Path]:
        path = folder / "parity.png"
        target = torch.cat([batch.target for batch, _ in self._tested]).cpu()
        prediction = torch.cat([prediction for _, prediction in self._tested]).cpu()
        error = (prediction - target).abs().mean()
        unit = self._data.unit
        name = f"{self._data.target.name} ({unit})"
        parity(path, target, prediction, name, f"mean absolute error {error:.3g} {unit}")
        return [path]

    # ---- the data that the weights belong to -------------------------------------------------

    def setup(self, stage: str) -> None:
        """Take the target's statistics from the data before training starts."""
        if stage == "fit" and self.target is None:
            self.target = self._data.target.name
            self.mean.fill_(self._data.mean)
            self.std.fill_(self._data.std)

    def on_fit_start(self) -> None:
        """Check that the data have the target that the weights were trained on."""
        self._check_target()

    def on_validation_start(self) -> None:
        """Check that the data have the target that the weights were trained on."""
        self._check_target()

    def on_test_start(self) -> None:
        """Check that the data have the target that the weights were trained on."""
        self._check_target()

    def on_predict_start(self) -> None:
        """Check that the data have the target that the weights were trained on."""
        self._check_target()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the name of the target with the weights."""
        checkpoint["target"] = self.target

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read the name of the target.

        Raises:
            ValueError: If the checkpoint is not one of this model.
        """
        weights = checkpoint["state_dict"]
        if "target" not in checkpoint or not any(name.startswith("network.") for name in weights):
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
        if self.target is None:
            raise ValueError("the model has not been trained: give a checkpoint with --ckpt_path.")
        if self.target != self._data.target.name:
            raise ValueError(
                f"data.target is {self._data.target.name!r}, but the checkpoint was trained on "
                f"{self.target!r}; give --data.target {self.target}."
            )


def _refuse_settings(**settings: object) -> None:
    """Raise if a setting of the LieTransformer was given where the network is another.

    Raises:
        ValueError: If one is not its default.
    """
    defaults = inspect.signature(QM9Model.__init__).parameters
    given = [name for name, value in settings.items() if value != defaults[name].default]
    if given:
        raise ValueError(
            f"model.{given[0]} is a setting of a LieTransformer; with model.property_network, give "
            f"it, if the network has it, as model.property_network.init_args.{given[0]}."
        )
