"""Energies and, as their negative gradient, forces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from attention import Network
from liegroups.checks import check_length, check_number
from tasks.data.clouds import Clouds, one_hot
from tasks.objectives.base import Column, Facts, Figures, Objective, Prediction, Tested, all_of
from tasks.objectives.gradients import Energy, energy_and_forces, energy_of, symmetry_errors
from tasks.objectives.repulsion import repulsion_energy
from tasks.sources.md17.data import MD17, Molecule
from tasks.sources.md17.frames import ELEMENTS

__all__ = ["EnergiesAndForces"]

_DRAWN_COMPONENTS: Final = 20_000
_LARGEST_WEIGHT: Final = 1e12  # Of which a loss of single precision is far from infinite.


class EnergiesAndForces(Objective[MD17]):
    r"""Learn the energy of a molecule with its gradient.

    The network gives the energy less the mean of the training frames, in units of the root mean
    square training force times 1 Å. The loss is

    .. math::
        w_E \, \mathrm{mean}\!\left(\frac{\Delta E}{s}\right)^2
        + w_F \, \mathrm{mean}\!\left(\frac{\Delta F}{F_\mathrm{rms}}\right)^2 .

    Errors of the energy are an atom's by default, :math:`s = N F_\mathrm{rms} \cdot 1` Å for N
    atoms: the convention of NequIP and MACE, with energies in eV and forces in eV/Å. Both weights 1
    are NequIP's; 1 and 100, then 1000 and 100, MACE's. In units of the deviation of the energies on
    the training frames, the other choice of ``energies``, a weight of 1 is some hundred times as
    much: few energies then make most of every gradient, and forces are learned badly.

    Args:
        facts: Facts of the data.
        energy_weight: Weight of the energy in the loss.
        force_weight: Weight of the forces in the loss.
        energies: What an error of the energy is measured in: ``atoms``, or ``deviation``, as up to
            version 0.1.
        late_energy_weight: Weight of the energy in the second stage; None for no second stage.
        late: Share of the training after which the second stage begins.
        scale: Factor on what the network gives. A sum over atoms of features of unit variance has
            forces ten times those of molecules, and a training that starts lower ends lower.
        repulsion: Whether the energy is what the network gives and ``repulsion_energy``, which
            keeps atoms apart where no training frame has them close. For simulations.

    Raises:
        ValueError: If a number is out of range, or both weights are 0.
    """

    of_training: ClassVar[Collection[str]] = (
        "energy_weight", "force_weight", "late_energy_weight", "late",
    )  # fmt: skip
    needs_gradients: ClassVar[bool] = True
    energy_weight: Tensor

    def __init__(
        self,
        facts: Facts,
        energy_weight: float = 1.0,
        force_weight: float = 1.0,
        energies: Literal["atoms", "deviation"] = "atoms",
        late_energy_weight: float | None = None,
        late: float = 0.75,
        scale: float = 1.0,
        repulsion: bool = False,
    ) -> None:
        super().__init__(facts)
        check_number("energy_weight", energy_weight, least=0, most=_LARGEST_WEIGHT)
        check_number("force_weight", force_weight, least=0, most=_LARGEST_WEIGHT)
        if late_energy_weight is not None:
            check_number("late_energy_weight", late_energy_weight, least=0, most=_LARGEST_WEIGHT)
        check_number("late", late, above=0, below=1)
        check_length("scale", scale)
        if energies not in ("atoms", "deviation"):
            raise ValueError(f"energies: {energies!r}; accepted: atoms or deviation.")
        if energy_weight == 0 and force_weight == 0:
            raise ValueError(
                "energy_weight and force_weight: both 0; accepted: one of them above 0."
            )
        self.force_weight, self.energies, self.scale = force_weight, energies, scale
        self.weights_of_stages = energy_weight, late_energy_weight
        self.late, self.repulsion = late, repulsion
        # A tensor, since a compiled step takes numbers as they are when it is compiled.
        self.register_buffer("energy_weight", torch.tensor(energy_weight), persistent=False)
        self.molecule: Molecule | None = None
        self.energy_mean = self.energy_deviation = self.force_rms = 0.0

    def at(self, progress: float) -> None:
        """Take the weights of the stage that a share of the training belongs to."""
        first, second = self.weights_of_stages
        is_late = second is not None and progress >= self.late
        self.energy_weight.fill_(second if is_late else first)  # type: ignore[arg-type]

    def join(self, network: Network) -> None:
        if network.pooling in ("mean", "softmax"):
            raise ValueError(
                "model.network: it gives the mean over the atoms, but an energy is a sum over "
                "them: give --model.network.pooling sum."
            )

    # ---- the data ----------------------------------------------------------------------------

    def learn_from(self, data: MD17) -> None:
        energies, forces = data.values("train"), data.forces("train")
        self.molecule = data.known
        self.energy_mean, self.energy_deviation = float(energies.mean()), float(energies.std())
        self.force_rms = float(np.sqrt(np.square(forces).mean()))
        if not self.energy_deviation or not self.force_rms:
            raise ValueError(
                f"the {len(energies)} training frames of {data.molecule} have one energy or no "
                "forces, so there is nothing to learn; take other frames."
            )

    def check(self, data: MD17) -> None:
        assert self.molecule is not None
        known, given = asdict(self.molecule), asdict(data.known)
        for name, key in (("theory", "source"), ("molecule", "molecule"), ("charges", "molecule")):
            if known[name] != given[name]:
                raise ValueError(
                    f"data.{key}: the {name} of the frames: {given[name]!r}; the checkpoint was "
                    f"trained on {known[name]!r}."
                )

    def get_extra(self) -> dict[str, Any]:
        return {
            "molecule": None if self.molecule is None else asdict(self.molecule),
            "energy_mean": self.energy_mean,
            "energy_deviation": self.energy_deviation,
            "force_rms": self.force_rms,
        }

    def set_extra(self, kept: Mapping[str, Any]) -> None:
        self.molecule = None if kept["molecule"] is None else Molecule(**kept["molecule"])
        self.energy_mean, self.energy_deviation = kept["energy_mean"], kept["energy_deviation"]
        self.force_rms = kept["force_rms"]

    # ---- training and evaluation -------------------------------------------------------------

    def energy(
        self,
        network: Network,
        features: Tensor,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Energy:
        """The energy in the units of the network, as a function of the positions in Å.

        Args:
            network: The network.
            features: Features of the atoms ``(batch, atoms, in_features)``.
            mask: Booleans ``(batch, atoms)``, or None.
            generator: Source of randomness for the network.
        """
        prior: Energy | None = None
        if self.repulsion:
            known = features.new_tensor(list(ELEMENTS.values()))
            charges = (features[..., : len(known)] @ known).round()
            unit = self.force_rms

            def prior(positions: Tensor) -> Tensor:
                return repulsion_energy(charges, positions, mask) / unit

        return energy_of(
            network, features, mask, scale=self.scale, prior=prior, generator=generator
        )

    def _energy_and_forces(
        self,
        network: Network,
        batch: Clouds,
        create_graph: bool,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Energy and forces in the units of the network."""
        energy = self.energy(network, batch.features, batch.mask, generator)
        return energy_and_forces(energy, batch.points, create_graph=create_graph)

    def loss(
        self, network: Network, batch: Clouds, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Prediction]:
        energy, forces = (
            each * self.force_rms
            for each in self._energy_and_forces(network, batch, True, generator)
        )
        assert batch.point_targets is not None
        true = self._centered(batch)
        if self.energies == "deviation":
            of_energy = mse_loss(energy, true) / self.energy_deviation**2
        else:
            atoms = batch.points.shape[1] if batch.mask is None else batch.mask.sum(1)
            of_energy = mse_loss(energy / atoms, true / atoms) / self.force_rms**2
        of_forces = mse_loss(forces, batch.point_targets) / self.force_rms**2
        loss = self.energy_weight * of_energy + self.force_weight * of_forces
        return loss, (energy.detach(), forces.detach())

    def predict(self, network: Network, batch: Clouds) -> Prediction:
        energy, forces = self._energy_and_forces(network, batch, False)
        return energy * self.force_rms, forces * self.force_rms

    def _centered(self, batch: Clouds) -> Tensor:
        """The true energies less the mean of the training frames, rounded only after that."""
        return (batch.targets[:, 0] - self.energy_mean).to(batch.points.dtype)

    def errors(self, prediction: Prediction, batch: Clouds) -> dict[str, Tensor]:
        energy, forces = prediction
        assert batch.point_targets is not None
        return {
            "mae": (forces - batch.point_targets).abs().flatten(1).mean(1),
            "energy_mae": (energy - self._centered(batch)).abs(),
        }

    # ---- what a test says --------------------------------------------------------------------

    def keep(self, prediction: Prediction, batch: Clouds) -> tuple[Tensor, ...]:
        energy, forces = prediction
        assert batch.point_targets is not None
        return self._centered(batch), energy, batch.point_targets, forces

    def results(self, network: Network, tested: Sequence[Tested], data: MD17) -> Figures:
        energies, forces = data.values("test"), data.forces("test")
        median = np.median(data.values("train"))
        assert self.molecule is not None
        return {
            "molecule": self.molecule.molecule,
            "theory": self.molecule.theory,
            "target": "force component",
            "unit": "meV/Å",
            "test/mae": _mean_error(tested, 2),
            "test/mae_constant": float(np.abs(forces).mean()),
            "energy_unit": "meV",
            "test/energy_mae": _mean_error(tested, 0),
            "test/energy_mae_constant": float(np.abs(energies - median).mean()),
        }

    def summary(self, found: Figures, data: MD17) -> list[str]:
        return [
            f"Test error on {found['test/frames']} frames of {found['molecule']} "
            f"({found['theory']}, split {found['split']}): forces {found['test/mae']:.4g} meV/Å, "
            f"energy {found['test/energy_mae']:.4g} meV; forces of zero score "
            f"{found['test/mae_constant']:.4g} meV/Å, the median energy "
            f"{found['test/energy_mae_constant']:.4g} meV."
        ]

    def symmetry(self, found: Figures) -> list[str]:
        if "equivariance/energy_error" not in found:
            return []
        kind = str(found["equivariance/kind"]).replace("_", " ")
        return [
            f"Invariance to {found['equivariance/group']}: {kind}; under random elements the "
            f"energy changes by {found['equivariance/energy_error']:.1e} of its deviation, and the "
            f"forces are off by {found['equivariance/force_error']:.1e} of their size (in float32 "
            f"{found['equivariance/energy_error_float32']:.1e} and "
            f"{found['equivariance/force_error_float32']:.1e})."
        ]

    def symmetry_errors(
        self, network: Network, batch: Clouds, dtype: torch.dtype
    ) -> dict[str, float]:
        if len(batch.points) < 2:
            return {}
        energy, forces = symmetry_errors(network, *batch.inputs, dtype=dtype)
        return {"energy_error": energy, "force_error": forces}

    @property
    def curve_label(self) -> str:
        return "mean absolute error of forces (meV/Å)"

    def draw(
        self, folder: Path, tested: Sequence[Tested], found: Figures, data: MD17
    ) -> list[Path]:
        from tasks.plots.curves import parity  # Training needs no matplotlib.

        paths = []
        for name, place, label, key, unit in (
            ("energy", 0, "energy less the training mean (meV)", "test/energy_mae", "meV"),
            ("forces", 2, "force component (meV/Å)", "test/mae", "meV/Å"),
        ):
            true, given = (all_of(tested, place + n).flatten() for n in (0, 1))
            every = -(-len(true) // _DRAWN_COMPONENTS)
            error = f"mean absolute error {found[key]:.3g} {unit}"
            paths.append(folder / f"parity_{name}.png")
            parity(paths[-1], true[::every], given[::every], label, error)
        return paths

    def columns(self, labelled: bool = True) -> list[Column]:
        return [Column("energy (meV)", "%.4f")]

    def cells(self, prediction: Prediction, batch: Clouds) -> Tensor:
        return (prediction[0].double() + self.energy_mean)[:, None]

    def point_columns(self) -> list[Column]:
        return [Column(f"force {axis} of atom {{}} (meV/Å)") for axis in "xyz"]

    def point_cells(self, prediction: Prediction) -> Tensor:
        return prediction[1]

    @property
    def described(self) -> str:
        assert self.molecule is not None
        return f"energies and forces of {self.molecule.molecule} ({self.molecule.theory})"

    @property
    def deviations(self) -> Tensor:
        return torch.tensor([self.energy_deviation])

    @property
    def elements(self) -> Mapping[str, int]:
        assert self.molecule is not None
        seen = set(self.molecule.charges)
        return {symbol: charge for symbol, charge in ELEMENTS.items() if charge in seen}

    def atom_features(self) -> npt.NDArray[np.float32]:
        return one_hot(ELEMENTS)


def _mean_error(tested: Sequence[Tested], place: int) -> float:
    return float((all_of(tested, place + 1) - all_of(tested, place)).abs().double().mean())
