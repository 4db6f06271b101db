"""What a source of your own is: a class that gives arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from liegroups import LieGroup
from liegroups.checks import check_count, check_seed
from tasks.data.clouds import Arrays, Table, check_arrays
from tasks.data.module import CloudData, Target
from tasks.data.parts import Ids, identities

__all__ = ["FromSource", "Source"]


class Source(ABC):
    """Gives clouds as arrays. A subclass is best a frozen dataclass, whose fields are settings.

    Attributes:
        point_dim: Number of coordinates of a point.
        in_features: Number of features of a point.
        targets: What is to be predicted of a cloud: names and units.
        choices: Number of values that a target may have, 0, 1 and so on; 0 where it is any number.
        kinds: The columns of the features that are one where a point is of a kind, by the name of
            the kind; empty where there are none.
    """

    point_dim: int
    in_features: int
    targets: tuple[Target, ...]
    choices: ClassVar[int] = 0
    kinds: ClassVar[Mapping[str, int]] = {}

    @abstractmethod
    def load(self) -> Arrays:
        """Give the clouds.

        Raises:
            ValueError: They cannot be read or made.
        """


class FromSource(CloudData):
    """Clouds of a source of your own.

    Args:
        source: The source.
        train_clouds: Number of clouds to train on; all that are left when absent.
        val_clouds: Number of clouds to choose the weights by.
        test_clouds: Number of clouds to test on.
        split: Seed of the permutation that divides the clouds into the parts.
        batch_size: Largest number of clouds in a batch; where several processes train together,
            of all their parts.
        augment: Move each training cloud by a random element of this group; null leaves them as
            they are.
        shift: Largest shift of a coordinate by such an element.
        center: Whether to move the centroid of each cloud to the origin.
        seed: Seed of the order of the batches and of the motions.

    Raises:
        ValueError: A number is out of range.
    """

    def __init__(
        self,
        source: Source,
        train_clouds: int | None = None,
        val_clouds: int = 100,
        test_clouds: int = 100,
        split: int = 0,
        batch_size: int = 32,
        augment: LieGroup | None = None,
        shift: float = 1.0,
        center: bool = False,
        seed: int = 0,
    ) -> None:
        self.point_dim, self.in_features = source.point_dim, source.in_features
        self.targets, self.kinds, self.choices = source.targets, source.kinds, source.choices
        super().__init__(batch_size=batch_size, seed=seed, augment=augment, shift=shift, mixing=1.5)
        if train_clouds is not None:
            check_count("train_clouds", train_clouds, 2, None)
        check_count("val_clouds", val_clouds, most=None)
        check_count("test_clouds", test_clouds, most=None)
        check_seed("split", split)
        self.source, self.split, self.center = source, split, center
        self._counts = train_clouds, val_clouds, test_clouds
        self._arrays: Arrays | None = None
        self._table: Table | None = None

    @property
    def label(self) -> str:
        return type(self.source).__name__

    @property
    def settings_of_order(self) -> dict[str, int | str]:
        return {"split": self.split}

    def prepare_data(self) -> None:
        """Let the source make what it makes; one process does."""
        if self._arrays is None:
            self._arrays = _checked(self.source)

    def setup(self, stage: str | None = None) -> None:
        """Load the clouds; the same for every stage.

        Args:
            stage: Given by Lightning.

        Raises:
            ValueError: The arrays do not fit each other or what the source says, or there are too
                few clouds.
        """
        if self._table is not None:
            return
        self._arrays = arrays = self._arrays or _checked(self.source)
        count, (train, val, test) = len(arrays.sizes), self._counts
        if (train or 2) + val + test > count:
            raise ValueError(
                f"data: {type(self.source).__name__} gives {count:,} clouds, too few for "
                f"{train or 2:,} to train on, {val:,} to validate on and {test:,} to test on."
            )
        order = np.random.RandomState(self.split).permutation(count).astype(np.int64)
        rows = {"val": order[:val], "test": order[val : val + test]}
        rows["train"] = order[val + test :][:train]
        ends = np.cumsum(arrays.sizes)[:-1]
        ids = np.array([identities(each[None])[0] for each in np.split(arrays.points, ends)])
        self._rows = self.divide(ids, rows, stage, train)
        self._table = Table(arrays, center=self.center)

    def clouds(self, part: str, epoch: int = 0, test_set: int = 0) -> Table:
        if self._table is None:
            raise RuntimeError("the clouds are not loaded; call setup() first")
        return self._table

    def rows(self, part: str) -> Ids:
        self.clouds(part)
        return self._rows[part]

    def values(self, part: str) -> npt.NDArray[np.float64]:
        rows = self.rows(part)
        assert self._arrays is not None
        return self._arrays.targets[rows].astype(np.float64)

    def kind_counts(self, part: str) -> npt.NDArray[np.int64]:
        assert self._arrays is not None
        arrays, columns = self._arrays, list(self.kinds.values())
        features = arrays.features if arrays.kinds is None else arrays.kinds[arrays.features]
        if not columns:
            return super().kind_counts(part)
        starts = np.concatenate([[0], np.cumsum(arrays.sizes)[:-1]])
        counts = np.add.reduceat(features[:, columns], starts, axis=0)
        return counts[self.rows(part)].astype(np.int64)


def _checked(source: Source) -> Arrays:
    """The arrays of a source, which fit each other and what it says."""
    arrays = source.load()
    check_arrays(type(source).__name__, arrays, source.point_dim, source.in_features)
    return arrays
