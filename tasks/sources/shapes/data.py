"""Random clouds of shapes as the data of a task: sets, their moved copies."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt

from liegroups import LieGroup
from liegroups.checks import check_count, check_number
from tasks.cache import CacheError, load_arrays, save_arrays
from tasks.data.clouds import Arrays, Table
from tasks.data.module import CloudData, Target
from tasks.data.parts import PARTS, Ids
from tasks.sources.shapes.motions import MOTIONS, Motion, check_motion, move
from tasks.sources.shapes.patterns import Clouds, Floats, Patterns

__all__ = ["FEATURES", "Features", "Shapes", "sorted_distances"]

Features = Literal["constant", "distances"]

FEATURES: Final[tuple[Features, ...]] = ("constant", "distances")
"""``constant``: a one at each point; ``distances``: its sorted distances to the others."""

_MIXING: Final = 6.0
_EVALUATED_TOGETHER: Final = 200
_VERSION: Final = 1
_BLOCK: Final = 1_000  # Clouds whose distances are in memory at a time.


class Shapes(CloudData):
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
        augment: Move each training cloud, anew in each epoch, by a random element of this group,
            such as ``SE2``; null leaves them as they are.
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
    id_name: ClassVar[str] = "cloud"
    point_dim = 2
    test_sets = MOTIONS
    test_sets_in_words = " as they are (D), translated (T2), and rotated and translated (SE2)"

    def __init__(
        self,
        patterns: Patterns = Patterns(),  # noqa: B008 (immutable)
        train_clouds: int = 10_000,
        val_clouds: int = 1_000,
        test_clouds: int = 1_000,
        motion: Motion = "D",
        augment: LieGroup | None = None,
        shift: float = 12.0,
        features: Features = "constant",
        fresh: bool = False,
        folder: str | None = None,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        check_number("shift", shift, least=0)
        super().__init__(
            batch_size=batch_size,
            seed=seed,
            augment=augment,
            shift=shift * patterns.unit,
            mixing=_MIXING,
            together=_EVALUATED_TOGETHER,
        )
        check_count("train_clouds", train_clouds, most=None)
        check_count("val_clouds", val_clouds, most=None)
        check_count("test_clouds", test_clouds, most=None)
        check_motion("motion", motion)
        if features not in FEATURES:
            raise ValueError(f"features: {features!r}; accepted: {', '.join(FEATURES)}.")
        if fresh and folder is not None:
            raise ValueError(
                f"folder: {folder!r} keeps sets, but with fresh every epoch has a new one; give "
                "one of the two."
            )
        self.patterns, self.unit, self.trained_like = patterns, patterns.unit, motion
        self.sizes = dict(zip(PARTS, (train_clouds, val_clouds, test_clouds), strict=True))
        patterns.check_memory(max(self.sizes.values()))
        self.motion = motion
        self.features = features
        self.targets = tuple(Target(name, "", f"number of {name}s") for name in patterns.shapes)
        self.in_features = 1 if features == "constant" else patterns.max_points - 1
        self.max_points, self.choices = patterns.max_points, patterns.repetitions + 1
        self.fresh = fresh
        self.folder = None if folder is None else Path(folder).expanduser()
        self._drawn: dict[tuple[str, Motion], tuple[int, Table]] = {}

    def setup(self, stage: str | None = None) -> None:
        """Say what the sets depend on; they are drawn when a loader is asked for.

        Args:
            stage: Given by Lightning.
        """
        motions = {"train": self.motion, "val": self.motion, "test": "D"}
        laws = {
            part: repr((self.patterns, self.seed, part, self.sizes[part], motions[part]))
            for part in PARTS
        }
        if self.fresh:
            laws["train"] += " anew in each epoch"
        self.know_law(laws, self.sizes)

    @property
    def label(self) -> str:
        return self.motion

    @property
    def settings_of_order(self) -> dict[str, int | str]:
        return {"patterns": repr(self.patterns)}

    def clouds(self, part: str, epoch: int = 0, test_set: int = 0) -> Table:
        motion = MOTIONS[test_set] if part == "test" else self.motion
        epoch = epoch if self.fresh and part == "train" else 0
        known, table = self._drawn.get((part, motion), (None, None))
        if table is None or known != epoch:
            table = _table(self.moved(part, motion, epoch), self.features)
            self._drawn[part, motion] = epoch, table
        return table

    def rows(self, part: str) -> Ids:
        return np.arange(self.count(part))

    def count(self, part: str) -> int:
        return self.sizes[part]

    def values(self, part: str) -> npt.NDArray[np.float64]:
        return self.sample(part).counts.astype(np.float64)

    def sample(self, part: str, epoch: int = 0) -> Clouds:
        """Draw a set as it is, before any motion.

        Args:
            part: ``train``, ``val`` or ``test``.
            epoch: Which set of the part; those of different epochs are independent.
        """
        seed = (self.seed, PARTS.index(part), epoch, 0)
        return self.patterns.sample(self.sizes[part], seed)

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
            "clouds": self.sizes[part],
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
        return move(self.sample(part, epoch), motion, self.shift, generator)


def sorted_distances(clouds: Clouds) -> Floats:
    """The distances of each point to the others of its cloud, the largest first.

    They are invariant under motions of the plane, and alone tell much about the shapes. The public
    code of the LieTransformer feeds them to all networks.

    Args:
        clouds: The clouds.

    Returns:
        Distances padded with zeros, ``(n, N, N - 1)``; zeros in the padding.
    """
    difference = clouds.points[:, :, None] - clouds.points[:, None]
    distance = np.sqrt(np.square(difference).sum(-1))
    pairs = clouds.mask[:, :, None] & clouds.mask[:, None]
    return -np.sort(-np.where(pairs, distance, 0.0), axis=-1)[..., :-1]


def _of_existing(clouds: Clouds, some: slice) -> Floats:
    """The sorted distances of the points that exist in some of the clouds."""
    chosen = Clouds(clouds.points[some], clouds.mask[some], clouds.counts[some])
    return sorted_distances(chosen)[chosen.mask]


def _table(clouds: Clouds, features: Features) -> Table:
    mask = clouds.mask
    if features == "constant":
        of_points: Floats = np.ones((int(mask.sum()), 1))
    else:
        blocks = range(0, len(mask), _BLOCK)
        slices = [slice(start, start + _BLOCK) for start in blocks]
        of_points = np.concatenate([_of_existing(clouds, some) for some in slices])
    return Table(
        Arrays(
            points=clouds.points[mask],
            sizes=mask.sum(1),
            features=of_points,
            targets=clouds.counts,
            ids=np.arange(len(mask)),
        )
    )
