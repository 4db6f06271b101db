"""The data module of shape counting: sets, their transformed copies, loaders."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from liegroups.checks import check_count, check_number, check_seed
from tasks.cache import CacheError, load_arrays, save_arrays
from tasks.loader import Share
from tasks.run.data import TaskData
from tasks.run.parts import PARTS
from tasks.shapes.batches import FEATURES, CloudLoader, CloudSampler, CloudTensors, Features
from tasks.shapes.motions import MOTIONS, Motion, check_motion, move
from tasks.shapes.patterns import LONGEST, Clouds, Patterns

_MIXING = 6.0
_EVALUATED_TOGETHER = 200
_VERSION = 1


class Shapes(TaskData):
    """Clouds of triangles, squares, pentagons and Ls, and how many of each there are.

    Training, validation and test clouds come from separate streams of randomness. The test
    clouds come as they are (D), translated (T2), and rotated and translated (SE2), the same
    clouds each time.

    Args:
        patterns: The law of the clouds.
        train_clouds: Number of clouds to train on.
        val_clouds: Number of clouds to choose the weights by.
        test_clouds: Number of clouds in each test set.
        motion: What the training and validation sets are: ``D``, or copies of them in which each
            cloud is translated (``T2``), or rotated and translated (``SE2``), once and for all.
        augment: Motions that are drawn anew for each training cloud in each epoch.
        shift: Largest shift of a coordinate in such a motion, in units of the polygons' radius.
        features: What the network sees of a point besides where it is: ``constant``, or
            ``distances``, sorted, to the others.
        fresh: Draw new training clouds every epoch, so that no cloud is seen twice.
        folder: Keep the sets in this folder, as ``.npz`` files, and read them from there; without
            it they are drawn when needed.
        batch_size: Largest number of clouds in a training batch; where several processes train
            together, of all their parts.
        seed: Seed of the clouds, their motions and the order of the batches.

    Raises:
        ValueError: An argument is not among what is accepted, or the memory of the machine does
            not hold so many clouds.
    """

    noun: ClassVar[str] = "clouds"

    def __init__(
        self,
        patterns: Patterns = Patterns(),  # noqa: B008 (immutable)
        train_clouds: int = 10_000,
        val_clouds: int = 1_000,
        test_clouds: int = 1_000,
        motion: Motion = "D",
        augment: Motion = "D",
        shift: float = 12.0,
        features: Features = "constant",
        fresh: bool = False,
        folder: str | None = None,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_count("train_clouds", train_clouds, most=None)
        check_count("val_clouds", val_clouds, most=None)
        check_count("test_clouds", test_clouds, most=None)
        check_count("batch_size", batch_size, most=None)
        check_seed("seed", seed)
        check_motion("motion", motion)
        check_motion("augment", augment)
        check_number("shift", shift, least=0, most=LONGEST)
        if features not in FEATURES:
            raise ValueError(f"features: {features!r}; accepted: {', '.join(FEATURES)}.")
        if fresh and folder is not None:
            raise ValueError(
                f"folder: {folder!r} keeps sets, but with fresh every epoch has a new one; give "
                "one of the two."
            )
        self.patterns = patterns
        self.clouds = dict(zip(PARTS, (train_clouds, val_clouds, test_clouds), strict=True))
        patterns.check_memory(max(self.clouds.values()))
        self.motion, self.augment = motion, augment
        self.shift = shift * patterns.unit
        self.features = features
        self.fresh = fresh
        self.folder = None if folder is None else Path(folder).expanduser()
        self.batch_size = batch_size
        self.seed = seed

    def setup(self, stage: str | None = None) -> None:
        """Say what the sets depend on; they are drawn when a loader is asked for.

        Args:
            stage: Given by Lightning.
        """
        motions = {"train": self.motion, "val": self.motion, "test": "D"}
        laws = {
            part: repr((self.patterns, self.seed, part, self.clouds[part], motions[part]))
            for part in PARTS
        }
        if self.fresh:
            laws["train"] += " anew in each epoch"
        self.know_law(laws, self.clouds)

    @property
    def in_features(self) -> int:
        """Number of features of a point."""
        return 1 if self.features == "constant" else self.patterns.max_points - 1

    @property
    def shapes(self) -> list[str]:
        """The names of the shapes that are counted."""
        return list(self.patterns.shapes)

    @property
    def choices(self) -> int:
        """Number of values that the count of a shape may have."""
        return self.patterns.repetitions + 1

    def draw(self, part: str, epoch: int = 0) -> Clouds:
        """Draw a set as it is, before any motion.

        Args:
            part: ``train``, ``val`` or ``test``.
            epoch: Which set of the part; those of different epochs are independent.
        """
        seed = (self.seed, PARTS.index(part), epoch, 0)
        return self.patterns.draw(self.clouds[part], seed)

    def moved(self, part: str, motion: Motion, epoch: int = 0) -> Clouds:
        """A set with its clouds moved.

        Args:
            part: ``train``, ``val`` or ``test``.
            motion: One of ``MOTIONS``.
            epoch: Which set of the part.

        Raises:
            ValueError: If the file of the set in the folder cannot be used.
        """
        if self.folder is None:
            return self._make(part, motion, epoch)
        path = self.folder / f"{part}-{motion}-seed{self.seed}.npz"
        made_by = {
            "patterns": asdict(self.patterns) | {"shapes": list(self.patterns.shapes)},
            "clouds": self.clouds[part],
            "shift": self.shift,
        }
        try:
            arrays = load_arrays(path, version=_VERSION)
        except FileNotFoundError:
            made = self._make(part, motion, epoch)
            settings = np.frombuffer(json.dumps(made_by).encode(), np.uint8)
            try:
                save_arrays(path, made._asdict() | {"settings": settings}, version=_VERSION)
            except OSError as error:  # Not a warning, as the sets are to be found where they say.
                raise ValueError(
                    f"folder: {self.folder} cannot be written ({error.strerror or error}); name "
                    "another one, or leave it out to draw the sets when they are needed."
                ) from error
            return made
        except CacheError as error:
            raise ValueError(f"folder: {error}; delete the file to draw it again.") from error
        found = json.loads(arrays.pop("settings").tobytes())
        if found != made_by:
            differing = ", ".join(key for key in made_by if found.get(key) != made_by[key])
            raise ValueError(
                f"folder: {path} was made with other settings ({differing}: "
                f"{[found.get(key) for key in made_by if found.get(key) != made_by[key]]}); name "
                "another folder."
            )
        return Clouds(**arrays)

    def _make(self, part: str, motion: Motion, epoch: int) -> Clouds:
        generator = np.random.default_rng(
            (self.seed, PARTS.index(part), epoch, 1 + MOTIONS.index(motion))
        )
        return move(self.draw(part, epoch), motion, self.shift, generator)

    def most_common_error(self) -> float:
        """Mean error on the test clouds of guessing the most common count of each shape."""
        counts = self.draw("test").counts
        shares = (counts[..., None] == np.arange(self.choices)).mean(0)
        return float(1 - shares.max(-1).mean())

    def train_dataloader(self) -> CloudLoader:
        """Give the training batches, in a new order every epoch."""
        sampler = CloudSampler(
            partial(self._tensors, "train", self.motion),
            self.batch_size,
            fresh=self.fresh,
            mixing=_MIXING,
            seed=self.seed,
        )
        return CloudLoader(
            sampler,
            order=self._order("train"),
            augment=self.augment,
            shift=self.shift,
            progress=None if self.trainer is None else self._finished_batches,
            share=Share.of_this_process(),
        )

    def val_dataloader(self) -> CloudLoader:
        """Give the validation batches, in a fixed order."""
        return self._fixed("val", self.motion)

    def test_dataloader(self) -> list[CloudLoader]:
        """Give the batches of each test set in the order of ``MOTIONS``."""
        return [self._fixed("test", motion) for motion in MOTIONS]

    def predict_dataloader(self) -> CloudLoader:
        """Give the test batches as they are."""
        return self._fixed("test", "D")

    def _tensors(self, part: str, motion: Motion, epoch: int) -> CloudTensors:
        return CloudTensors(self.moved(part, motion, epoch), self.features)

    def _fixed(self, part: str, motion: Motion) -> CloudLoader:
        sampler = CloudSampler(
            partial(self._tensors, part, motion),
            max(self.batch_size, _EVALUATED_TOGETHER),
            seed=self.seed,
            reshuffle=False,
        )
        return CloudLoader(sampler, order=self._order(part), share=Share.of_this_process())

    def _order(self, part: str) -> dict[str, int | str]:
        return {
            "data.patterns": repr(self.patterns),
            f"data.{part}_clouds": self.clouds[part],
            "data.batch_size": self.batch_size,
            "data.seed": self.seed,
        }

    def _finished_batches(self) -> int:
        # What was handed out when a run is interrupted may not have been trained on.
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed)  # type: ignore[attr-defined]  # typed as its base class
