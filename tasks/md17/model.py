"""A network that predicts the energy of a molecule and the forces on its atoms."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from liegroups import Distance, Invariant
from liegroups.checks import check_number
from tasks.base import TaskModel
from tasks.cache import write_atomic
from tasks.loader import Share, allow_unused_weights
from tasks.md17.batches import FrameBatch
from tasks.md17.data import MD17, Statistics
from tasks.md17.forces import energy_and_forces, symmetry_errors
from tasks.md17.networks import EnergyNetwork, SteerableEnergy
from tasks.md17.tracing import CompiledStep
from tasks.plots import parity

_MEASURED_FRAMES = 16
_DRAWN_COMPONENTS = 20_000
_LARGEST_WEIGHT = 1e12  # Of which a loss of single precision is far from infinite.


class MD17Model(TaskModel):
    r"""Predict energies and, as their negative gradient, forces.

    The network gives the energy less the mean of the training frames, in units of the root mean
    square training force times 1 Å. The loss is

    .. math::
        w_E \, \mathrm{mean}\!\left(\frac{\Delta E}{\sigma_E}\right)^2
        + w_F \, \mathrm{mean}\!\left(\frac{\Delta F}{F_\mathrm{rms}}\right)^2

    with the deviation of the energies and the root mean square of the force components on the
    training frames.

    Args:
        invariant: What the network sees of a pair: ``Distance``, ``InverseDistance``,
            ``RadialBasis``, or a list for a mix by heads.
        network: Makes the network that gives the energy: ``SteerableEnergy`` or ``LieEnergy``
            with their settings, or an ``EnergyNetwork`` of your own.
        energy_weight: Weight of the energy in the loss.
        force_weight: Weight of the forces in the loss.
        learning_rate: Largest learning rate.
        weight_decay: Decoupled weight decay.
        warmup: Share of the training steps over which the learning rate rises.
        compile: Whether to compile the training step, both derivatives included; see
            ``CompiledStep``. That takes minutes, and a C++ compiler on a CPU, and once more where
            ``batch_size`` does not divide the number of training frames. Not for networks that
            are equivariant in distribution.

    Raises:
        ValueError: If the settings of the network do not fit each other, or a number is out of
            range.
    """

    marks: ClassVar[Collection[str]] = ("md17",)
    of_training: ClassVar[Collection[str]] = (
        *TaskModel.of_training,
        "energy_weight",
        "force_weight",
    )

    def __init__(
        self,
        invariant: Invariant | list[Invariant] = Distance(),  # noqa: B008 (immutable)
        network: Callable[[int, Invariant | list[Invariant]], EnergyNetwork] = SteerableEnergy,
        energy_weight: float = 1.0,
        force_weight: float = 10.0,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.0,
        warmup: float = 0.05,
        compile: bool = False,
    ) -> None:
        super().__init__(learning_rate, weight_decay, warmup)
        check_number("energy_weight", energy_weight, least=0, most=_LARGEST_WEIGHT)
        check_number("force_weight", force_weight, least=0, most=_LARGEST_WEIGHT)
        if energy_weight == 0 and force_weight == 0:
            raise ValueError(
                "energy_weight and force_weight: both 0; accepted: one of them above 0."
            )
        self.save_hyperparameters()
        self.network = network(MD17.in_features, invariant)
        self.invariant = invariant
        self.energy_weight, self.force_weight = energy_weight, force_weight
        self._compiled = CompiledStep(self.network, self._loss) if compile else None
        self.statistics: Statistics | None = None
        self._tested: list[tuple[Tensor, ...]] = []
        self._measured: list[tuple[Tensor, ...]] = []

    def forward(
        self, batch: FrameBatch, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Predict.

        Args:
            batch: Frames of the molecule that the model was trained on.
            generator: Source of randomness for the network.

        Returns:
            The energy less the mean of the training frames in meV, ``(B,)``, and the forces in
            meV/angstrom, ``(B, N, 3)``. In training they have derivatives.
        """
        energy, forces = energy_and_forces(
            self.network,
            batch.features,
            batch.positions,
            create_graph=self.training and torch.is_grad_enabled(),
            generator=generator,
        )
        scale = self._known.force_rms
        return energy * scale, forces * scale

    # ---- steps -------------------------------------------------------------------------------

    def training_step(self, batch: FrameBatch) -> Tensor:
        """Weighted squared errors of energy and forces."""
        scale = self._known.force_rms
        target = self._centered(batch)
        if self._compiled is None:
            energy, forces = energy_and_forces(
                self.network,
                batch.features,
                batch.positions,
                create_graph=True,
                generator=self.step_generator(),
            )
            loss = self._loss(energy, forces, target, batch.forces)
        else:
            loss, energy, forces = self._compiled(
                batch.features, batch.positions, target, batch.forces
            )
        self._log("train", energy.detach() * scale, forces.detach() * scale, batch)
        return loss * batch.weight.mean().to(loss.dtype)

    def _loss(
        self, energy: Tensor, forces: Tensor, target: Tensor, target_forces: Tensor
    ) -> Tensor:
        """The loss of what the network gives; the targets are in meV and meV/angstrom."""
        known = self._known
        scale = known.force_rms
        of_energy = mse_loss(energy * scale, target) / known.energy_deviation**2
        of_forces = mse_loss(forces * scale, target_forces) / known.force_rms**2
        return self.energy_weight * of_energy + self.force_weight * of_forces

    def validation_step(self, batch: FrameBatch) -> None:
        """Log the mean absolute errors of energy and force components."""
        energy, forces = self(batch)
        self._log("val", energy, forces, batch)

    def test_step(self, batch: FrameBatch) -> None:
        """Log the mean absolute errors of energy and force components, and keep predictions."""
        energy, forces = self(batch)
        self._log("test", energy, forces, batch)
        self._tested.append((self._centered(batch), energy, batch.forces, forces))
        if not self._measured:
            atoms = batch.features, batch.positions
            self._measured.append(tuple(part[:_MEASURED_FRAMES] for part in atoms))

    def predict_step(self, batch: FrameBatch) -> Tensor:
        """Predict: numbers of the frames, total energies, forces, ``(B, 2 + 3N)``, float64."""
        energy, forces = self(batch)
        columns = batch.index[:, None], self._total(energy)[:, None], forces.flatten(1)
        return torch.cat([column.double() for column in columns], 1)

    def _centered(self, batch: FrameBatch) -> Tensor:
        """The true energies less the mean of the training frames, rounded only after that."""
        return (batch.energy - self._known.energy_mean).to(batch.forces.dtype)

    def _total(self, energy: Tensor) -> Tensor:
        return energy.double() + self._known.energy_mean

    def _log(self, stage: str, energy: Tensor, forces: Tensor, batch: FrameBatch) -> None:
        errors = {
            f"{stage}/mae": l1_loss(forces, batch.forces),
            f"{stage}/energy_mae": l1_loss(energy, self._centered(batch)),
        }
        self.log_dict(
            errors,
            on_step=False,
            on_epoch=True,
            prog_bar=stage != "train",
            batch_size=Share.of_this_process().count(len(energy)),
            sync_dist=True,
        )

    # ---- what a run reports ------------------------------------------------------------------

    def on_test_epoch_start(self) -> None:
        """Forget an earlier test."""
        self._tested, self._measured = [], []

    def on_test_epoch_end(self) -> None:
        """Bring together what the processes have tested."""
        share = Share.of_this_process()
        self._tested = share.gather(self._tested)
        self._measured = share.gather(self._measured)

    def label(self, data: LightningDataModule) -> str:
        assert isinstance(data, MD17)
        several = self.invariant if isinstance(self.invariant, list) else [self.invariant]
        invariants = "+".join(type(each).__name__ for each in several)
        return f"{data.molecule}-{type(self.network).__name__}-{invariants}"

    @property
    def curve_label(self) -> str:
        return "mean absolute error of forces (meV/Å)"

    def results(self) -> dict[str, float | str]:
        features, positions = (
            part[:_MEASURED_FRAMES].to(self.device) for part in self._measured[0]
        )
        metrics = self.trainer.callback_metrics
        found: dict[str, float | str] = {
            "molecule": self._data.molecule,
            "theory": self._known.theory,
            "split": self._data.split.name,
            "target": "force component",
            "unit": "meV/Å",
            "test/mae": float(metrics["test/mae"]),
            "test/mae_constant": self._data.force_mae_constant,
            "energy_unit": "meV",
            "test/energy_mae": float(metrics["test/energy_mae"]),
            "test/energy_mae_constant": self._data.energy_mae_constant,
            "train/frames": len(self._data.split.train),
            "test/frames": sum(len(energy) for energy, *_ in self._tested),
            "equivariance/group": str(self.network.group),
        }
        if len(features) > 1:
            for name, dtype in (("", torch.float64), ("_float32", torch.float32)):
                energy, forces = symmetry_errors(self.network, features, positions, dtype=dtype)
                found[f"equivariance/energy_error{name}"] = energy
                found[f"equivariance/force_error{name}"] = forces
        return found

    def summary(self) -> list[str]:
        found = self.results()
        lines = [
            f"Test error on {found['test/frames']} frames of {found['molecule']} "
            f"({found['theory']}, split {found['split']}): forces {found['test/mae']:.4g} meV/Å, "
            f"energy {found['test/energy_mae']:.4g} meV; forces of zero score "
            f"{found['test/mae_constant']:.4g} meV/Å, the median energy "
            f"{found['test/energy_mae_constant']:.4g} meV."
        ]
        if "equivariance/energy_error" in found:
            lines.append(
                f"Under random elements of {self.network.group} the energy changes by "
                f"{found['equivariance/energy_error']:.1e} of its deviation, and the forces are "
                f"off by {found['equivariance/force_error']:.1e} of their size (in float32 "
                f"{found['equivariance/energy_error_float32']:.1e} and "
                f"{found['equivariance/force_error_float32']:.1e})."
            )
        return lines

    def write_predictions(self, path: Path, predictions: Sequence[Any]) -> None:
        table = torch.cat(list(predictions)).numpy()
        atoms = (table.shape[1] - 2) // 3
        columns = ["frame", "energy (meV)"]
        columns += [f"force {axis} of atom {n} (meV/Å)" for n in range(atoms) for axis in "xyz"]
        buffer = StringIO()
        np.savetxt(
            buffer,
            table[table[:, 0].argsort()],
            ["%d", "%.4f", *["%.6g"] * (3 * atoms)],
            ",",
            header=",".join(columns),
            comments="",
        )
        write_atomic(path, buffer.getvalue().encode())

    def draw(self, folder: Path) -> list[Path]:
        true_energy, energy, true_forces, forces = (
            torch.cat(each) for each in zip(*self._tested, strict=True)
        )
        pairs = {
            "energy": (
                true_energy,
                energy,
                "energy less the training mean (meV)",
                "meV",
            ),
            "forces": (
                true_forces.flatten(),
                forces.flatten(),
                "force component (meV/Å)",
                "meV/Å",
            ),
        }
        paths = []
        for name, (target, prediction, label, unit) in pairs.items():
            error = (prediction - target).abs().mean()
            every = -(-len(target) // _DRAWN_COMPONENTS)
            paths.append(folder / f"parity_{name}.png")
            parity(
                paths[-1],
                target[::every],
                prediction[::every],
                label,
                f"mean absolute error {error:.3g} {unit}",
            )
        return paths

    # ---- the frames that the weights belong to -----------------------------------------------

    def setup(self, stage: str) -> None:
        """Take the statistics of the training frames before training starts."""
        allow_unused_weights(self.trainer)
        if stage == "fit" and self.statistics is None:
            self.statistics = self._data.statistics

    def on_fit_start(self) -> None:
        """Check that the frames are of the molecule that the weights were trained on."""
        self._check_frames()

    def on_validation_start(self) -> None:
        """Check that the frames are of the molecule that the weights were trained on."""
        self._check_frames()

    def on_test_start(self) -> None:
        """Check that the frames are of the molecule that the weights were trained on."""
        self._check_frames()

    def on_predict_start(self) -> None:
        """Check that the frames are of the molecule that the weights were trained on."""
        self._check_frames()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the statistics with the weights."""
        checkpoint["md17"] = None if self.statistics is None else asdict(self.statistics)

    def take(self, checkpoint: Mapping[str, Any]) -> None:
        """Read the statistics."""
        known = checkpoint["md17"]
        self.statistics = None if known is None else Statistics(**known)

    @property
    def _known(self) -> Statistics:
        if self.statistics is None:
            raise ValueError("the model has not been trained: give a checkpoint with --ckpt_path.")
        return self.statistics

    @property
    def _data(self) -> MD17:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, MD17):
            raise ValueError(f"MD17Model is trained on MD17 data; got {type(data).__name__}.")
        return data

    def _check_frames(self) -> None:
        known, given = self._known, self._data.statistics
        for name, key in (("theory", "source"), ("molecule", "molecule"), ("charges", "molecule")):
            trained, found = getattr(known, name), getattr(given, name)
            if trained != found:
                raise ValueError(
                    f"data.{key}: the {name} of the frames: {found!r}; the checkpoint was trained "
                    f"on {trained!r}."
                )
