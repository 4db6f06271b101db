"""A model that learns how a Hamiltonian system moves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor

from tasks.base import TaskModel
from tasks.cache import write_atomic
from tasks.dynamics.data import DynamicsData, TrajectoryBatch
from tasks.dynamics.fields import LearnedField, LearnedHamiltonian, LieHamiltonian
from tasks.dynamics.integrators import RK4, Integrator
from tasks.dynamics.losses import Loss, RollOut
from tasks.dynamics.metrics import LONG, SHORT, drift, drifts, roll_out, squared_error
from tasks.dynamics.plots import draw_conserved, draw_error, draw_trajectories
from tasks.dynamics.systems import Quantity, Springs, System
from tasks.loader import Share, allow_unused_weights

_DRAWN_SYSTEMS = 4
_ITERATIONS = 20  # Of L-BFGS in one step of the trainer.


class DynamicsModel(TaskModel):
    """Learn the Hamiltonian of a system, or a baseline, from stretches of trajectories.

    Args:
        system: The system, the same as that of the data; the command line takes it from there.
        field: Makes what is learned: ``LieHamiltonian``, the baselines ``FC``, ``HFC``, ``OGN``
            and ``HOGN`` with their settings, or a ``LearnedField`` of your own.
        loss: What training makes small: ``RollOut``, ``Quadrature`` or ``Slope``.
        integrator: Makes the trajectories of validation and test.
        optimizer: ``adamw``, or ``lbfgs``: a quasi-Newton method, 20 iterations a step, each step
            on all training systems at once. Small networks end far lower with it, in double
            precision (``--trainer.precision 64-true``).
        learning_rate: Largest learning rate of AdamW.
        weight_decay: Decoupled weight decay of AdamW.
        warmup: Share of the training steps over which the learning rate of AdamW rises.

    Raises:
        ValueError: If the settings do not fit each other, or a number is out of range.
    """

    criterion: ClassVar[str] = "mse_5"
    links: ClassVar[Sequence[tuple[str, str]]] = (("data.system", "model.system"),)
    marks: ClassVar[Collection[str]] = ("dynamics",)
    of_training: ClassVar[Collection[str]] = (*TaskModel.of_training, "loss")
    free: ClassVar[Collection[str]] = (*TaskModel.free, "integrator")

    def __init__(
        self,
        system: System = Springs(),  # noqa: B008 (immutable)
        field: Callable[[System], LearnedField] = LieHamiltonian,
        loss: Loss = RollOut(),  # noqa: B008 (immutable)
        integrator: Integrator = RK4(),  # noqa: B008 (immutable)
        optimizer: Literal["adamw", "lbfgs"] = "adamw",
        learning_rate: float = 3e-3,
        weight_decay: float = 0.0,
        warmup: float = 0.02,
    ) -> None:
        super().__init__(learning_rate, weight_decay, warmup)
        # A checkpoint that holds an object is not read under weights_only.
        self.save_hyperparameters(ignore=["system"])
        self.system = system
        self.field = field(system)
        self.loss, self.integrator, self.optimizer = loss, integrator, optimizer
        self._tested: list[tuple[Tensor, ...]] = []

    def forward(self, batch: TrajectoryBatch, points: int | None = None) -> Tensor:
        """Roll out from the first state of each stretch.

        Args:
            batch: Stretches of trajectories.
            points: Number of points in time; as many as the stretches have when absent.

        Returns:
            States ``(B, points, 2, N, dim)``.

        Raises:
            DivergenceError: A trajectory left every bound.
        """
        batch = self._cast(batch)
        points = batch.states.shape[1] if points is None else points
        field = self.field.of(batch.parameters)
        return roll_out(self.system, field, self.integrator, batch.states[:, 0], points)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with its schedule, or L-BFGS with a line search (Liu and Nocedal 1989)."""
        if self.optimizer == "adamw":
            return super().configure_optimizers()
        return torch.optim.LBFGS(
            self.parameters(),
            max_iter=_ITERATIONS,
            history_size=50,
            tolerance_grad=1e-12,
            tolerance_change=1e-15,
            line_search_fn="strong_wolfe",
        )

    def _cast(self, batch: TrajectoryBatch) -> TrajectoryBatch:
        """The batch in the precision of the weights."""
        states, parameters = (each.to(self.dtype) for each in batch[:2])
        return batch._replace(states=states, parameters=parameters)

    # ---- steps -------------------------------------------------------------------------------

    def training_step(self, batch: TrajectoryBatch) -> Tensor:
        """The loss on the stretches."""
        batch = self._cast(batch)
        generator = self.step_generator()
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        field = self.field.of(batch.parameters, seed)
        loss = self.loss(self.system, field, batch.states)
        name = "train/mse_5" if isinstance(self.loss, RollOut) else "train/loss"
        self._log(name, loss.detach(), batch)
        loss = loss * batch.weight.mean().to(loss.dtype)
        # Its line search must find the same step in all processes.
        return Share.of_this_process().mean(loss) if self.optimizer == "lbfgs" else loss

    def validation_step(self, batch: TrajectoryBatch) -> None:
        """Log the roll-out error at 5 points from time 0."""
        error = squared_error(self(batch, SHORT), batch.states[:, :SHORT])
        self._log("val/mse_5", error.mean(), batch)

    def test_step(self, batch: TrajectoryBatch) -> None:
        """Log the roll-out errors at 5 and 100 points, and keep the trajectories."""
        batch = self._cast(batch)
        predicted = self(batch)
        error = squared_error(predicted, batch.states)
        self._log("test/mse_5", error[:, :SHORT].mean(), batch)
        self._log("test/mse_100", error[:, :LONG].mean(), batch)
        self._tested.append((batch.states, batch.parameters, predicted))

    def predict_step(self, batch: TrajectoryBatch) -> Tensor:
        """Predict the states after 99 steps: numbers of the systems beside them, float64."""
        final = self(batch)[:, -1].flatten(1)
        return torch.cat((batch.index[:, None].double(), final.double()), 1)

    def _log(self, name: str, value: Tensor, batch: TrajectoryBatch) -> None:
        training = name.startswith("train")
        self.log(
            name,
            value,
            on_step=False,
            on_epoch=True,
            prog_bar=not training,
            batch_size=Share.of_this_process().count(len(batch.states)),
            sync_dist=True,
        )

    # ---- what a run reports ------------------------------------------------------------------

    def on_test_epoch_start(self) -> None:
        """Forget an earlier test."""
        self._tested = []

    def on_test_epoch_end(self) -> None:
        """Bring together what the processes have tested."""
        self._tested = Share.of_this_process().gather(self._tested)

    def label(self, data: LightningDataModule) -> str:
        assert isinstance(data, DynamicsData)
        return f"{type(data.system).__name__}-{self.field.description}-{data.counts['train']}"

    @property
    def curve_label(self) -> str:
        return "mean squared error of a roll-out over 5 points"

    def results(self) -> dict[str, float | str]:
        metrics = self.trainer.callback_metrics
        still_short, still_long = self._data.still_error
        found: dict[str, float | str] = {
            "system": type(self.system).__name__,
            "field": self.field.description,
            "integrator": repr(self.integrator),
            "test/mse_5": float(metrics["test/mse_5"]),
            "test/mse_5_constant": still_short,
            "test/mse_100": float(metrics["test/mse_100"]),
            "test/mse_100_constant": still_long,
            "train/systems": self._data.counts["train"],
            "test/systems": sum(len(states) for states, *_ in self._tested),
            "reference/energy_drift": float(self._data.part("test").energy_drift.max()),
        }
        for name, values in self._drifts().items():
            found[f"drift/{name}"] = float(values[:, -1].median())
        return found

    def _drifts(self) -> dict[str, Tensor]:
        """Drift of every conserved quantity of the tested systems, ``(systems, points)``."""
        batches: list[dict[str, Tensor]] = []
        for _, parameters, predicted in self._tested:
            found = drifts(self.system, predicted.double(), parameters.double())
            if isinstance(self.field, LearnedHamiltonian):
                given = predicted.to(self.device), parameters.to(self.device)
                found["learned_energy"] = self._learned_energy_drift(*given)
            batches.append({name: each.cpu() for name, each in found.items()})
        return {name: torch.cat([each[name] for each in batches]) for name in batches[0]}

    def _learned_energy_drift(self, states: Tensor, parameters: Tensor) -> Tensor:
        """Drift of the energy that was learned, compared with the scale of the true one.

        The learned energy has a constant of its own.
        """
        assert isinstance(self.field, LearnedHamiltonian)
        series = []
        with torch.no_grad():
            for state in states.unbind(1):
                energy = self.field.energy(state, parameters)[:, None]
                series.append(Quantity(energy, self.system.energy_scale(state, parameters)))
        return drift(series)

    def summary(self) -> list[str]:
        found = self.results()
        names = [name for name in found if name.startswith("drift/")]
        drifted = ", ".join(
            f"{name.removeprefix('drift/').replace('_', ' ')} {found[name]:.1e}" for name in names
        )
        return [
            f"Roll-out error on {found['test/systems']} systems of {found['system']}: "
            f"{found['test/mse_5']:.3g} over 5 points, {found['test/mse_100']:.3g} over 100; "
            f"states that stay score {found['test/mse_5_constant']:.3g} and "
            f"{found['test/mse_100_constant']:.3g}.",
            f"Median drift over 100 points, relative: {drifted}.",
        ]

    def write_predictions(self, path: Path, predictions: Sequence[Any]) -> None:
        table = torch.cat(list(predictions)).numpy()
        axes = "xyz"[: self.system.dim] if self.system.dim > 1 else ("angle",)
        columns = ["system"]
        for kind in ("position", "momentum"):
            columns += [
                f"{kind} {axis} of particle {n}"
                for n in range(self.system.particles)
                for axis in axes
            ]
        buffer = StringIO()
        np.savetxt(
            buffer,
            table[table[:, 0].argsort()],
            ["%d", *["%.8g"] * (table.shape[1] - 1)],
            ",",
            header=",".join(columns),
            comments="",
        )
        write_atomic(path, buffer.getvalue().encode())

    def draw(self, folder: Path) -> list[Path]:
        states, parameters, predicted = self._tested[0]
        times = self.system.spacing * torch.arange(predicted.shape[1])
        few = slice(_DRAWN_SYSTEMS)
        paths = [folder / f"{name}.png" for name in ("trajectories", "error", "conserved")]
        draw_trajectories(paths[0], self.system, states[few], predicted[few], parameters[few])
        errors = torch.cat([squared_error(given, true) for true, _, given in self._tested])
        draw_error(paths[1], times, {self.field.description: errors})
        draw_conserved(paths[2], times, {self.field.description: self._drifts()})
        return paths

    # ---- the system that the weights belong to -----------------------------------------------

    def setup(self, stage: str) -> None:
        """Let processes train together, though a constant of the energy moves nothing."""
        allow_unused_weights(self.trainer)

    def on_fit_start(self) -> None:
        """Check that the data are of the model's system."""
        self._check_system()

    def on_validation_start(self) -> None:
        """Check that the data are of the model's system."""
        self._check_system()

    def on_test_start(self) -> None:
        """Check that the data are of the model's system."""
        self._check_system()

    def on_predict_start(self) -> None:
        """Check that the data are of the model's system."""
        self._check_system()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the system with the weights."""
        checkpoint["dynamics"] = repr(self.system)

    def take(self, checkpoint: Mapping[str, Any]) -> None:
        """Check the system.

        Raises:
            ValueError: If the weights are of another system.
        """
        if checkpoint["dynamics"] != repr(self.system):
            raise ValueError(
                f"data.system is {self.system}, but the checkpoint was trained on "
                f"{checkpoint['dynamics']}."
            )

    @property
    def _data(self) -> DynamicsData:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, DynamicsData):
            raise ValueError(
                f"DynamicsModel is trained on DynamicsData; got {type(data).__name__}."
            )
        return data

    def _check_system(self) -> None:
        if self._data.system != self.system:
            raise ValueError(
                f"model.system is {self.system}, but data.system is {self._data.system}."
            )
        if self.optimizer == "lbfgs" and self._data.batch_size < self._data.counts["train"]:
            raise ValueError(
                f"data.batch_size: {self._data.batch_size}; lbfgs needs all "
                f"{self._data.counts['train']} training systems in one batch."
            )
        points = self._data.chunk
        if points < self.loss.least_points:
            raise ValueError(
                f"data.chunk: {points} points; {type(self.loss).__name__} needs "
                f"{self.loss.least_points} or more."
            )
