"""Regression: one or several numbers of a cloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attention import Network, invariance_error
from tasks.data.clouds import Clouds
from tasks.data.module import CloudData
from tasks.data.statistics import Statistics
from tasks.objectives.base import Column, Facts, Figures, Objective, Prediction, Tested, all_of
from tasks.sources.atoms import charges_of

__all__ = ["Regression"]


class Regression(Objective[CloudData]):
    """Learn the standardized targets with the L1 loss.

    A network that sums over the points learns what is left of the targets after the best sum over
    the kinds of points, ``Composition``, which is nine tenths of an energy of atomization; its own
    sum is in units of the mean number of points, so that it begins as small as a mean. All of these
    are of the training part, and are kept with the weights. Where there are several targets, the
    figure by which weights are chosen, ``val/mae``, is the mean of their errors in units of the
    deviations.

    Args:
        facts: Facts of the data.
    """

    mean: Tensor
    std: Tensor
    references: Tensor
    size: Tensor

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self.targets: list[dict[str, str]] = []
        self.kinds: list[str] = []
        self._sums = False
        self.register_buffer("mean", torch.zeros(facts.outputs))
        self.register_buffer("std", torch.ones(facts.outputs))
        self.register_buffer("references", torch.zeros(len(facts.kinds), facts.outputs))
        self.register_buffer("size", torch.ones(()))

    def join(self, network: Network) -> None:
        super().join(network)
        self._sums = network.pooling == "sum"

    # ---- the data ----------------------------------------------------------------------------

    def learn_from(self, data: CloudData) -> None:
        self.targets = [
            {"name": t.name, "unit": t.unit, "description": t.description} for t in data.targets
        ]
        self.kinds = list(data.kinds)
        statistics = self._statistics(data, "train")
        if self._sums:
            fit = statistics.composition
            mean, std = fit.constant, fit.std
            self.references.copy_(torch.from_numpy(fit.weights))
            self.size.fill_(fit.size)
        else:
            mean, std = statistics.mean, statistics.std
        self.mean.copy_(torch.from_numpy(mean))
        self.std.copy_(torch.from_numpy(std))

    def check(self, data: CloudData) -> None:
        given = ", ".join(target.name for target in data.targets)
        if given != self._names:
            raise ValueError(
                f"data.target is {given!r}, but the checkpoint was trained on {self._names!r}; "
                "give that as --data.target."
            )
        if list(data.kinds) != self.kinds:
            raise ValueError(
                f"the data have the elements {', '.join(data.kinds)}, but the checkpoint was "
                f"trained on {', '.join(self.kinds)}."
            )

    def _statistics(self, data: CloudData, *parts: str) -> Statistics:
        return Statistics.of(
            {part: data.values(part) for part in parts},
            {part: data.kind_counts(part) for part in parts},
            [target.name for target in data.targets],
        )

    def get_extra(self) -> dict[str, Any]:
        return {"targets": self.targets, "kinds": self.kinds}

    def set_extra(self, kept: Mapping[str, Any]) -> None:
        self.targets, self.kinds = kept["targets"], kept["kinds"]

    @property
    def _names(self) -> str:
        return ", ".join(target["name"] for target in self.targets)

    @property
    def _unit(self) -> str:
        return self.targets[0]["unit"] if len(self.targets) == 1 else "deviations"

    # ---- training and evaluation -------------------------------------------------------------

    def known(self, batch: Clouds) -> Tensor:
        """What a network need not learn, ``(B, T)``: the mean, and the sum over the kinds."""
        counts = batch.features[..., list(self.facts.kinds)].sum(1)  # (B, K)
        # Not a product of matrices, which automatic half precision would round.
        return self.mean + (counts[..., None] * self.references).sum(1)

    def standardized(
        self, network: Network, batch: Clouds, generator: torch.Generator | None = None
    ) -> Tensor:
        """Predict the standardized targets, ``(B, T)``."""
        output: Tensor = network(*batch.inputs, edges=batch.edges, generator=generator)
        return output / self.size

    def loss(
        self, network: Network, batch: Clouds, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Prediction]:
        prediction, known = self.standardized(network, batch, generator), self.known(batch)
        error = (prediction - (batch.targets - known) / self.std).abs()
        return error.mean(1).mean(), (prediction.detach() * self.std + known,)

    def predict(self, network: Network, batch: Clouds) -> Prediction:
        return (self.standardized(network, batch) * self.std + self.known(batch),)

    def errors(self, prediction: Prediction, batch: Clouds) -> dict[str, Tensor]:
        error = (prediction[0] - batch.targets).abs()
        found = {"mae": error[:, 0] if len(self.targets) == 1 else (error / self.std).mean(1)}
        if len(self.targets) > 1:
            for target, own in zip(self.targets, error.unbind(1), strict=True):
                found[f"{target['name']}_mae"] = own
        return found

    # ---- what a test says --------------------------------------------------------------------

    def keep(self, prediction: Prediction, batch: Clouds) -> tuple[Tensor, ...]:
        return batch.targets, prediction[0]

    def results(self, network: Network, tested: Sequence[Tested], data: CloudData) -> Figures:
        statistics = self._statistics(data, "train", "test")
        constant = torch.from_numpy(statistics.constant_mae["test"])
        composition = torch.from_numpy(statistics.composition.mae["test"])
        errors = (all_of(tested, 1) - all_of(tested, 0)).abs().double().mean(0)
        found: Figures = {"target": self._names, "unit": self._unit}
        for name, of_targets in (
            ("mae", errors),
            ("mae_constant", constant),
            ("mae_composition", composition),
        ):
            std = self.std.to(of_targets).cpu() if len(self.targets) > 1 else 1.0
            found[f"test/{name}"] = float((of_targets / std).mean())
            for target, own in zip(self.targets, of_targets, strict=True):
                found[f"{target['name']}/{name}"] = float(own)
        for target in self.targets:
            found[f"{target['name']}/unit"] = target["unit"]
        return found

    def summary(self, found: Figures, data: CloudData) -> list[str]:
        lines = [
            f"Test error of {found['target']}: {found['test/mae']:.4g} {found['unit']} on "
            f"{found[f'test/{data.noun}']} {data.noun}; {self._scores(found, 'test')}."
        ]
        if len(self.targets) > 1:
            lines += [
                f"  {t['name']}: {found[t['name'] + '/mae']:.4g} {t['unit']}; "
                f"{self._scores(found, t['name'])}."
                for t in self.targets
            ]
        return lines

    def _scores(self, found: Figures, name: str) -> str:
        unit = found["unit" if name == "test" else f"{name}/unit"]
        text = f"a constant scores {found[f'{name}/mae_constant']:.4g} {unit}"
        if self.kinds:
            fit = found[f"{name}/mae_composition"]
            text += f", the best sum over elements {fit:.4g}"
        return text

    def symmetry_errors(
        self, network: Network, batch: Clouds, dtype: torch.dtype
    ) -> dict[str, float]:
        return {"error": invariance_error(network, *batch.inputs, dtype=dtype)}

    @property
    def curve_label(self) -> str:
        return f"mean absolute error of {self._names} ({self._unit})"

    def draw(
        self, folder: Path, tested: Sequence[Tested], found: Figures, data: CloudData
    ) -> list[Path]:
        from tasks.plots.curves import parity  # Training needs no matplotlib.

        true, given = all_of(tested, 0), all_of(tested, 1)
        paths = []
        for place, target in enumerate(self.targets):
            name = "parity.png" if len(self.targets) == 1 else f"parity_{target['name']}.png"
            error = f"mean absolute error {found[target['name'] + '/mae']:.3g} {target['unit']}"
            label = f"{target['name']} ({target['unit']})"
            parity(folder / name, true[:, place], given[:, place], label, error)
            paths.append(folder / name)
        return paths

    def columns(self, labelled: bool = True) -> list[Column]:
        return [Column(f"{target['name']} ({target['unit']})") for target in self.targets]

    def cells(self, prediction: Prediction, batch: Clouds) -> Tensor:
        return prediction[0]

    @property
    def described(self) -> str:
        of_kinds = f" of {', '.join(self.kinds)}" if self.kinds else ""
        return super().described + of_kinds

    @property
    def deviations(self) -> Tensor:
        return self.std

    @property
    def elements(self) -> Mapping[str, int]:
        return charges_of(self.kinds)
