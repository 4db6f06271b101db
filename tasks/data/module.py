"""The data of a task: what there is once for every source of clouds."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from liegroups import LieGroup
from liegroups.checks import check_count, check_number, check_seed
from tasks.data.clouds import Clouds, Stored
from tasks.data.loader import BatchSampler, Loader
from tasks.data.motion import RandomMotion, check_moves
from tasks.data.parts import Ids, Parts
from tasks.data.share import Share
from tasks.errors import UserError

__all__ = ["CloudData", "Purpose", "Target"]

_FARTHEST = 1e6  # Further off single precision loses the points.
_WORKERS = 256  # Processes of one reader; a machine for each would not feed a GPU any faster.

Purpose = Literal["resume", "tune", "use"]
"""What weights are taken for: to go on, to begin a training of their own from, or to be used."""


@dataclass(frozen=True)
class Target:
    """One number that is to be predicted.

    Args:
        name: The name in a config, such as ``homo``.
        unit: The unit that the user sees; empty for a number without one.
        description: The quantity in words.
    """

    name: str
    unit: str = ""
    description: str = ""


class CloudData(LightningDataModule, ABC):
    """Clouds that are divided into parts, and given in batches.

    A source is a subclass. It says what a cloud is like, by the attributes below; tells in its
    ``setup`` which rows there are, by :meth:`divide` where they are given and by :meth:`know_law`
    where they are drawn; and gives the clouds by :meth:`clouds`. Batches of like size, a new order
    each epoch, shares of several processes, resuming within an epoch, random motions, and the
    device are seen to here.

    Args:
        batch_size: Largest number of clouds in a batch; where several processes train together, of
            all their parts.
        seed: Seed of the order of the batches and of the motions.
        augment: Move each training cloud by a random element of this group; none when absent.
        shift: Largest shift of a coordinate by such an element.
        mixing: How many points apart the sizes in a batch may be, about.
        repeats: How often an epoch goes through the training clouds.
        workers: Number of processes that read for each one that trains; without any, it reads
            itself.
        together: Smallest number of clouds that are evaluated at a time, where ``batch_size`` is
            less.

    Attributes:
        noun: What a cloud is, as a plural.
        id_name: What the numbers of the clouds are, as the name of a column.
        point_dim: Number of coordinates of a point.
        in_features: Number of features of a point.
        targets: What is to be predicted of a cloud.
        kinds: The columns of the features that are one where a point is of a kind, by the name of
            the kind, such as an element.
        max_points: Number of points of the largest cloud, where that is known before the data are
            loaded.
        choices: Number of values that a target may have, 0, 1 and so on; 0 where it is any number.
        split_name: Which division into parts it is, where there are several.
        test_sets: The names of the test sets, of which the first is that of the part ``test``.
        test_sets_in_words: How they differ, after a comma or a space; empty where there is one.
        trained_like: The test set that is like the training part.
        unit: What is about 1 in the coordinates of the points, for pictures.
        center: Whether the centroid of each cloud is moved to the origin.
        parts: Which rows each part has; None before ``setup``.

    Raises:
        ValueError: A number is out of range, or the group does not move the points.
    """

    noun: ClassVar[str] = "clouds"
    id_name: ClassVar[str] = "id"
    point_dim: int
    in_features: int
    targets: tuple[Target, ...]
    kinds: Mapping[str, int] = {}
    max_points: int | None = None
    choices: int = 0
    split_name: str = ""
    test_sets: Sequence[str] = ("",)
    test_sets_in_words: str = ""
    trained_like: str = ""
    unit: float = 1.0
    center: bool = False
    parts: Parts | None = None

    _kept: Parts | None = None
    _purpose: Purpose = "use"
    _grows: bool = False

    def __init__(
        self,
        *,
        batch_size: int,
        seed: int,
        augment: LieGroup | None = None,
        shift: float = 1.0,
        mixing: float = 0.0,
        repeats: int = 1,
        workers: int = 0,
        together: int = 1,
    ) -> None:
        super().__init__()
        check_count("batch_size", batch_size, most=None)
        check_seed("seed", seed)
        check_number("shift", shift, least=0, most=_FARTHEST)
        check_count("workers", workers, 0, _WORKERS)
        check_moves("augment", augment, self.point_dim)
        self.batch_size, self.seed, self.augment, self.shift = batch_size, seed, augment, shift
        self.mixing, self.repeats, self.workers = mixing, repeats, workers
        self.together = together

    # ---- what a source gives -----------------------------------------------------------------

    @abstractmethod
    def clouds(self, part: str, epoch: int = 0, test_set: int = 0) -> Stored:
        """The clouds that the rows of a part are places in.

        Args:
            part: ``train``, ``val`` or ``test``.
            epoch: The epoch, where each has clouds of its own.
            test_set: Which of the test sets.

        Raises:
            RuntimeError: Nothing is loaded.
        """

    @abstractmethod
    def rows(self, part: str) -> Ids:
        """The places of the clouds of a part, ``(n,)``."""

    @property
    def label(self) -> str:
        """The settings that matter most, as part of a folder's name."""
        names = [target.name for target in self.targets]
        return "+".join(names) if len(names) < 4 else f"{len(names)} targets"

    @property
    def settings_of_order(self) -> dict[str, int | str]:
        """Settings besides seed and batch size that the order of an epoch depends on."""
        return {}

    def move(self, batch: Clouds, linear: Tensor, shift: Tensor | None) -> Clouds:
        """Move the clouds of a batch, and what is to be predicted with them.

        By default the targets do not change, and targets of points are vectors.

        Args:
            batch: The clouds.
            linear: Matrices ``(B, n, n)``.
            shift: Shifts ``(B, n)``, or None.
        """
        points = batch.points @ linear.mT
        if shift is not None:
            points = points + shift[:, None]
            if batch.mask is not None:
                points = points * batch.mask[..., None]
        vectors = batch.point_targets
        return batch._replace(
            points=points, point_targets=None if vectors is None else vectors @ linear.mT
        )

    @property
    def outputs(self) -> int:
        """Number of targets."""
        return len(self.targets)

    @property
    def kind_columns(self) -> list[int]:
        """The columns of the features that count the kinds of points."""
        return list(self.kinds.values())

    # ---- what there is to know of a part -----------------------------------------------------

    def count(self, part: str) -> int:
        """Number of clouds of a part."""
        return len(self.rows(part))

    def values(self, part: str) -> npt.NDArray[np.float64]:
        """The targets of the clouds of a part in their units, ``(n, T)``, float64."""
        raise NotImplementedError(f"{type(self).__name__} does not say the targets of its parts.")

    def kind_counts(self, part: str) -> npt.NDArray[np.int64]:
        """Number of points of each kind in the clouds of a part, ``(n, K)``."""
        return np.zeros((self.count(part), 0), dtype=np.int64)

    # ---- batches -----------------------------------------------------------------------------

    def train_dataloader(self) -> Loader:
        """Give the training batches, in a new order every epoch."""
        return self._loader("train")

    def val_dataloader(self) -> Loader:
        """Give the validation batches, in a fixed order."""
        return self._loader("val")

    def test_dataloader(self) -> Loader | list[Loader]:
        """Give the batches of the test sets, in a fixed order."""
        loaders = [self._loader("test", number) for number in range(len(self.test_sets))]
        return loaders if len(loaders) > 1 else loaders[0]

    def predict_dataloader(self) -> Loader:
        """Give the test batches."""
        return self._loader("test")

    def _loader(self, part: str, test_set: int = 0) -> Loader:
        training = part == "train"
        rows = self.rows(part)

        def clouds(epoch: int) -> Stored:
            device = "cpu" if self.trainer is None else self.trainer.strategy.root_device
            return self.clouds(part, epoch, test_set).to(device)

        sampler = BatchSampler(
            clouds(0).sizes[rows],
            self.batch_size if training else max(self.batch_size, self.together),
            seed=self.seed,
            mixing=self.mixing if training else 0.0,
            reshuffle=training,
            repeats=self.repeats if training else 1,
        )
        moving = training and self.augment is not None
        return Loader(
            clouds,
            torch.from_numpy(rows),
            sampler,
            order={
                **{f"data.{name}": value for name, value in self.settings_of_order.items()},
                f"data.{part}_{self.noun}": len(rows),
                "data.batch_size": self.batch_size,
                "data.seed": self.seed,
            },
            noun=self.noun,
            move=self._move if moving else None,
            progress=self.finished_batches if training and self.trainer is not None else None,
            share=Share.of_this_process(),
            workers=self.workers,
        )

    def _move(self, batch: Clouds, count: int, share: Share, seed: int) -> Clouds:
        """Move this process's part of a batch; all draw, so that their number changes nothing."""
        assert self.augment is not None
        generator = torch.Generator(batch.points.device).manual_seed(seed)
        linear, shift = RandomMotion(self.augment, self.shift).sample(
            count, generator, batch.points
        )
        return self.move(batch, share.take(linear), None if shift is None else share.take(shift))

    def finished_batches(self) -> int:
        """Number of batches of this epoch that the trainer has finished.

        What was handed out when a run is interrupted may not have been trained on.
        """
        assert self.trainer is not None
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed)

    # ---- the parts of a run ------------------------------------------------------------------

    def keep(self, parts: Parts | None, purpose: Purpose, grows: bool = False) -> None:
        """Keep to the parts of a run; call it before ``setup``.

        Args:
            parts: The parts of the run; None where its checkpoint does not say.
            purpose: What its weights are taken for.
            grows: Whether rows that are new to the run join its training part.

        Raises:
            UserError: If rows are to join, and the checkpoint does not say which there were.
        """
        if grows and parts is None:
            raise UserError(
                "new_rows: the checkpoint is of an older version, which did not keep the rows that "
                "it was trained on, so it cannot be told which are new."
            )
        self._kept, self._purpose, self._grows = parts, purpose, grows

    def divide(
        self, ids: Ids, rows: Mapping[str, Ids], stage: str | None, most: int | None = None
    ) -> dict[str, Ids]:
        """Give the rows of each part: as they are given, unless new rows join those of a run.

        Args:
            ids: The identities of all rows of the data.
            rows: For each part, the places of its rows by the settings of the data.
            stage: What Lightning sets up for.
            most: Largest number of training rows.

        Returns:
            For each part, the places of its rows.

        Raises:
            UserError: If the data do not fit the run.
        """
        chosen = dict(rows)
        if self._grows and self._kept is not None:
            chosen = self._kept.grown(ids, most, self.noun)
        given = Parts.of({part: ids[places] for part, places in chosen.items()})
        self._take(given, stage)
        return chosen

    def know_law(self, laws: Mapping[str, str], counts: Mapping[str, int]) -> None:
        """Say how the rows of each part are drawn, where they are drawn by a law of their own.

        Args:
            laws: For each part, a text that says all that its rows depend on.
            counts: The number of rows of each part.

        Raises:
            UserError: If the run that goes on was trained on rows of another law.
        """
        if self._grows:
            raise UserError(
                f"new_rows: the {self.noun} of this task are drawn anew for each number of them, "
                "so none can join those of the run."
            )
        rows = {part: _number(text) for part, text in laws.items()}
        parts = Parts.of(rows)
        self.parts = Parts(parts.rows, dict(counts), parts.digests)
        if self._kept is not None and self._purpose == "resume":
            self._kept.check_resumed(self.parts, self.noun)

    def _take(self, given: Parts, stage: str | None) -> None:
        kept = self._kept
        if kept is not None and self._purpose == "resume":
            if not self._grows:
                kept.check_resumed(given, self.noun)
            given = Parts(given.rows, given.counts, given.digests, kept.before)
        elif kept is not None and self._purpose == "tune":
            kept.check_unseen(given, self.noun)
            given = Parts(given.rows, given.counts, given.digests, kept.seen)
        elif kept is not None:
            kept.check_tested(given, "val" if stage == "validate" else "test", self.noun)
        self.parts = given


def _number(text: str) -> Ids:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return np.frombuffer(digest, dtype="<i8").astype(np.int64)
