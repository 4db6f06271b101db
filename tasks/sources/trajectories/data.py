"""Trajectories of Hamiltonian systems as the data of a task."""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from liegroups import LieGroup
from liegroups.checks import check_count
from tasks.data.clouds import Clouds, Sizes
from tasks.data.module import CloudData
from tasks.data.motion import RandomMotion
from tasks.data.parts import Ids
from tasks.sources.trajectories.reference import Part, Trajectories, trajectories
from tasks.systems import Springs, System
from tasks.systems.metrics import LONG, SHORT

_MOST_SYSTEMS = 100_000  # Hours of the reference.
_TEST_BATCH = 500  # Without derivatives by weights, large batches cost little more.
_TEST_SEED = 0  # The test systems are the same whatever the seed of the training systems.

_NEEDED: Final[dict[str, tuple[Part, ...]]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("test",),
}


class DynamicsData(CloudData):
    """Trajectories of many copies of a system, made on first use.

    Training uses one stretch of a few points from anywhere on each trajectory, validation and
    test the starts of trajectories.

    Args:
        system: The system: ``Springs``, ``Planets``, ``PendulumChain`` or a ``System`` of your
            own.
        train_systems: Number of systems to train on.
        val_systems: Number of systems to validate on.
        test_systems: Number of systems to test on.
        chunk: Number of points in time of a training stretch.
        batch_size: Largest number of systems in a batch; where several processes train together, of
            all their parts.
        augment: Move each training system by a random element of this group, which the system must
            have as a symmetry, such as ``SO2``; null leaves them as they are.
        repeats: How often an epoch goes through the training systems, for small sets.
        seed: Seed of the training and validation systems and of the order of the batches. The
            test systems do not depend on it.
        folder: Where trajectories are kept; the project's cache by default.

    Raises:
        ValueError: If a number is out of range.
    """

    noun: ClassVar[str] = "systems"
    id_name: ClassVar[str] = "system"
    targets = ()

    def __init__(
        self,
        system: System = Springs(),  # noqa: B008 (immutable)
        train_systems: int = 1000,
        val_systems: int = 100,
        test_systems: int = 2000,
        chunk: int = 5,
        batch_size: int = 100,
        augment: LieGroup | None = None,
        repeats: int = 1,
        seed: int = 0,
        folder: str | None = None,
    ) -> None:
        self.point_dim, self.in_features = system.dim, len(system.parameter_names)
        self.max_points = system.particles
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            augment=augment,
            repeats=repeats,
            together=_TEST_BATCH,
        )
        check_count("train_systems", train_systems, most=_MOST_SYSTEMS)
        check_count("val_systems", val_systems, most=_MOST_SYSTEMS)
        check_count("test_systems", test_systems, most=_MOST_SYSTEMS)
        check_count("chunk", chunk, 2, None)
        check_count("repeats", repeats, most=_MOST_SYSTEMS // train_systems)
        longest = max(chunk, LONG)
        if system.points < longest:
            raise ValueError(
                f"system.points: {system.points}; a trajectory needs at least {longest} points: "
                f"{chunk} to train on and {LONG} to test on."
            )
        _check_symmetry(system, augment)
        self.system = system
        self.counts: dict[Part, int] = {
            "train": train_systems,
            "val": val_systems,
            "test": test_systems,
        }
        self.chunk, self.folder = chunk, folder
        self._parts: dict[Part, Trajectories] = {}

    def prepare_data(self) -> None:
        """Make the trajectories; one process does, the others then find them in the cache."""
        stage = None if self.trainer is None else self.trainer.state.fn
        self.setup(None if stage is None else str(stage.value))

    def setup(self, stage: str | None = None) -> None:
        """Load the trajectories that a stage needs.

        Args:
            stage: Given by Lightning: ``fit``, ``validate``, ``test`` or ``predict``; all when
                absent.

        Raises:
            DivergenceError: The reference diverged.
        """
        for part in _NEEDED.get(stage or "", tuple(self.counts)):
            self._load(part)
        laws: dict[str, str] = {
            part: repr((self.system, self._seed(part), part, count, self._length(part)))
            for part, count in self.counts.items()
        }
        self.know_law(laws, {part: count for part, count in self.counts.items()})

    def part(self, part: Part) -> Trajectories:
        """The trajectories of a part, in float64.

        Args:
            part: ``train``, ``val`` or ``test``.
        """
        if part not in self._parts:
            raise RuntimeError("the trajectories are not loaded; call setup() first")
        return self._parts[part]

    @property
    def still_error(self) -> tuple[float, float]:
        """Roll-out errors at 5 and at 100 points, on the test part, of states that stay."""
        states = self.part("test").states
        error = (states - states[:, :1]).square().flatten(2).mean((0, 2))
        return float(error[:SHORT].mean()), float(error.mean())

    @property
    def label(self) -> str:
        return f"{type(self.system).__name__}-{self.counts['train']}"

    @property
    def outputs(self) -> int:
        """Number of coordinates of the state of a particle."""
        return 2 * self.system.dim

    @property
    def settings_of_order(self) -> dict[str, int | str]:
        return {"repeats": self.repeats}

    def clouds(self, part: str, epoch: int = 0, test_set: int = 0) -> Stretches:
        return Stretches(self.part(part))  # type: ignore[arg-type]

    def rows(self, part: str) -> Ids:
        return np.arange(self.count(part))

    def count(self, part: str) -> int:
        return self.counts[part]  # type: ignore[index]

    def move(self, batch: Clouds, linear: Tensor, shift: Tensor | None) -> Clouds:
        states = batch.targets @ linear.mT[:, None, None]
        if shift is not None:
            shifts = torch.stack((shift, torch.zeros_like(shift)), 1)  # Positions, not momenta.
            states = states + shifts[:, None, :, None]
        return super().move(batch, linear, shift)._replace(targets=states)

    def _load(self, part: Part) -> None:
        if part in self._parts:
            return
        self._parts[part] = trajectories(
            self.system,
            self.counts[part],
            self._length(part),
            part=part,
            seed=self._seed(part),
            random_start=part == "train",
            folder=self.folder,
        )

    def _length(self, part: Part) -> int:
        return {"train": self.chunk, "val": SHORT, "test": LONG}[part]

    def _seed(self, part: Part) -> int:
        return _TEST_SEED if part == "test" else self.seed


def _check_symmetry(system: System, group: LieGroup | None) -> None:
    """Raise ValueError unless the energy of a system stays the same when a group moves it."""
    if group is None:
        return
    state, parameters = system.sample(4, np.random.default_rng(0))
    linear, shift = RandomMotion(group).sample(4, torch.Generator().manual_seed(0), state)
    moved = state @ linear.mT[:, None]
    if shift is not None:
        moved[:, 0] += shift[:, None]
    before, after = (system.energy(each, parameters) for each in (state, moved))
    if not torch.allclose(before, after, rtol=1e-9):
        raise ValueError(
            f"augment: {group} is no symmetry of {type(system).__name__}: it changes the energy, "
            "so moved trajectories are no trajectories; leave it out."
        )


class Stretches:
    """Stretches of trajectories, in double precision, of which batches are made.

    The points of a batch are the positions of the particles at the start of each stretch, the
    features the parameters of the particles, and the targets the states ``(B, times, 2, N, dim)``,
    positions above momenta.

    Args:
        given: The trajectories.
    """

    def __init__(self, given: Trajectories) -> None:
        self.given = given
        self.device = torch.device("cpu")
        self.sizes: Sizes = np.full(len(given), given.states.shape[3])

    def to(self, device: torch.device | str) -> Stretches:
        """These themselves: the trainer brings batches to its device."""
        return self

    def batch(self, rows: Tensor) -> Clouds:
        """The stretches of some rows ``(B,)``."""
        chosen = self.given[rows]
        return Clouds(
            features=chosen.parameters,
            points=chosen.states[:, 0, 0],
            mask=None,
            targets=chosen.states,
            ids=rows,
            weight=torch.ones(len(rows), dtype=torch.float64),
        )
