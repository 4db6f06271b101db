"""What every system is: an energy, conserved quantities, and a law of random states."""

from __future__ import annotations

import ast
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from liegroups.checks import check_count, check_number
from liegroups.deprecation import RenamedMethods
from tasks.systems.hamiltonian import HamiltonianField
from tasks.systems.integrators import RK4


class Quantity(NamedTuple):
    """A conserved quantity of a batch of states.

    Attributes:
        value: ``(batch, components)``.
        scale: What a change is to be compared with, not negative, ``(batch,)``: the value itself
            may be zero.
    """

    value: Tensor
    scale: Tensor

    def drift(self, start: Quantity) -> Tensor:
        """Distance from the value at the start in units of the larger scale, ``(batch,)``."""
        distance = (self.value - start.value).norm(dim=-1)
        scale = torch.maximum(self.scale, start.scale)
        return distance / scale.clamp(min=torch.finfo(scale.dtype).tiny)


class System(RenamedMethods, ABC):
    """A Hamiltonian system of particles, of which many copies are drawn and integrated.

    A state holds positions above momenta, ``(batch, 2, particles, dim)``; what stays the same
    along a trajectory, such as masses, are the parameters, ``(batch, particles, parameters)``.
    Subclasses are frozen dataclasses, so that their settings name them.
    """

    renamed_methods: ClassVar[dict[str, str]] = {"draw": "sample"}

    separable: ClassVar[bool] = True
    """Whether the kinetic energy does not depend on the positions."""

    parameter_names: ClassVar[tuple[str, ...]]
    """The parameters in their order; ``mass`` and others that must be positive."""

    particles: int
    """Number of particles."""

    points: int
    """Number of points on a trajectory."""

    spacing: float
    """Time between two points."""

    substeps: int = 1
    """Number of Runge-Kutta steps of the reference between two points."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of coordinates of a particle."""

    @property
    def in_features(self) -> int:
        """Number of features that :meth:`scene` gives a point."""
        return len(self.parameter_names)

    scene_dim: ClassVar[int] = 2
    """Number of coordinates of the points that :meth:`scene` gives."""

    @property
    def scene_points(self) -> int:
        """Number of points that :meth:`scene` gives."""
        return self.particles

    @abstractmethod
    def sample(self, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Random initial states and parameters, both float64."""

    @abstractmethod
    def kinetic(self, state: Tensor, parameters: Tensor) -> Tensor:
        """The kinetic energy ``(batch,)``."""

    @abstractmethod
    def potential(self, positions: Tensor, parameters: Tensor) -> Tensor:
        """The potential energy ``(batch,)`` of positions ``(batch, particles, dim)``."""

    @abstractmethod
    def conserved(self, state: Tensor, parameters: Tensor) -> dict[str, Quantity]:
        """The conserved quantities by name; ``energy`` is one."""

    def scene(self, positions: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Features and points of the plane or space, as a network sees the system.

        Args:
            positions: ``(batch, particles, dim)``.
            parameters: ``(batch, particles, parameters)``.

        Returns:
            Features ``(batch, scene_points, in_features)`` and points ``(batch, scene_points, 2)``.
        """
        return parameters, positions

    def energy(self, state: Tensor, parameters: Tensor) -> Tensor:
        """The Hamiltonian ``(batch,)``."""
        return self.kinetic(state, parameters) + self.potential(state[:, 0], parameters)

    def energy_scale(self, state: Tensor, parameters: Tensor) -> Tensor:
        """What a change of the energy is compared with: kinetic plus |potential|, ``(batch,)``."""
        return self.kinetic(state, parameters) + self.potential(state[:, 0], parameters).abs()

    def trajectory(self, state: Tensor, parameters: Tensor, points: int) -> Tensor:
        """The true trajectory, in double precision for use as a reference.

        By Runge-Kutta steps, ``substeps`` between two points, unless a subclass knows a better
        way.

        Args:
            state: States at time 0.
            parameters: Their parameters.
            points: Number of points in time, that of time 0 among them.

        Returns:
            States ``(batch, points, 2, particles, dim)``.

        Raises:
            DivergenceError: The steps are too large.
        """
        times = self.spacing * torch.arange(points, dtype=torch.float64)
        with torch.no_grad():
            return RK4(self.substeps)(HamiltonianField(self, parameters), state, times)

    def check(self, state: Tensor, parameters: Tensor) -> None:
        """Raise where a state is not one of this system.

        Args:
            state: Positions above momenta.
            parameters: The parameters.

        Raises:
            ValueError: If the shapes do not fit, a value is not finite, or a mass or length is
                not above zero.
        """
        batch = len(state)
        expected = (batch, 2, self.particles, self.dim)
        if state.ndim != 4 or state.shape != expected:
            raise ValueError(
                f"{self} has states (batch, 2, {self.particles}, {self.dim}); got "
                f"{tuple(state.shape)}."
            )
        if parameters.shape != (batch, self.particles, len(self.parameter_names)):
            raise ValueError(
                f"{self} has parameters ({batch}, {self.particles}, {len(self.parameter_names)}): "
                f"{', '.join(self.parameter_names)}; got {tuple(parameters.shape)}."
            )
        if not (state.isfinite().all() and parameters.isfinite().all()):
            raise ValueError("states and parameters must be finite.")
        for name in ("mass", "length"):
            if name in self.parameter_names:
                values = parameters[..., self.parameter_names.index(name)]
                if (values <= 0).any():
                    place = (values <= 0).nonzero()[0].tolist()
                    raise ValueError(
                        f"the {name} of every particle must be above 0; particle {place[1]} of "
                        f"system {place[0]} has {float(values[tuple(place)]):g}."
                    )

    def check_settings(self) -> None:
        """Raise where a setting is out of range.

        Raises:
            ValueError: Naming the setting, what was given and what is accepted.
        """
        check_count("particles", self.particles, most=1_000)
        check_count("points", self.points, 2, 100_000)
        check_count("substeps", self.substeps, most=1_000)
        check_number("spacing", self.spacing, above=0, most=1_000)


def system_of(text: str) -> System:
    """The system that ``repr`` described.

    Args:
        text: A class and its settings, as in ``Springs(particles=6, points=500, spacing=0.01)``.

    Raises:
        ValueError: If no class of that name is imported, or the text is no such description.
    """
    known = {each.__name__: each for each in System.__subclasses__()}
    name = text.partition("(")[0]
    if name not in known:
        raise ValueError(f"system: {name} is not among {', '.join(known)}.")
    try:
        call = ast.parse(text, mode="eval").body
        assert isinstance(call, ast.Call)
        settings = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError, AssertionError) as error:
        raise ValueError(f"system: {text!r} does not describe a system.") from error
    try:
        return known[name](**settings)
    except TypeError as error:
        raise ValueError(f"system: {text!r} is of another version: {error}.") from error


def euclidean_kinetic(state: Tensor, mass: Tensor) -> Tensor:
    """Σ |p|² / 2m, ``(batch,)``, of masses ``(batch, particles)``."""
    return (state[:, 1].square().sum(-1) / (2 * mass)).sum(-1)


def linear_momentum(state: Tensor) -> Quantity:
    """Σ p, compared with Σ |p|."""
    momenta = state[:, 1]
    return Quantity(momenta.sum(1), momenta.norm(dim=-1).sum(-1))


def angular_momentum(state: Tensor) -> Quantity:
    """Σ q ∧ p about the origin of the plane, compared with Σ |q||p|."""
    positions, momenta = state[:, 0], state[:, 1]
    wedge = positions[..., 0] * momenta[..., 1] - positions[..., 1] * momenta[..., 0]
    scale = (positions.norm(dim=-1) * momenta.norm(dim=-1)).sum(-1)
    return Quantity(wedge.sum(-1, keepdim=True), scale)


def without_total_momentum(momenta: Tensor) -> Tensor:
    """Momenta less their mean over the particles of each system."""
    return momenta - momenta.mean(-2, keepdim=True)
