"""Hamiltonian dynamics: how a system moves, learned from stretches of trajectories."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy.typing as npt
import torch
from torch import Tensor, nn

from attention import Network, invariance_error
from liegroups import Equivariance
from liegroups.affine import AffineGroup
from liegroups.checks import check_length
from tasks.data.clouds import Clouds
from tasks.networks.perceptron import maps_with_silu
from tasks.objectives.base import (
    Column,
    Facts,
    Figures,
    Objective,
    Prediction,
    Tested,
    all_of,
    take_arrays,
)
from tasks.sources.trajectories.data import DynamicsData, Stretches
from tasks.sources.trajectories.reference import Trajectories
from tasks.systems import system_of
from tasks.systems.base import Quantity, System
from tasks.systems.hamiltonian import Field, HamiltonianField
from tasks.systems.integrators import RK4, Integrator
from tasks.systems.losses import Loss, RollOut
from tasks.systems.metrics import LONG, SHORT, drift, drifts, roll_out, squared_error

__all__ = ["HamiltonianDynamics", "Learned"]

Learned = Literal["potential", "hamiltonian", "derivative"]

_DRAWN_SYSTEMS = 4


class HamiltonianDynamics(Objective[DynamicsData]):
    """Learn the Hamiltonian of a system, or the derivative of its states, from trajectories.

    - ``potential``: the network gives the potential energy of the positions, with the parameters of
      the particles as features; the kinetic energy is the system's own, or a mass for each particle
      is learned. Every symmetry of the network conserves its quantity to the accuracy of the
      integrator: translations the momentum, rotations the angular momentum.
    - ``hamiltonian``: the network gives the whole energy, of positions as points and momenta among
      the features. Leapfrog does not apply.
    - ``derivative``: the network gives dz/dt of each particle, which conserves nothing.

    Args:
        facts: Facts of the data.
        learns: What the network gives.
        loss: What training makes small: ``RollOut``, ``Quadrature`` or ``Slope``.
        integrator: Makes the trajectories of validation and test.
        kinetic: ``given``, the system's own, or ``learned``, a mass for each particle.
        feature_scale: Factor on the features of the points. A layer norm sees a small feature
            beside its bias nearly as it is, of a large one little more than the sign.

    Raises:
        ValueError: If a number is out of range, or there is nothing kinetic to learn.
    """

    criterion: ClassVar[str] = "mse_5"
    of_training: ClassVar[Collection[str]] = ("loss",)
    free: ClassVar[Collection[str]] = ("integrator",)
    needs_gradients: ClassVar[bool] = True
    sees_clouds: ClassVar[bool] = False

    def __init__(
        self,
        facts: Facts,
        learns: Learned = "potential",
        loss: Loss = RollOut(),  # noqa: B008 (immutable)
        integrator: Integrator = RK4(),  # noqa: B008 (immutable)
        kinetic: Literal["given", "learned"] = "given",
        feature_scale: float = 1.0,
    ) -> None:
        super().__init__(facts)
        check_length("feature_scale", feature_scale)
        if kinetic == "learned" and learns != "potential":
            raise ValueError(
                f"kinetic: learned beside a potential alone; learns is {learns!r}, of which the "
                "kinetic energy is no part; accepted: given."
            )
        self.learns, self.trained_by, self.integrator = learns, loss, integrator
        self.learns_kinetic, self.feature_scale = kinetic == "learned", feature_scale
        self.learned_kinetic: LearnedKinetic | None = None
        self._described = ""
        self._system: System | None = None
        self._drifts: dict[str, Tensor] = {}

    # ---- the network -------------------------------------------------------------------------

    @property
    def in_features(self) -> int:
        momenta = 0 if self.learns == "potential" else self.facts.outputs // 2
        return momenta + self.facts.in_features

    @property
    def out_features(self) -> int:
        return self.facts.outputs if self.learns == "derivative" else 1

    def join(self, network: Network) -> None:
        if self.learns != "derivative":
            super().join(network)
        elif not network.is_per_point:
            raise ValueError(
                f"model.network: {type(network).__name__} gives one output for all particles; "
                "learns: derivative needs one for each."
            )
        group = network.space.group
        turns = not (isinstance(group, AffineGroup) and group.linear.dim == 0)
        if self.learns != "potential" and turns and network.equivariance != Equivariance.NONE:
            raise ValueError(
                f"model.objective.learns: {self.learns!r} gives momenta to the network as features "
                f"that do not turn, but {group} turns points; accepted: potential, or a group of "
                "translations."
            )
        if self.learns_kinetic:
            self.learned_kinetic = LearnedKinetic(self.facts.in_features)

    # ---- the data ----------------------------------------------------------------------------

    def point_dim(self, network: Network, data: DynamicsData) -> int:
        system = data.system
        if self.learns_kinetic and not system.separable:
            raise ValueError(
                f"model.objective.kinetic: the kinetic energy of {type(system).__name__} depends "
                "on the positions and is not learned; accepted: given."
            )
        if data.chunk < self.trained_by.least_points:
            raise ValueError(
                f"data.chunk: {data.chunk} points; {type(self.trained_by).__name__} needs "
                f"{self.trained_by.least_points} or more."
            )
        if self.learns != "potential":
            return system.dim
        return system.scene_dim if self._sees_scene(network, system) else system.dim

    def learn_from(self, data: DynamicsData) -> None:
        self._described = repr(data.system)

    def check(self, data: DynamicsData) -> None:
        if repr(data.system) != self._described:
            raise ValueError(
                f"data.system is {data.system}, but the checkpoint was trained on "
                f"{self._described}."
            )
        self.system = data.system

    def get_extra(self) -> dict[str, Any]:
        return {"system": self._described}

    def set_extra(self, kept: Mapping[str, Any]) -> None:
        self._described = kept["system"]

    @property
    def system(self) -> System:
        """The system of the data; without them, the one that was described."""
        if self._system is None:
            self._system = system_of(self._described)
        return self._system

    @system.setter
    def system(self, system: System) -> None:
        self._system = system

    # ---- what is learned ---------------------------------------------------------------------

    def energy(self, network: Network, seed: int | None = None) -> LearnedEnergy:
        """The learned Hamiltonian.

        Args:
            network: The network.
            seed: Seed of a random lift, which stays the same along a trajectory; the fixed lift of
                evaluation when absent.
        """
        return LearnedEnergy(self, network, seed)

    def field(self, network: Network, parameters: Tensor, seed: int | None = None) -> Field:
        """The learned time derivative of the states of some systems.

        Args:
            network: The network.
            parameters: Their parameters ``(batch, particles, parameters)``.
            seed: See :meth:`energy`.
        """
        if self.learns == "derivative":
            return _Direct(self, network, parameters)
        return HamiltonianField(self.energy(network, seed), parameters)

    def roll_out(self, network: Network, state: Tensor, parameters: Tensor, points: int) -> Tensor:
        """The trajectory from some states, ``(B, points, 2, N, dim)``.

        Raises:
            DivergenceError: A trajectory left every bound.
        """
        field = self.field(network, parameters)
        return roll_out(self.system, field, self.integrator, state, points)

    def seen(self, network: Network, positions: Tensor, parameters: Tensor) -> Clouds:
        """Positions as the network of a potential sees them."""
        features, points = parameters, positions
        if self._sees_scene(network, self.system):
            features, points = self.system.scene(positions, parameters)
        nothing = points.new_zeros(0)
        return Clouds(self.feature_scale * features, points, None, nothing, nothing, nothing)

    def of_states(self, network: Network, state: Tensor, parameters: Tensor) -> Tensor:
        """What a network says of positions and momenta together."""
        features = self.feature_scale * torch.cat((state[:, 1], parameters), -1)
        output: Tensor = network(features, state[:, 0])
        return output

    @staticmethod
    def _sees_scene(network: Network, system: System) -> bool:
        """Whether a potential's network sees points of the plane, not coordinates as they are."""
        own = network.space.point_dim == system.dim
        return not own or network.equivariance != Equivariance.NONE

    # ---- training and evaluation -------------------------------------------------------------

    def loss(
        self, network: Network, batch: Clouds, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Prediction]:
        seed = None
        if generator is not None:
            seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        field, states = self.field(network, batch.features, seed), _states(batch)
        return self.trained_by(self.system, field, states), ()

    def predict(self, network: Network, batch: Clouds) -> Prediction:
        points = batch.targets.shape[1]
        return (self.roll_out(network, _states(batch)[:, 0], batch.features, points),)

    def errors(self, prediction: Prediction, batch: Clouds) -> dict[str, Tensor]:
        error = squared_error(prediction[0], _states(batch))
        return {"mse_5": error[:, :SHORT].mean(1)}

    def training_errors(
        self, loss: Tensor, prediction: Prediction, batch: Clouds
    ) -> dict[str, Tensor]:
        name = "mse_5" if isinstance(self.trained_by, RollOut) else "loss"
        return {name: loss.expand(len(batch.ids))}

    # ---- what a test says --------------------------------------------------------------------

    def keep(self, prediction: Prediction, batch: Clouds) -> tuple[Tensor, ...]:
        return _states(batch), batch.features, prediction[0]

    def results(self, network: Network, tested: Sequence[Tested], data: DynamicsData) -> Figures:
        error = squared_error(all_of(tested, 2), all_of(tested, 0)).double()
        still_short, still_long = data.still_error
        found: Figures = {
            "system": type(self.system).__name__,
            "learns": self.learns,
            "integrator": repr(self.integrator),
            "test/mse_5": float(error[:, :SHORT].mean()),
            "test/mse_5_constant": still_short,
            "test/mse_100": float(error[:, :LONG].mean()),
            "test/mse_100_constant": still_long,
            "reference/energy_drift": float(data.part("test").energy_drift.max()),
        }
        self._drifts = self._measure_drifts(network, tested)
        for name, values in self._drifts.items():
            found[f"drift/{name}"] = float(values[:, -1].median())
        return found

    def _measure_drifts(self, network: Network, tested: Sequence[Tested]) -> dict[str, Tensor]:
        """Drift of every conserved quantity of the tested systems, ``(systems, points)``."""
        batches: list[dict[str, Tensor]] = []
        for _, (_, parameters, predicted) in tested:
            found = drifts(self.system, predicted.double(), parameters.double())
            if self.learns != "derivative":
                found["learned_energy"] = self._energy_drift(network, predicted, parameters)
            batches.append({name: each.cpu() for name, each in found.items()})
        return {name: torch.cat([each[name] for each in batches]) for name in batches[0]}

    def _energy_drift(self, network: Network, states: Tensor, parameters: Tensor) -> Tensor:
        """Drift of the energy that was learned, compared with the scale of the true one.

        The learned energy has a constant of its own.
        """
        device, learned = next(network.parameters()).device, self.energy(network)
        states, parameters = states.to(device), parameters.to(device)
        series = []
        with torch.no_grad():
            for state in states.unbind(1):
                energy = learned.energy(state, parameters)[:, None]
                series.append(Quantity(energy, self.system.energy_scale(state, parameters)))
        return drift(series)

    def summary(self, found: Figures, data: DynamicsData) -> list[str]:
        drifted = ", ".join(
            f"{name.removeprefix('drift/').replace('_', ' ')} {value:.1e}"
            for name, value in found.items()
            if name.startswith("drift/")
        )
        return [
            f"Roll-out error on {found['test/systems']} systems of {found['system']}: "
            f"{found['test/mse_5']:.3g} over 5 points, {found['test/mse_100']:.3g} over 100; "
            f"states that stay score {found['test/mse_5_constant']:.3g} and "
            f"{found['test/mse_100_constant']:.3g}.",
            f"Median drift over 100 points, relative: {drifted}.",
        ]

    def symmetry_errors(
        self, network: Network, batch: Clouds, dtype: torch.dtype
    ) -> dict[str, float]:
        if self.learns != "potential" or network.equivariance == Equivariance.NONE:
            return {}
        seen = self.seen(network, batch.points, batch.features)
        return {"error": invariance_error(network, seen.features, seen.points, dtype=dtype)}

    @property
    def curve_label(self) -> str:
        return "mean squared error of a roll-out over 5 points"

    def draw(
        self, folder: Path, tested: Sequence[Tested], found: Figures, data: DynamicsData
    ) -> list[Path]:
        from tasks.plots.dynamics import draw_conserved, draw_error, draw_trajectories

        states, parameters, predicted = tested[0].parts
        times = self.system.spacing * torch.arange(predicted.shape[1])
        few = slice(_DRAWN_SYSTEMS)
        paths = [folder / f"{name}.png" for name in ("trajectories", "error", "conserved")]
        draw_trajectories(paths[0], self.system, states[few], predicted[few], parameters[few])
        name = str(found["network"])
        errors = squared_error(all_of(tested, 2), all_of(tested, 0))
        draw_error(paths[1], times, {name: errors})
        draw_conserved(paths[2], times, {name: self._drifts})
        return paths

    def columns(self, labelled: bool = True) -> list[Column]:
        axes = "xyz"[: self.system.dim] if self.system.dim > 1 else ("angle",)
        return [
            Column(f"{kind} {axis} of particle {n}", "%.8g")
            for kind in ("position", "momentum")
            for n in range(self.system.particles)
            for axis in axes
        ]

    def cells(self, prediction: Prediction, batch: Clouds) -> Tensor:
        """The states after 99 steps."""
        return prediction[0][:, -1].flatten(1)

    @property
    def described(self) -> str:
        return f"states of {self._described}"

    @property
    def turns(self) -> bool:
        return False

    def stored(
        self, network: Network, arrays: Mapping[str, npt.NDArray[Any]], center: bool
    ) -> Stretches:
        """Make systems of the arrays of a file.

        Args:
            network: The network.
            arrays: ``states`` at time 0, positions above momenta, ``(n, 2, particles, dim)``, and
                the ``parameters`` of the particles, ``(n, particles, parameters)``.
            center: Not used: the system says where its origin is.

        Raises:
            ValueError: If an array is absent or of another shape, or the system is not one of
                ``tasks.systems``.
        """
        system = self.system
        take_arrays(arrays, ["states", "parameters"])
        states, parameters = (torch.from_numpy(arrays[n]).double() for n in arrays)
        count = len(states)
        for name, shape in (
            ("states", (count, 2, system.particles, system.dim)),
            ("parameters", (count, system.particles, self.facts.in_features)),
        ):
            if arrays[name].shape != shape:
                raise ValueError(f"{name}: shape {arrays[name].shape}; expected {shape}.")
        # What comes after the first point in time is not known.
        states = nn.functional.pad(states[:, None], (0,) * 7 + (LONG - 1,), value=float("nan"))
        unknown = torch.zeros(count)
        return Stretches(Trajectories(states, parameters, unknown.long(), unknown))


class LearnedKinetic(nn.Module):
    """Σ |p|² / 2μ with a mass μ > 0 learned from the parameters of each particle.

    Args:
        parameters: Number of parameters of a particle.
        hidden: Number of hidden units.
    """

    def __init__(self, parameters: int, hidden: int = 32) -> None:
        super().__init__()
        self.log_inverse_mass = maps_with_silu(parameters, hidden, 1)

    def forward(self, state: Tensor, parameters: Tensor) -> Tensor:
        """The kinetic energy ``(batch,)``."""
        inverse = self.log_inverse_mass(parameters)[..., 0].exp()
        return (state[:, 1].square().sum(-1) * inverse).sum(-1) / 2


class LearnedEnergy:
    """What a network has learned of the energy of a system.

    Args:
        objective: How it was learned.
        network: The network.
        seed: Seed of a random lift; the fixed lift of evaluation when absent.
    """

    def __init__(self, objective: HamiltonianDynamics, network: Network, seed: int | None) -> None:
        self._objective, self._network, self._seed = objective, network, seed
        self.separable = objective.learns == "potential" and objective.system.separable

    def energy(self, state: Tensor, parameters: Tensor) -> Tensor:
        """The learned Hamiltonian ``(batch,)``."""
        if self._objective.learns == "potential":
            return self.kinetic(state, parameters) + self.potential(state[:, 0], parameters)
        return self._objective.of_states(self._network, state, parameters)[:, 0]

    def kinetic(self, state: Tensor, parameters: Tensor) -> Tensor:
        """The kinetic energy ``(batch,)`` beside a potential."""
        learned = self._objective.learned_kinetic
        if learned is None:
            return self._objective.system.kinetic(state, parameters)
        energy: Tensor = learned(state, parameters)
        return energy

    def potential(self, positions: Tensor, parameters: Tensor) -> Tensor:
        """The learned potential energy ``(batch,)``."""
        seen = self._objective.seen(self._network, positions, parameters)
        generator = None
        if self._seed is not None:  # Which gives the same numbers at every step of a trajectory.
            generator = torch.Generator(seen.points.device).manual_seed(self._seed)
        output: Tensor = self._network(seen.features, seen.points, generator=generator)
        return output[:, 0]


class _Direct(Field):
    """dz/dt as a network gives it."""

    def __init__(
        self, objective: HamiltonianDynamics, network: Network, parameters: Tensor
    ) -> None:
        self._objective, self._network, self._parameters = objective, network, parameters

    def __call__(self, state: Tensor) -> Tensor:
        output = self._objective.of_states(self._network, state, self._parameters)
        return torch.stack(output.chunk(2, -1), 1)


def _states(batch: Clouds) -> Tensor:
    """The true states in the precision of the points."""
    return batch.targets.to(batch.points.dtype)
