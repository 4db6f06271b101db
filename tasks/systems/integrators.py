"""Integration of trajectories, batched and differentiable."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from liegroups.checks import check_count, check_number
from liegroups.compiling import has_no_values
from tasks.systems.hamiltonian import HamiltonianField

Derivative = Callable[[Tensor], Tensor]
"""dz/dt of a batch of states."""

Times = Tensor | Sequence[float]

_LARGEST = 1e8


class DivergenceError(ArithmeticError, ValueError):
    """A trajectory left every bound: the step was too large, or the field is wrong.

    Attributes:
        step: Number of the point in time that was not reached, from 1.
        time: Its time.
    """

    def __init__(self, step: int, steps: int, time: float, found: str) -> None:
        super().__init__(
            f"the trajectory diverged at step {step} of {steps}, before time {time:g}: {found}. "
            "Take more substeps, or points that lie nearer."
        )
        self.step, self.time = step, time


@dataclass(frozen=True)
class Integrator(ABC):
    """Gives the trajectory of a field from a batch of states."""

    @abstractmethod
    def __call__(self, field: Derivative, state: Tensor, times: Times) -> Tensor:
        """Integrate.

        Args:
            field: dz/dt of states; it does not depend on the time.
            state: The states at the first time, ``(batch, 2, particles, dim)``.
            times: Increasing times, numbers or a tensor of one axis.

        Returns:
            The states at all times, ``(batch, times, 2, particles, dim)``.

        Raises:
            DivergenceError: A value is not finite, or larger than 1e8.
            ValueError: The times do not increase, or the integrator cannot take this field.
        """


@dataclass(frozen=True)
class _FixedStep(Integrator):
    substeps: int = 1

    def __post_init__(self) -> None:
        check_count("substeps", self.substeps, most=1_000)

    @abstractmethod
    def stepper(self, field: Derivative, state: Tensor) -> Callable[[Tensor, float], Tensor]:
        """What takes the states, from these on, a step of some length further."""

    def __call__(self, field: Derivative, state: Tensor, times: Times) -> Tensor:
        found = [state]
        ends = _checked(times)
        step = self.stepper(field, state)
        for number, (start, end) in enumerate(pairwise(ends), 1):
            for _ in range(self.substeps):
                state = step(state, (end - start) / self.substeps)
            _check(state, number, ends)
            found.append(state)
        return torch.stack(found, 1)


@dataclass(frozen=True)
class RK4(_FixedStep):
    """The classical Runge-Kutta method of fourth order.

    Linear quantities, such as the momentum, are conserved to rounding; others to fourth order.

    Args:
        substeps: Number of steps between two points in time.

    Raises:
        ValueError: If ``substeps`` is less than 1.

    Example:
        >>> turn = lambda z: torch.stack((z[:, 1], -z[:, 0]), 1)
        >>> start = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
        >>> RK4(substeps=20)(turn, start, torch.tensor([0.0, torch.pi / 2]))[0, -1].flatten()
        tensor([...e-..., -1.0000e+00])
    """

    def stepper(self, field: Derivative, state: Tensor) -> Callable[[Tensor, float], Tensor]:
        def step(state: Tensor, length: float) -> Tensor:
            a = field(state)
            b = field(torch.add(state, a, alpha=length / 2))
            c = field(torch.add(state, b, alpha=length / 2))
            d = field(torch.add(state, c, alpha=length))
            return torch.add(state, torch.add(a + d, b + c, alpha=2), alpha=length / 6)

        return step


@dataclass(frozen=True)
class Leapfrog(_FixedStep):
    """Half a step of the momenta, a step of the positions, half a step of the momenta.

    Of second order and symplectic: the energy oscillates and does not drift away, and what a
    symmetry of the kinetic and the potential energy conserves, such as the momentum and the
    angular momentum, is conserved to rounding. For separable energies alone.

    Args:
        substeps: Number of steps between two points in time.

    Raises:
        ValueError: If ``substeps`` is less than 1.

    Reference:
        Hairer, Lubich, Wanner 2006, Geometric Numerical Integration, section I.1.4.
    """

    def stepper(self, field: Derivative, state: Tensor) -> Callable[[Tensor, float], Tensor]:
        if not isinstance(field, HamiltonianField) or not field.separable:
            raise ValueError(
                "Leapfrog needs the field of a Hamiltonian whose kinetic energy does not depend on "
                "the positions; use RK4 or Adaptive."
            )
        force = field.force(state[:, 0])  # A step ends at the positions where the next one starts.

        def step(state: Tensor, length: float) -> Tensor:
            nonlocal force
            positions, momenta = state.unbind(1)
            momenta = momenta + length / 2 * force
            positions = positions + length * field.velocity(momenta)
            force = field.force(positions)
            momenta = momenta + length / 2 * force
            return torch.stack((positions, momenta), 1)

        return step


@dataclass(frozen=True)
class Adaptive(Integrator):
    """Dormand and Prince's method of fifth order, with steps chosen by an estimate of the error.

    By torchdiffeq, whose method of eighth order interpolates between steps with far larger errors
    than it is asked for. One step for all systems of a batch.

    Args:
        rtol: Error of a step relative to the state.
        atol: Error of a step, absolute.

    Raises:
        ValueError: If a tolerance is not above 0.
    """

    rtol: float = 1e-9
    atol: float = 1e-9

    def __post_init__(self) -> None:
        check_number("rtol", self.rtol, least=1e-13, most=1)
        check_number("atol", self.atol, least=1e-13, most=1)

    def __call__(self, field: Derivative, state: Tensor, times: Times) -> Tensor:
        from torchdiffeq import odeint

        ends = _checked(times)
        reached = ends[0]

        def derivative(time: Tensor, z: Tensor) -> Tensor:
            nonlocal reached
            reached = float(time.detach())
            return field(z)

        try:
            found: Tensor = odeint(
                derivative,
                state,
                torch.tensor(ends, dtype=torch.float64).to(state),
                rtol=self.rtol,
                atol=self.atol,
                method="dopri5",
            )
        except AssertionError as error:  # How torchdiffeq says that no step is small enough.
            step = next((n for n, end in enumerate(ends) if end > reached), len(ends) - 1)
            raise DivergenceError(step, len(ends) - 1, ends[step], str(error)) from error
        for step in range(1, len(ends)):
            _check(found[step], step, ends)
        return found.movedim(0, 1)


def _checked(times: Times) -> list[float]:
    shape = tuple(times.shape) if isinstance(times, Tensor) else (len(times),)
    given = times.tolist() if isinstance(times, Tensor) else times
    ends: list[float] = list(given) if len(shape) == 1 else []
    if not ends or any(not b > a for a, b in pairwise(ends)):
        raise ValueError(
            f"times must be a row of increasing numbers; got shape {shape}"
            + (f" with {min(b - a for a, b in pairwise(ends)):g} as a step." if ends else ".")
        )
    return ends


def _check(state: Tensor, step: int, ends: list[float]) -> None:
    if has_no_values():
        return  # What is recorded or compiled has no values to look at.
    within = state.detach().abs() <= _LARGEST  # False for NaN.
    if within.all():
        return
    systems = (~within).flatten(1).any(1).nonzero()[:, 0]
    finite = "is above 1e8" if state[systems].isfinite().all() else "is not finite"
    found = f"a value {finite} in {len(systems)} of {len(state)} systems, first {int(systems[0])}"
    raise DivergenceError(step, len(ends) - 1, ends[step], found)
