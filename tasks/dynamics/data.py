"""The data module of dynamics: systems to train on, to validate on and to test on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NamedTuple

import torch
from torch import Tensor

from liegroups.checks import check_count, check_seed
from tasks.dynamics.metrics import LONG, SHORT
from tasks.dynamics.reference import Part, Trajectories, trajectories
from tasks.dynamics.systems import Springs, System
from tasks.loader import Batches, ResumableLoader, Share
from tasks.run.data import TaskData

_MOST_SYSTEMS = 100_000  # Hours of the reference.
_TEST_BATCH = 500  # Without derivatives by weights, large batches cost little more.
_TEST_SEED = 0  # The test systems are the same whatever the seed of the training systems.

_NEEDED: Final[dict[str, tuple[Part, ...]]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("test",),
}


class TrajectoryBatch(NamedTuple):
    """Stretches of the trajectories of B systems, in double precision.

    Attributes:
        states: Positions above momenta, shape (B, points, 2, N, dim).
        parameters: Parameters of the systems, shape (B, N, parameters).
        index: The number of each system in its part, shape (B,), int64.
        weight: What each system counts in the mean of the loss, shape (B,): 1, but where processes
            that train together have unequal parts of a batch.
    """

    states: Tensor
    parameters: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    weight: Tensor


class DynamicsData(TaskData):
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
        repeats: How often an epoch goes through the training systems, for small sets.
        seed: Seed of the training and validation systems and of the order of the batches. The
            test systems do not depend on it.
        folder: Where trajectories are kept; the project's cache by default.

    Raises:
        ValueError: If a number is out of range.
    """

    noun: ClassVar[str] = "systems"

    def __init__(
        self,
        system: System = Springs(),  # noqa: B008 (immutable)
        train_systems: int = 1000,
        val_systems: int = 100,
        test_systems: int = 2000,
        chunk: int = 5,
        batch_size: int = 100,
        repeats: int = 1,
        seed: int = 0,
        folder: str | None = None,
    ) -> None:
        super().__init__()
        check_count("train_systems", train_systems, most=_MOST_SYSTEMS)
        check_count("val_systems", val_systems, most=_MOST_SYSTEMS)
        check_count("test_systems", test_systems, most=_MOST_SYSTEMS)
        check_count("chunk", chunk, 2, None)
        check_count("batch_size", batch_size, most=None)
        check_count("repeats", repeats, most=_MOST_SYSTEMS // train_systems)
        check_seed("seed", seed)
        longest = max(chunk, LONG)
        if system.points < longest:
            raise ValueError(
                f"system.points: {system.points}; a trajectory needs at least {longest} points: "
                f"{chunk} to train on and {LONG} to test on."
            )
        self.system = system
        self.counts: dict[Part, int] = {
            "train": train_systems,
            "val": val_systems,
            "test": test_systems,
        }
        self.chunk, self.batch_size, self.repeats = chunk, batch_size, repeats
        self.seed, self.folder = seed, folder
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

    def train_dataloader(self) -> TrajectoryLoader:
        """Give the training batches, in a new order every epoch."""
        return self._loader("train")

    def val_dataloader(self) -> TrajectoryLoader:
        """Give the validation batches, in a fixed order."""
        return self._loader("val")

    def test_dataloader(self) -> TrajectoryLoader:
        """Give the test batches, in a fixed order."""
        return self._loader("test")

    def predict_dataloader(self) -> TrajectoryLoader:
        """Give the test batches."""
        return self._loader("test")

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

    def _loader(self, part: Part) -> TrajectoryLoader:
        training = part == "train"
        sampler = Batches(
            torch.arange(self.counts[part]),
            self.batch_size if training else max(self.batch_size, _TEST_BATCH),
            repeats=self.repeats if training else 1,
            seed=self.seed if training else None,
        )
        counts = training and self.trainer is not None
        return TrajectoryLoader(
            self.part(part),
            sampler,
            order={
                f"data.{part}_systems": self.counts[part],
                "data.batch_size": self.batch_size,
                "data.repeats": self.repeats,
                "data.seed": self.seed,
            },
            progress=self._finished_batches if counts else None,
            share=Share.of_this_process(),
        )

    def _finished_batches(self) -> int:
        # What was handed out when a run is interrupted may not have been trained on.
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed)  # type: ignore[attr-defined]  # typed as its base class


class TrajectoryLoader(ResumableLoader[TrajectoryBatch, Batches]):
    """An iterable of batches, which a trainer can resume within an epoch.

    Args:
        source: The trajectories.
        sampler: Gives the numbers of the systems; Lightning calls its ``set_epoch``.
        order: The settings that the order of an epoch depends on, by name.
        progress: Gives the number of batches that the trainer has finished in this epoch;
            without it, the batches handed out count as finished.
        share: The part of each batch that this process takes.

    Raises:
        ValueError: There are more processes than systems in a batch.
    """

    kind = "systems"

    def __init__(
        self,
        source: Trajectories,
        sampler: Batches,
        *,
        order: Mapping[str, int | str],
        progress: Callable[[], int] | None = None,
        share: Share = Share(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__(sampler, order, sampler.smallest, progress, share)
        self.source = source

    def batch(self, step: int, rows: Tensor) -> TrajectoryBatch:
        own = self.share.take(rows)
        chosen = self.source[own]
        weight = self.share.weigh(torch.ones(len(own), dtype=torch.float64), len(rows))
        return TrajectoryBatch(chosen.states, chosen.parameters, own, weight)
