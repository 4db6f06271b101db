"""A network that predicts properties of a molecule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

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
from tasks.loader import Share
from tasks.qm9.batches import IN_FEATURES, MoleculeBatch
from tasks.qm9.molecules import MoleculeData
from tasks.qm9.networks import PropertyNetwork

_MEASURED_MOLECULES = 32


class QM9Model(TaskModel):
    """Predict one or several targets with attention that is equivariant to a group.

    The network learns the standardized targets with the L1 loss. With ``pooling="sum"`` it learns
    what is left of them after the best sum over elements, ``Composition``, which is nine tenths of
    an energy of atomization; its own sum over atoms is in units of their mean number, so that it
    begins as small as a mean. All of these are of the training part, and are kept with the weights.
    Where there are several targets, the figure by which weights are chosen, ``val/mae``, is the
    mean of their errors in units of the deviations.

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
        property_network: Makes a network of another kind, ``SteerableProperty`` or
            ``ChannelwiseProperty`` with its settings or a ``PropertyNetwork`` of your own, from the
            number of features, ``invariant``, ``pooling`` and the number of targets. The settings
            from ``group`` to ``backend``, ``invariant`` aside, are those of a LieTransformer, and
            stay at their defaults then.
        learning_rate: Largest learning rate.
        weight_decay: Decoupled weight decay.
        warmup: Share of the training steps over which the learning rate rises.
        compile: Whether to compile the network by ``torch.compile``, once for all sizes of a batch.
            The first step then takes a minute or so. A compiled network does not check what it is
            given: a check has to wait for the GPU.
        in_features: Number of features of an atom; the command line takes it from the data.
        outputs: Number of targets; the command line takes it from the data.

    Raises:
        ValueError: If the group's space does not have the invariant, is not three-dimensional, a
            number is out of range, or a setting does not belong to the network.
    """

    mean: Tensor
    std: Tensor
    references: Tensor
    size: Tensor

    links: ClassVar[Sequence[tuple[str, str]]] = (
        ("data.in_features", "model.in_features"),
        ("data.outputs", "model.outputs"),
    )
    marks: ClassVar[Collection[str]] = ("targets",)

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
            [int, Invariant | list[Invariant], Literal["mean", "sum"], int], PropertyNetwork
        ]
        | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        warmup: float = 0.05,
        compile: bool = False,
        in_features: int = IN_FEATURES,
        outputs: int = 1,
    ) -> None:
        super().__init__(learning_rate, weight_decay, warmup)
        self.save_hyperparameters()
        if pooling not in ("mean", "sum"):
            raise ValueError(f"pooling is 'mean' or 'sum'; got {pooling!r}.")
        self.compile_network = compile
        self.pooling = pooling
        self.invariant = invariant
        self.network: LieTransformer | PropertyNetwork
        if property_network is None:
            self.network = LieTransformer(
                group,
                in_features,
                outputs,
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
            self.network = property_network(in_features, invariant, pooling, outputs)
        if self.network.space.point_dim != 3:
            raise ValueError(
                f"model.group: {group} acts on points of {self.network.space.point_dim} "
                "coordinates, but atoms have 3; use T3, SE3, SO3 or another group of space."
            )
        self.targets: list[dict[str, str]] = []
        self.elements: dict[str, int] = {}
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("std", torch.ones(outputs))
        self.register_buffer("references", torch.zeros(in_features // 3, outputs))
        self.register_buffer("size", torch.ones(()))
        self._tested: list[tuple[Tensor, ...]] = []
        self._measured: list[tuple[Tensor, ...]] = []

    def forward(self, batch: MoleculeBatch) -> Tensor:
        """Predict the targets, ``(B, T)`` in their units, of a batch of molecules."""
        return self.standardized(batch) * self.std + self._known(batch)

    def _known(self, batch: MoleculeBatch) -> Tensor:
        """What a network need not learn, ``(B, T)``: the mean, and the sum over elements."""
        atoms = batch.features[..., ::3].sum(1)  # (B, E), of each element
        # Not a product of matrices, which automatic half precision would round.
        return self.mean + (atoms[..., None] * self.references).sum(1)

    def standardized(
        self, batch: MoleculeBatch, generator: torch.Generator | None = None
    ) -> Tensor:
        """Predict the standardized targets, ``(B, T)``, drawing the lift from ``generator``."""
        output: Tensor = self.network(
            batch.features, batch.positions, batch.mask, generator=generator
        )
        return output / self.size

    # ---- steps -------------------------------------------------------------------------------

    def training_step(self, batch: MoleculeBatch) -> Tensor:
        """L1 loss of the standardized targets."""
        prediction = self.standardized(batch, self.step_generator())
        error = (prediction - (batch.target - self._known(batch)) / self.std).abs()
        self._log("train", error.detach() * self.std, batch)
        return (error.mean(1) * batch.weight).mean()

    def validation_step(self, batch: MoleculeBatch) -> None:
        """Log the mean absolute error."""
        self._log("val", (self(batch) - batch.target).abs(), batch)

    def test_step(self, batch: MoleculeBatch) -> None:
        """Log the mean absolute error, and keep the predictions."""
        prediction = self(batch)
        self._log("test", (prediction - batch.target).abs(), batch)
        self._tested.append((batch.index, batch.target, prediction))
        if not self._measured:
            clouds = batch.features, batch.positions, batch.mask
            self._measured.append(tuple(part[:_MEASURED_MOLECULES] for part in clouds))

    def predict_step(self, batch: MoleculeBatch) -> Tensor:
        """Predict: the molecules' indices beside the targets in their units, ``(B, 1 + T)``."""
        return torch.cat((batch.index[:, None].double(), self(batch).double()), 1)

    def _log(self, stage: str, errors: Tensor, batch: MoleculeBatch) -> None:
        """Log the mean of absolute errors ``(B, T)`` in the targets' units."""
        figures = {f"{stage}/mae": self._overall(errors.mean(0))}
        if len(self.targets) > 1:
            for target, error in zip(self.targets, errors.mean(0), strict=True):
                figures[f"{stage}/{target['name']}_mae"] = error
        for name, figure in figures.items():
            self.log(
                name,
                figure,
                on_step=False,
                on_epoch=True,
                prog_bar=name in ("val/mae", "test/mae"),
                batch_size=Share.of_this_process().count(len(batch.target)),
                sync_dist=True,
            )

    def _overall(self, errors: Tensor) -> Tensor:
        """Errors ``(T,)`` as one number: in the unit of one target, of several in deviations."""
        return errors[0] if len(errors) == 1 else (errors / self.std).mean()

    # ---- what a run reports ------------------------------------------------------------------

    def on_test_epoch_start(self) -> None:
        """Forget an earlier test."""
        self._tested, self._measured = [], []

    def label(self, data: LightningDataModule) -> str:
        assert isinstance(data, MoleculeData)
        names = [target.name for target in data.targets]
        targets = "+".join(names) if len(names) < 4 else f"{len(names)} targets"
        return f"{targets}-{self._network_name}"

    @property
    def _network_name(self) -> str:
        several = self.invariant if isinstance(self.invariant, list) else [self.invariant]
        names = [type(self.network.space.group).__name__]
        if not isinstance(self.network, LieTransformer):
            names.append(type(self.network).__name__)
        return "-".join([*names, "+".join(type(each).__name__ for each in several)])

    @property
    def curve_label(self) -> str:
        return f"mean absolute error of {self._names} ({self._unit})"

    @property
    def _names(self) -> str:
        return ", ".join(target["name"] for target in self.targets)

    @property
    def _unit(self) -> str:
        return self.targets[0]["unit"] if len(self.targets) == 1 else "deviations"

    def on_test_epoch_end(self) -> None:
        """Bring together what the processes have tested."""
        share = Share.of_this_process()
        self._tested = share.gather(self._tested)
        self._measured = share.gather(self._measured)

    def results(self) -> dict[str, float | str]:
        clouds = [part[:_MEASURED_MOLECULES].to(self.device) for part in self._measured[0]]
        statistics = self._data.statistics
        constant = torch.from_numpy(statistics.constant_mae["test"])
        composition = torch.from_numpy(statistics.composition.mae["test"])
        errors = torch.cat([(given - target).abs() for _, target, given in self._tested]).mean(0)
        found: dict[str, float | str] = {
            "network": self._network_name,
            "target": self._names,
            "unit": self._unit,
            "split": self._data.split_name,
            "train/molecules": self._data.train_size,
            "test/mae": float(self.trainer.callback_metrics["test/mae"]),
            "test/mae_constant": float(self._overall(constant.to(self.std))),
            "test/mae_composition": float(self._overall(composition.to(self.std))),
            "test/molecules": sum(len(index) for index, _, _ in self._tested),
        }
        for target, error, alone, fit in zip(
            self.targets, errors, constant, composition, strict=True
        ):
            found[f"{target['name']}/mae"] = float(error)
            found[f"{target['name']}/mae_constant"] = float(alone)
            found[f"{target['name']}/mae_composition"] = float(fit)
            found[f"{target['name']}/unit"] = target["unit"]
        cuda = self.device.type == "cuda"
        return found | {
            "device": torch.cuda.get_device_name(self.device) if cuda else self.device.type,
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
        lines = [
            f"Test error of {found['target']}: {found['test/mae']:.4g} {found['unit']} on "
            f"{found['test/molecules']} molecules; a constant scores "
            f"{found['test/mae_constant']:.4g} {found['unit']}, the best sum over elements "
            f"{found['test/mae_composition']:.4g}."
        ]
        if len(self.targets) > 1:
            lines += [
                f"  {name}: {found[f'{name}/mae']:.4g} {found[f'{name}/unit']}; a constant scores "
                f"{found[f'{name}/mae_constant']:.4g} {found[f'{name}/unit']}, the best sum over "
                f"elements {found[f'{name}/mae_composition']:.4g}."
                for name in (target["name"] for target in self.targets)
            ]
        return [
            *lines,
            f"Invariance to {group}: {kind}; the output changes by "
            f"{found['equivariance/error']:.1e} of its deviation under random elements "
            f"({found['equivariance/error_float32']:.1e} in float32).",
        ]

    def write_predictions(self, path: Path, predictions: Sequence[Any]) -> None:
        table = torch.cat(list(predictions)).numpy()
        buffer = StringIO()
        columns = [self._data.index_name, *(f"{t['name']} ({t['unit']})" for t in self.targets)]
        np.savetxt(
            buffer,
            table[table[:, 0].argsort()],
            ["%d", *["%.6g"] * len(self.targets)],
            ",",
            header=",".join(columns),
            comments="",
        )
        write_atomic(path, buffer.getvalue().encode())

    def draw(self, folder: Path) -> list[Path]:
        from tasks.plots import parity  # Training needs no matplotlib.

        _, targets, predictions = (torch.cat(each) for each in zip(*self._tested, strict=True))
        paths = []
        for place, target in enumerate(self.targets):
            given, true = predictions[:, place], targets[:, place]
            name = "parity.png" if len(self.targets) == 1 else f"parity_{target['name']}.png"
            error = f"mean absolute error {(given - true).abs().mean():.3g} {target['unit']}"
            parity(folder / name, true, given, f"{target['name']} ({target['unit']})", error)
            paths.append(folder / name)
        return paths

    # ---- the data that the weights belong to -------------------------------------------------

    def setup(self, stage: str) -> None:
        """Take what there is to know of the targets from the data before training starts."""
        if stage == "fit" and self.compile_network:
            self.network.compile(dynamic=True)
        if stage == "fit" and not self.targets:
            data = self._data
            self.targets = [
                {"name": t.name, "unit": t.unit, "description": t.description} for t in data.targets
            ]
            self.elements = dict(data.elements)
            statistics = data.statistics
            if self.pooling == "sum":
                fit = statistics.composition
                mean, std = fit.constant, fit.std
                self.references.copy_(torch.from_numpy(fit.weights))
                self.size.fill_(fit.size)
            else:
                mean, std = statistics.mean, statistics.std
            self.mean.copy_(torch.from_numpy(mean))
            self.std.copy_(torch.from_numpy(std))

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
        """Keep the names of targets and elements with the weights."""
        checkpoint["targets"], checkpoint["elements"] = self.targets, self.elements

    def take(self, checkpoint: Mapping[str, Any]) -> None:
        """Read the names of targets and elements."""
        self.targets, self.elements = checkpoint["targets"], checkpoint["elements"]

    @property
    def _data(self) -> MoleculeData:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, MoleculeData):
            raise ValueError(f"QM9Model is trained on molecules; got {type(data).__name__}.")
        return data

    def _check_target(self) -> None:
        if not self.targets:
            raise ValueError("the model has not been trained: give a checkpoint with --ckpt_path.")
        given = ", ".join(target.name for target in self._data.targets)
        if given != self._names:
            raise ValueError(
                f"data.target is {given!r}, but the checkpoint was trained on {self._names!r}; "
                "give that as --data.target."
            )
        elements = ", ".join(self._data.elements)
        if elements != ", ".join(self.elements):
            raise ValueError(
                f"the data have the elements {elements}, but the checkpoint was trained on "
                f"{', '.join(self.elements)}."
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
