"""Counting: how often each of several kinds of shape appears in a cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from attention import Network, invariance_error
from liegroups import Equivariance
from tasks.data.clouds import Clouds
from tasks.data.module import CloudData
from tasks.objectives.base import Column, Facts, Figures, Objective, Prediction, Tested, all_of

__all__ = ["Counting"]


class Counting(Objective[CloudData]):
    """Learn to count: one classification for each shape.

    The loss is the cross-entropy of the counts, averaged over the shapes; so is the share of wrong
    counts, by which weights are chosen.

    Args:
        facts: Facts of the data, of which the outputs are the shapes.
    """

    criterion: ClassVar[str] = "error"

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.choices = facts.choices
        self.shapes: list[str] = []

    @property
    def out_features(self) -> int:
        return self.facts.outputs * self.choices

    # ---- the data ----------------------------------------------------------------------------

    def learn_from(self, data: CloudData) -> None:
        self.shapes = [target.name for target in data.targets]

    def check(self, data: CloudData) -> None:
        given = [target.name for target in data.targets]
        if given != self.shapes or data.choices != self.choices:
            raise ValueError(
                f"data: {', '.join(given)}, each up to {data.choices - 1} times; the "
                f"checkpoint was trained on {', '.join(self.shapes)}, each up to "
                f"{self.choices - 1} times."
            )

    def get_extra(self) -> dict[str, Any]:
        return {"shapes": self.shapes}

    def set_extra(self, kept: Mapping[str, Any]) -> None:
        self.shapes = kept["shapes"]

    # ---- training and evaluation -------------------------------------------------------------

    def scores(
        self, network: Network, batch: Clouds, generator: torch.Generator | None = None
    ) -> Tensor:
        """Scores of the counts, ``(B, shapes, choices)``."""
        output: Tensor = network(*batch.inputs, generator=generator)
        return output.unflatten(-1, (-1, self.choices))

    def loss(
        self, network: Network, batch: Clouds, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Prediction]:
        scores = self.scores(network, batch, generator)
        loss = cross_entropy(scores.flatten(0, 1), batch.targets.flatten())
        return loss, (scores.detach().argmax(-1),)

    def predict(self, network: Network, batch: Clouds) -> Prediction:
        return (self.scores(network, batch).argmax(-1),)

    def errors(self, prediction: Prediction, batch: Clouds) -> dict[str, Tensor]:
        return {"error": (prediction[0] != batch.targets).float().mean(1)}

    # ---- what a test says --------------------------------------------------------------------

    def keep(self, prediction: Prediction, batch: Clouds) -> tuple[Tensor, ...]:
        mask = batch.mask
        if mask is None:
            mask = torch.ones_like(batch.points[..., 0], dtype=torch.bool)
        return batch.targets, prediction[0], batch.points, mask

    def results(self, network: Network, tested: Sequence[Tested], data: CloudData) -> Figures:
        found: Figures = {"train/motion": data.trained_like, "train/augment": str(data.augment)}
        for number, name in enumerate(data.test_sets):
            right = (all_of(tested, 0, number) == all_of(tested, 1, number)).double().mean(0)
            found[_accuracy(name)] = float(right.mean())
            for shape, share in zip(self.shapes, right, strict=True):
                found[f"{_accuracy(name)}_{shape}"] = float(share)
        counts = data.values("test")
        common = (counts[..., None] == np.arange(self.choices)).mean(0).max(-1)
        return found | {
            "test/error": 1 - float(found[_accuracy(data.trained_like)]),
            "test/error_constant": float(1 - common.mean()),
        }

    def summary(self, found: Figures, data: CloudData) -> list[str]:
        sets = ", ".join(f"{name} {found[_accuracy(name)]:.3f}".strip() for name in data.test_sets)
        constant = 1 - float(found["test/error_constant"])
        return [
            f"Accuracy on {found[f'test/{data.noun}']} test {data.noun}{data.test_sets_in_words}: "
            f"{sets}; guessing the most common counts scores {constant:.3f}."
        ]

    def symmetry_errors(
        self, network: Network, batch: Clouds, dtype: torch.dtype
    ) -> dict[str, float]:
        if network.equivariance is Equivariance.NONE:
            return {}
        return {"error": invariance_error(network, *batch.inputs, dtype=dtype)}

    @property
    def curve_label(self) -> str:
        return "share of wrong counts"

    def draw(
        self, folder: Path, tested: Sequence[Tested], found: Figures, data: CloudData
    ) -> list[Path]:
        from tasks.plots.shapes import draw_accuracy, draw_predictions

        paths = folder / "accuracy.png", folder / "predictions.png"
        accuracy: dict[str, list[float]] = {
            name: [float(found[f"{_accuracy(name)}_{shape}"]) for shape in self.shapes]
            for name in data.test_sets
        }
        draw_accuracy(paths[0], self.shapes, accuracy, 1 - float(found["test/error_constant"]))
        if data.point_dim != 2:
            return [paths[0]]
        on_d = [each.parts for each in tested if each.test_set == 0]
        counts, predicted, points, mask = on_d[len(on_d) // 2]  # Clouds of middle size.
        draw_predictions(
            paths[1],
            self.shapes,
            data.unit,
            *(each.numpy() for each in (points, mask, counts, predicted)),
        )
        return list(paths)

    def columns(self, labelled: bool = True) -> list[Column]:
        given = self.shapes if labelled else []
        return [Column(name, "%d") for name in (*given, *(f"predicted {n}" for n in self.shapes))]

    @property
    def described(self) -> str:
        return f"counts of {', '.join(self.shapes)}"

    def cells(self, prediction: Prediction, batch: Clouds) -> Tensor:
        return torch.cat((batch.targets, prediction[0]), 1)


def _accuracy(test_set: str) -> str:
    """The name of the figure of a test set."""
    return "test/accuracy" + (f"_{test_set}" if test_set else "")
