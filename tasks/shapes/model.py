"""A network that counts shapes, with its training and its tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.nn.functional import cross_entropy

from attention import invariance_error
from tasks.base import TaskModel
from tasks.cache import write_atomic
from tasks.loader import Share
from tasks.shapes.batches import CloudBatch
from tasks.shapes.data import Shapes
from tasks.shapes.motions import MOTIONS
from tasks.shapes.networks import CountingNetwork, LieCounter
from tasks.shapes.pictures import draw_accuracy, draw_predictions

_MEASURED_CLOUDS = 32


class ShapesModel(TaskModel):
    """Count the shapes of a cloud: one classification for each shape.

    The loss is the cross-entropy of the counts, averaged over the shapes; so is the accuracy.

    Args:
        counter: Makes the network: ``LieCounter`` or ``SetTransformer`` with their settings, or a
            ``CountingNetwork`` of your own.
        learning_rate: Largest learning rate.
        weight_decay: Decoupled weight decay.
        warmup: Share of the training steps over which the learning rate rises.
        in_features: Number of features of a point; the data say it.
        shapes: Names of the shapes; the data say them.
        choices: Number of values that a count may have; the data say it.

    Raises:
        ValueError: If the settings of the network do not fit each other, or a number is out of
            range.
    """

    criterion: ClassVar[str] = "error"

    links: ClassVar[Sequence[tuple[str, str]]] = (
        ("data.in_features", "model.in_features"),
        ("data.shapes", "model.shapes"),
        ("data.choices", "model.choices"),
    )

    @classmethod
    def wrote(cls, checkpoint: Mapping[str, Any]) -> bool:
        return {"shapes", "choices"} <= checkpoint["hyper_parameters"].keys()

    def __init__(
        self,
        counter: Callable[[int, int], CountingNetwork] = LieCounter,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.0,
        warmup: float = 0.05,
        in_features: int = 1,
        shapes: Sequence[str] = ("triangle", "square", "pentagon", "L"),
        choices: int = 3,
    ) -> None:
        super().__init__(learning_rate, weight_decay, warmup)
        self.save_hyperparameters()
        self.counter = counter(in_features, len(shapes) * choices)
        self.shapes, self.choices = list(shapes), choices
        self._tested: list[tuple[int, CloudBatch, Tensor]] = []
        self._found: dict[str, float | str] | None = None

    def forward(self, batch: CloudBatch, generator: torch.Generator | None = None) -> Tensor:
        """Scores of the counts.

        Args:
            batch: Clouds.
            generator: Source of randomness for the network.

        Returns:
            ``(B, shapes, choices)``.
        """
        scores: Tensor = self.counter(batch.features, batch.points, batch.mask, generator)
        return scores.unflatten(-1, (len(self.shapes), self.choices))

    # ---- steps -------------------------------------------------------------------------------

    def training_step(self, batch: CloudBatch) -> Tensor:
        """Cross-entropy of the counts."""
        scores = self(batch, self.step_generator())
        self._log("train/error", _wrong(scores, batch), batch)
        loss = cross_entropy(scores.flatten(0, 1), batch.counts.flatten())
        return loss * batch.weight.mean().to(loss.dtype)

    def validation_step(self, batch: CloudBatch) -> None:
        """Log the share of wrong counts."""
        self._log("val/error", _wrong(self(batch), batch), batch)

    def test_step(self, batch: CloudBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log the accuracy on one of the test sets, and keep the scores."""
        scores = self(batch)
        right = 1 - _wrong(scores, batch)
        self._log(f"test/accuracy_{MOTIONS[dataloader_idx]}", right, batch)
        self._tested.append((dataloader_idx, batch, scores))

    def predict_step(self, batch: CloudBatch) -> Tensor:
        """Predict: numbers of the clouds beside the true and the predicted counts."""
        predicted = self(batch).argmax(-1)
        return torch.cat((batch.index[:, None], batch.counts, predicted), 1)

    def _log(self, name: str, value: Tensor, batch: CloudBatch) -> None:
        training = name.startswith("train")
        self.log(
            name,
            value,
            on_step=False,
            on_epoch=True,
            prog_bar=not training,
            batch_size=Share.of_this_process().count(len(batch.counts)),
            sync_dist=True,
            add_dataloader_idx=False,
        )

    # ---- what a run reports ------------------------------------------------------------------

    def on_test_epoch_start(self) -> None:
        """Forget an earlier test."""
        self._tested, self._found = [], None

    def on_test_epoch_end(self) -> None:
        """Bring together what the processes have tested."""
        parts = [(*batch, scores) for _, batch, scores in self._tested]
        numbers = [number for number, *_ in self._tested]
        self._tested = [
            (number, CloudBatch(*batch), scores)
            for number, (*batch, scores) in zip(
                numbers, Share.of_this_process().gather(parts), strict=True
            )
        ]

    def label(self, data: LightningDataModule) -> str:
        assert isinstance(data, Shapes)
        group = self.counter.group
        named = [type(self.counter).__name__]
        named += [] if group is None else [type(group).__name__]
        return "-".join([*named, data.motion])

    @property
    def curve_label(self) -> str:
        return "share of wrong counts"

    def results(self) -> dict[str, float | str]:
        if self._found is None:
            self._found = self._measure()
        return self._found

    def _measure(self) -> dict[str, float | str]:
        data, network = self._data, self.counter
        metrics = self.trainer.callback_metrics
        accuracy = {name: float(metrics[f"test/accuracy_{name}"]) for name in MOTIONS}
        found: dict[str, float | str] = {
            "network": type(network).__name__,
            "train/motion": data.motion,
            "train/augment": data.augment,
            "train/clouds": data.clouds["train"],
            "test/clouds": data.clouds["test"],
            **{f"test/accuracy_{name}": accuracy[name] for name in MOTIONS},
            "test/error": 1 - accuracy[data.motion],
            "test/error_constant": data.most_common_error(),
            "equivariance/group": str(network.group),
            "equivariance/kind": str(network.equivariance),
        }
        for motion, set_name in enumerate(MOTIONS):
            correct = torch.cat(
                [s.argmax(-1) == b.counts for number, b, s in self._tested if number == motion]
            )
            for shape, share in zip(self.shapes, correct.float().mean(0), strict=True):
                found[f"test/accuracy_{set_name}_{shape}"] = float(share)
        if isinstance(network, LieCounter):
            first = self._tested[0][1]
            batch = CloudBatch(*(part[:_MEASURED_CLOUDS].to(self.device) for part in first))
            clouds = batch.features, batch.points / network.unit, batch.mask
            found["equivariance/error"] = invariance_error(network.network, *clouds)
            found["equivariance/error_float32"] = invariance_error(
                network.network, *clouds, dtype=torch.float32
            )
        return found

    def summary(self) -> list[str]:
        found = self.results()
        sets = ", ".join(f"{name} {found[f'test/accuracy_{name}']:.3f}" for name in MOTIONS)
        constant = 1 - float(found["test/error_constant"])
        lines = [
            f"Accuracy on {found['test/clouds']} test clouds as they are (D), translated (T2), and "
            f"rotated and translated (SE2): {sets}; guessing the most common counts scores "
            f"{constant:.3f} on D."
        ]
        if "equivariance/error" in found:
            kind = str(found["equivariance/kind"]).replace("_", " ")
            lines.append(
                f"Invariance to {self.counter.group}: {kind}; the scores change by "
                f"{found['equivariance/error']:.1e} of their deviation under random elements "
                f"({found['equivariance/error_float32']:.1e} in float32)."
            )
        return lines

    def write_predictions(self, path: Path, predictions: Sequence[Any]) -> None:
        table = torch.cat(list(predictions)).numpy()
        columns = ["cloud", *self.shapes, *(f"predicted {name}" for name in self.shapes)]
        buffer = StringIO()
        np.savetxt(
            buffer, table[table[:, 0].argsort()], "%d", ",", header=",".join(columns), comments=""
        )
        write_atomic(path, buffer.getvalue().encode())

    def draw(self, folder: Path) -> list[Path]:
        found, data = self.results(), self._data
        paths = folder / "accuracy.png", folder / "predictions.png"
        accuracy: dict[str, list[float]] = {
            name: [float(found[f"test/accuracy_{name}_{shape}"]) for shape in self.shapes]
            for name in MOTIONS
        }
        draw_accuracy(paths[0], self.shapes, accuracy, 1 - float(found["test/error_constant"]))
        on_d = [(batch, scores) for number, batch, scores in self._tested if number == 0]
        first, scores = on_d[len(on_d) // 2]  # Clouds of middle size.
        draw_predictions(
            paths[1],
            self.shapes,
            data.patterns.unit,
            first.points.cpu().numpy(),
            first.mask.cpu().numpy(),
            first.counts.cpu().numpy(),
            scores.argmax(-1).cpu().numpy(),
        )
        return list(paths)

    @property
    def _data(self) -> Shapes:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, Shapes):
            raise ValueError(f"ShapesModel is trained on shapes; got {type(data).__name__}.")
        return data


def _wrong(scores: Tensor, batch: CloudBatch) -> Tensor:
    """Share of wrong counts."""
    return (scores.detach().argmax(-1) != batch.counts).float().mean()
