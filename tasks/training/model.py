"""The model that is trained: a network with an objective, an optimizer and what a run reports."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from io import StringIO
from math import cos, pi
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torchmetrics import MeanMetric

from attention import Network
from liegroups.checks import check_number
from tasks.cache import write_atomic
from tasks.data.clouds import Clouds
from tasks.data.module import CloudData
from tasks.data.share import Share, allow_unused_weights
from tasks.objectives.base import Facts, Figures, Objective, Prediction, Tested
from tasks.objectives.regression import Regression
from tasks.runs.checkpoint import load_model
from tasks.training.compiled import CompiledStep
from tasks.training.muon import Muon

__all__ = ["Model", "NetworkMaker", "ObjectiveMaker"]

logger = logging.getLogger(__name__)

_FUSED = ("cpu", "cuda")  # Devices with a fused AdamW.
_ITERATIONS = 20  # Of L-BFGS in one step of the trainer.
_MEASURED = 32  # Clouds whose equivariance is measured.


class NetworkMaker(Protocol):
    """Makes a network: a class of networks with its settings."""

    def __call__(
        self, *, in_features: int, out_features: int, point_dim: int = 0, max_points: int = 0
    ) -> Network:
        """Make it.

        Args:
            in_features: Number of features of a point.
            out_features: Number of outputs.
            point_dim: Number of coordinates of a point, for a network that has this setting.
            max_points: Number of points of the largest cloud, likewise.
        """


class ObjectiveMaker(Protocol):
    """Makes an objective: a class of objectives with its settings."""

    def __call__(self, facts: Facts, /) -> Objective[Any]:
        """Make it from facts of the data."""


class Model(LightningModule):
    """A network that is trained for an objective.

    Args:
        network: The network: ``LieTransformer``, ``SteerableTransformer``,
            ``ChannelwiseTransformer`` or a ``Network`` of your own, with its settings.
        objective: What it is trained for: ``Regression``, ``EnergiesAndForces``, ``Counting``,
            ``HamiltonianDynamics`` or an ``Objective`` of your own, with its settings.
        optimizer: ``adamw``; ``muon``, which learns more from each step and takes two to five times
            the learning rate, see ``Muon``; or ``lbfgs``: a quasi-Newton method, 20 iterations a
            step, each step on all training clouds at once. Small networks end far lower with it,
            in double precision (``--trainer.precision 64-true``).
        learning_rate: Largest learning rate of AdamW and Muon.
        weight_decay: Decoupled weight decay of AdamW and Muon.
        warmup: Share of the training steps over which the learning rate rises.
        compile: Whether to compile the network by ``torch.compile``, once for all sizes of a batch;
            where predictions are derivatives, the whole training step, see ``CompiledStep``. The
            first step then takes a minute or more. A compiled network does not check what it is
            given: a check has to wait for the GPU.
        in_features: Number of features of a point; the command line takes it from the data.
        outputs: Number of targets; the command line takes it from the data.
        kinds: Columns of the features that count the kinds of points; from the data likewise.
        point_dim: Number of coordinates of a point; from the data likewise.
        max_points: Number of points of the largest cloud; from the data likewise.
        choices: Number of values that a target may have; from the data likewise.

    Raises:
        ValueError: If the settings do not fit each other, or a number is out of range.
    """

    links: ClassVar[Sequence[tuple[str, str]]] = (
        ("data.in_features", "model.in_features"),
        ("data.outputs", "model.outputs"),
        ("data.kind_columns", "model.kinds"),
        ("data.point_dim", "model.point_dim"),
        ("data.max_points", "model.max_points"),
        ("data.choices", "model.choices"),
    )
    """Attributes of the data that the model is built with, ``data.NAME`` to ``model.NAME``."""

    of_training: ClassVar[Collection[str]] = (
        "learning_rate", "weight_decay", "warmup", "optimizer",
    )  # fmt: skip
    """Settings that training alone depends on: a run may go on with others."""

    free: ClassVar[Collection[str]] = ("backend", "compile", "scatter")
    """Settings that say how something is computed and not what, at any depth."""

    def __init__(
        self,
        network: NetworkMaker,
        objective: ObjectiveMaker = Regression,
        optimizer: Literal["adamw", "muon", "lbfgs"] = "adamw",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        warmup: float = 0.05,
        compile: bool = False,
        in_features: int = 1,
        outputs: int = 1,
        kinds: Sequence[int] = (),
        point_dim: int | None = None,
        max_points: int | None = None,
        choices: int = 0,
    ) -> None:
        super().__init__()
        check_number("learning_rate", learning_rate, above=0)
        check_number("weight_decay", weight_decay, least=0)
        check_number("warmup", warmup, least=0, below=1)
        self.save_hyperparameters()
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup
        self.optimizer, self.compile_network = optimizer, compile
        made = objective(Facts(in_features, outputs, tuple(kinds), point_dim, max_points, choices))
        self.network: Network = make_network(network, made)
        self.objective: Objective[Any] = made  # After the network, whose weights come first.
        made.join(self.network)
        self.is_trained = self.centered = False
        self.metrics = nn.ModuleDict()
        self._steps = 1
        self._step: CompiledStep | None = None
        self._tested: list[Tested] = []
        self._measured: Clouds | None = None
        self._found: Figures | None = None

    @property
    def criterion(self) -> str:
        """The figure by which weights are chosen, less being better: ``val/`` in the metrics."""
        return self.objective.criterion

    def forward(self, batch: Clouds) -> Prediction:
        """Predict, in the units of the targets; see ``Objective.predict``."""
        return self.objective.predict(self.network, batch)

    # ---- steps -------------------------------------------------------------------------------

    def training_step(self, batch: Clouds) -> Tensor:
        """The loss of the objective."""
        self.objective.at(self.trainer.global_step / self._steps)
        batch = self.cast(batch)
        if self._step is not None:
            loss, prediction = self._step(batch)
        else:
            loss, prediction = self.objective.loss(self.network, batch, self._step_generator())
        self._log("train", self.objective.training_errors(loss.detach(), prediction, batch), batch)
        loss = loss * batch.weight.mean().to(loss.dtype)
        # Its line search must find the same step in all processes.
        return Share.of_this_process().mean(loss) if self.optimizer == "lbfgs" else loss

    def validation_step(self, batch: Clouds) -> None:
        """Log how far predictions are off."""
        batch = self.cast(batch)
        self._log("val", self.objective.errors(self(batch), batch), batch)

    def test_step(self, batch: Clouds, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep the predictions."""
        batch = self.cast(batch)
        kept = self.objective.keep(self(batch), batch)
        self._tested.append(Tested(dataloader_idx, tuple(part.detach() for part in kept)))
        if self._measured is None:
            self._measured = batch

    def predict_step(self, batch: Clouds) -> Tensor:
        """Predict: the numbers of the clouds beside the cells of the table, float64."""
        batch = self.cast(batch)
        prediction = self(batch)
        parts = [batch.ids[:, None], self.objective.cells(prediction, batch)]
        if self.objective.point_columns():
            parts.append(self.objective.point_cells(prediction).flatten(1))
        return torch.cat([part.double() for part in parts], 1)

    def cast(self, batch: Clouds) -> Clouds:
        """The batch with features and points in the precision of the weights."""
        if batch.points.dtype == self.dtype:
            return batch
        targets = batch.point_targets
        return batch._replace(
            features=batch.features.to(self.dtype),
            points=batch.points.to(self.dtype),
            point_targets=None if targets is None else targets.to(self.dtype),
        )

    def _log(self, stage: str, figures: Mapping[str, Tensor], batch: Clouds) -> None:
        for name, errors in figures.items():
            key = f"{stage}/{name}"
            if key not in self.metrics:
                self.metrics[key] = MeanMetric(nan_strategy="disable").to(self.device)
            metric = self.metrics[key]
            assert isinstance(metric, MeanMetric)
            metric.update(errors.detach())
            self.log(
                key,
                metric,
                metric_attribute=f"metrics.{key}",
                on_step=False,
                on_epoch=True,
                prog_bar=stage != "train" and name == self.criterion,
                batch_size=len(batch.ids),
            )

    def _step_generator(self) -> torch.Generator:
        """Randomness for one training step, a function of the run's seed, the step and the rank.

        A run that is interrupted and goes on therefore draws what it would have drawn.
        """
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0))  # Where Lightning keeps the run's seed.
        entropy = (seed, self.trainer.global_step, self.trainer.global_rank)
        state = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        return torch.Generator(self.device).manual_seed(int(state) >> 1)

    # ---- what a run reports ------------------------------------------------------------------

    def label(self, data: CloudData) -> str:
        """The settings that matter most, as part of a folder's name."""
        return f"{data.label}-{self.network.label}"

    def on_test_epoch_start(self) -> None:
        """Forget an earlier test."""
        self._tested, self._measured, self._found = [], None, None

    def on_test_epoch_end(self) -> None:
        """Bring together what the processes have tested."""
        share = Share.of_this_process()
        gathered = share.gather([each.parts for each in self._tested])
        self._tested = [
            Tested(each.test_set, parts) for each, parts in zip(self._tested, gathered, strict=True)
        ]
        assert self._measured is not None
        first = self._measured.first(_MEASURED)._asdict()
        given = {name: part for name, part in first.items() if part is not None}
        (whole,) = share.gather([tuple(given.values())])
        parts = {name: part.to(self.device) for name, part in zip(given, whole, strict=True)}
        self._measured = Clouds.of(parts).first(_MEASURED)

    def results(self) -> Figures:
        """What the last test found, by name; ``test/`` and the criterion is among the names."""
        if self._found is None:
            self._found = self._measure()
        return self._found

    def _measure(self) -> Figures:
        data, network = self._data, self.network
        cuda = self.device.type == "cuda"
        found: Figures = {
            "network": network.label,
            **({"split": data.split_name} if data.split_name else {}),
            f"train/{data.noun}": data.count("train"),
            f"test/{data.noun}": data.count("test"),
            **self.objective.results(network, self._tested, data),
            "device": torch.cuda.get_device_name(self.device) if cuda else self.device.type,
            "equivariance/group": str(network.space.group),
            "equivariance/kind": str(network.equivariance),
        }
        assert self._measured is not None
        for suffix, dtype in (("", torch.float64), ("_float32", torch.float32)):
            errors = self.objective.symmetry_errors(network, self._measured, dtype)
            found |= {f"equivariance/{name}{suffix}": value for name, value in errors.items()}
        return found

    def summary(self) -> list[str]:
        """What the last test found, as lines for a person."""
        found = self.results()
        return [*self.objective.summary(found, self._data), *self.objective.symmetry(found)]

    def draw(self, folder: Path) -> list[Path]:
        """Draw the last test's figures into a folder; return their paths."""
        return self.objective.draw(folder, self._tested, self.results(), self._data)

    @property
    def curve_label(self) -> str:
        """What the learning curve shows, with its unit."""
        return self.objective.curve_label

    def write_predictions(self, path: Path, predictions: Sequence[Any]) -> None:
        """Write what ``predict_step`` returned for each batch as a CSV file."""
        table, data = torch.cat(list(predictions)).numpy(), self._data
        columns, of_points = self.objective.columns(), self.objective.point_columns()
        if of_points:
            for number in range((table.shape[1] - 1 - len(columns)) // len(of_points)):
                columns += [each._replace(name=each.name.format(number)) for each in of_points]
        buffer = StringIO()
        np.savetxt(
            buffer,
            table[table[:, 0].argsort()],
            ["%d", *(column.form for column in columns)],
            ",",
            header=",".join([data.id_name, *(column.name for column in columns)]),
            comments="",
        )
        write_atomic(path, buffer.getvalue().encode())

    # ---- the data that the weights belong to -------------------------------------------------

    def setup(self, stage: str) -> None:
        """Compile, and let the objective learn from the data before training starts."""
        if self.objective.needs_gradients:
            allow_unused_weights(self.trainer)
        if stage != "fit":
            return
        self.metrics.clear()  # What a validation before made cannot be trained with.
        if not self.is_trained:
            self.objective.learn_from(self._data)
            self.is_trained, self.centered = True, self._data.center
        if self.compile_network and self.objective.needs_gradients:
            self._step = CompiledStep(self.network, self.objective)
        elif self.compile_network:
            self.network.compile(dynamic=True)

    def on_fit_start(self) -> None:
        """Check that the data are of what the weights are trained on."""
        self._check_data()

    def on_validation_start(self) -> None:
        """Check that the data are of what the weights were trained on."""
        self._check_data()

    def on_test_start(self) -> None:
        """Check that the data are of what the weights were trained on."""
        self._check_data()

    def on_predict_start(self) -> None:
        """Check that the data are of what the weights were trained on."""
        self._check_data()

    def _check_data(self) -> None:
        data = self._data
        if not self.is_trained:
            raise ValueError("the model has not been trained: give a checkpoint with --ckpt_path.")
        if self.optimizer == "lbfgs" and data.batch_size < data.count("train"):
            raise ValueError(
                f"data.batch_size: {data.batch_size}; lbfgs needs all {data.count('train')} "
                f"training {data.noun} in one batch."
            )
        self.objective.check(data)

    def check_points(self, data: CloudData) -> None:
        """Look, before any data are loaded, whether the network takes points of their kind.

        Raises:
            ValueError: If not.
        """
        own, given = self.network.space.point_dim, self.objective.point_dim(self.network, data)
        if own != given:
            raise ValueError(
                f"model.network.group: {self.network.space.group} acts on points of {own} "
                f"coordinates, but those of the {data.noun} have {given}; use a group of that "
                f"space, such as T{given}, SE{given} or SO{given}."
            )

    @property
    def _data(self) -> CloudData:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, CloudData):
            raise ValueError(f"Model is trained on CloudData; got {type(data).__name__}.")
        return data

    # ---- checkpoints -------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """What a checkpoint says that it is of: the class of the objective."""
        return type(self.objective).__name__

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep with the weights what the objective learned from the data."""
        extra = self.objective.get_extra() if self.is_trained else None
        checkpoint["objective"] = {"kind": self.kind, "extra": extra, "centered": self.centered}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take what a checkpoint says beside the weights.

        Raises:
            ValueError: If the checkpoint is of another objective, or does not fit the settings.
        """
        kept = checkpoint.get("objective") or {}
        if kept.get("kind") != self.kind:
            raise ValueError(f"the checkpoint is of {kept.get('kind')}, not of {self.kind}.")
        weights = [w for w in checkpoint["state_dict"].values() if w.is_floating_point()]
        if weights and (self._trainer is None or self.trainer.precision == "64-true"):
            # Lightning loads double precision into single, and makes it double again after that.
            self.to(weights[0].dtype)
        if kept["extra"] is not None:
            self.objective.set_extra(kept["extra"])
            self.is_trained, self.centered = True, kept["centered"]

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
            UserError: See ``tasks.runs.checkpoint.load_model``.
        """
        if hparams_file is not None or strict is False:
            raise ValueError("hparams_file and strict: the checkpoint alone says what it is.")
        device = "cpu" if map_location is None else map_location
        return load_model(cls, Path(checkpoint_path), device=device, settings=kwargs)

    # ---- the optimizer -----------------------------------------------------------------------

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW or Muon with a schedule, or L-BFGS with a line search (Liu and Nocedal 1989).

        The learning rate rises linearly, then falls along a cosine to zero.
        """
        if self.optimizer == "lbfgs":
            return torch.optim.LBFGS(
                self.parameters(),
                max_iter=_ITERATIONS,
                history_size=50,
                tolerance_grad=1e-12,
                tolerance_change=1e-15,
                line_search_fn="strong_wolfe",
            )
        make: Any = Muon if self.optimizer == "muon" else torch.optim.AdamW
        optimizer = make(
            self if self.optimizer == "muon" else self.parameters(),
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
        self._steps = self._total_steps()
        if self.trainer.global_step == 0 and self.objective.sees_clouds:
            self._warn_if_blind()
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

    @torch.no_grad()
    def _warn_if_blind(self) -> None:
        """Warn where the network tells none of some clouds from the others before training."""
        data = self._data
        rows = torch.from_numpy(data.rows("val")[:_MEASURED].astype(np.int64))
        batch = data.clouds("val").batch(rows)
        given = self.cast(
            batch._replace(
                **{
                    name: part.to(self.device)
                    for name, part in batch._asdict().items()
                    if part is not None
                }
            )
        )
        was_training = self.network.training
        # Not by a call, which would be compiled once more.
        output = self.network.eval().forward(*given.inputs, edges=given.edges)
        self.network.train(was_training)
        size = float(output.square().mean().sqrt())
        spread = float(output.std(0).max()) if len(output) > 1 else size
        if size > 0 and spread < torch.finfo(output.dtype).eps ** 0.75 * size:
            logger.warning(
                "the network gives %d %s of the validation part one number, so nothing that it "
                "sees tells them apart. Where points have no features but a constant, softmax "
                "sees no places: give --model.network.normalizer Count or Linear.",
                len(output),
                data.noun,
            )

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


def make_network(maker: NetworkMaker, objective: Objective[Any]) -> Network:
    """Make the network of an objective.

    Args:
        maker: Makes it.
        objective: Says what goes in and what is to come out.

    Raises:
        ValueError: If the network needs the number of points of a cloud, which the data do not say.
    """
    sizes = {"in_features": objective.in_features, "out_features": objective.out_features}
    kind: Any = maker
    while isinstance(kind, partial):  # The command line's holds the class as an argument.
        kind = next((each for each in kind.args if inspect.isclass(each)), kind.func)
    for name, size in (
        ("point_dim", objective.facts.point_dim),
        ("max_points", objective.facts.max_points),
    ):
        if name in inspect.signature(kind).parameters:
            if size is None:
                raise ValueError(f"model.network: it needs {name}, which these data do not say.")
            sizes[name] = size
    return maker(**sizes)  # Which of them there are, the class says.
