"""QM9 as the data of a task: targets, split, parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from liegroups import SO3, LieGroup
from tasks.data.clouds import Arrays, Table, one_hot
from tasks.data.module import CloudData
from tasks.data.parts import PARTS, Ids
from tasks.sources.atoms import POWERS, columns
from tasks.sources.qm9.molecules import load
from tasks.sources.qm9.splits import find_split
from tasks.sources.qm9.targets import ELEMENTS, find_target

MIXING: Final = 1.5
"""Noise in the order of the training batches, in atoms: about 2 % of padding for QM9."""


class QM9(CloudData):
    """The QM9 molecules with one or several of their twelve targets.

    Args:
        target: The target: alpha, gap, homo, lumo, mu, cv, g, h, r2, u, u0 or zpve, or a list of
            targets to learn jointly.
        split: The split: ``lietransformer`` (100,000 / 17,748 / 13,083 molecules) or ``110k``
            (110,000 / 10,000 / 10,831). Numbers of different splits are not comparable.
        train_molecules: Train on the first so many molecules of the training part; all without it.
        val_molecules: Validate on the first so many molecules of the validation part.
        test_molecules: Test on the first so many molecules of the test part.
        batch_size: Largest number of molecules in a batch; where several processes train together,
            of all their parts.
        augment: Move each training molecule by a random element of this group, such as ``SO3``;
            null leaves them as they are.
        center: Whether to move each molecule's centroid to the origin.
        cache_dir: Folder of the compact copy of the data; without it, the environment variable
            LIE_ATTENTION_CACHE or the user's cache folder.
        seed: Seed of the order of the batches and of the motions; the split does not depend on it.

    Raises:
        ValueError: An argument is not among what is accepted.
    """

    noun: ClassVar[str] = "molecules"
    id_name: ClassVar[str] = "qm9_index"
    point_dim = 3
    in_features = POWERS * len(ELEMENTS)
    kinds: Mapping[str, int] = columns(ELEMENTS, POWERS)

    def __init__(
        self,
        target: list[str] | str = "homo",
        split: str = "lietransformer",
        train_molecules: int | None = None,
        val_molecules: int | None = None,
        test_molecules: int | None = None,
        batch_size: int = 96,
        augment: LieGroup | None = SO3(),  # noqa: B008 (immutable)
        center: bool = True,
        cache_dir: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed, augment=augment, mixing=MIXING)
        names = [target] if isinstance(target, str) else target
        if not names or len(set(names)) < len(names):
            raise ValueError(f"target: {names}; accepted: one or several different targets")
        self.targets = tuple(find_target(name) for name in names)
        self.split = find_split(split)
        self.split_name = self.split.name
        # the training part needs a deviation
        least = {"train": 2, "val": 1, "test": 1}
        self._counts: dict[str, int] = {}
        given = {"train": train_molecules, "val": val_molecules, "test": test_molecules}
        for part, count in given.items():
            most = self.split.size(part)
            if count is not None and not least[part] <= count <= most:
                raise ValueError(
                    f"{part}_molecules: {count}; accepted: {least[part]} to {most:,}, the size of "
                    f"that part of the split {split!r}, or null for all"
                )
            self._counts[part] = most if count is None else count
        self.center = center
        self.cache_dir = cache_dir
        self._arrays: Arrays | None = None
        self._table: Table | None = None

    @property
    def settings_of_order(self) -> dict[str, int | str]:
        return {"split": self.split_name}

    def prepare_data(self) -> None:
        """Build the compact copy of the data where there is none; one process does."""
        if self._arrays is None:
            self._arrays = self._load()

    def setup(self, stage: str | None = None) -> None:
        """Load the molecules; the same for every stage.

        Args:
            stage: Given by Lightning.

        Raises:
            ImportError: See :func:`tasks.sources.qm9.load`.
            ValueError: The data are damaged.
        """
        if self._table is not None:
            return
        self._arrays = arrays = self._arrays or self._load()
        rows = {part: self.split.rows(part)[: self._counts[part]] for part in PARTS}
        self._rows = self.divide(arrays.ids.astype(np.int64), rows, stage, self._counts["train"])
        self._table = Table(arrays, center=self.center)

    def _load(self) -> Arrays:
        molecules = load(self.cache_dir)
        self._kind_counts = molecules.element_counts()
        return Arrays(
            points=molecules.positions,
            sizes=molecules.sizes,
            features=molecules.charges,
            kinds=one_hot(ELEMENTS, POWERS),
            targets=np.stack([molecules.target(target.name) for target in self.targets], axis=-1),
            ids=molecules.index.astype(np.int64),
        )

    def clouds(self, part: str, epoch: int = 0, test_set: int = 0) -> Table:
        if self._table is None:
            raise RuntimeError("the molecules are not loaded; call setup() first")
        if self.trainer is not None:  # All stay on the device that they were once brought to.
            self._table = self._table.to(self.trainer.strategy.root_device)
        return self._table

    def rows(self, part: str) -> Ids:
        self.clouds(part)
        return self._rows[part]

    def values(self, part: str) -> npt.NDArray[np.float64]:
        rows = self.rows(part)
        assert self._arrays is not None
        found: npt.NDArray[np.float64] = self._arrays.targets[rows]
        return found

    def kind_counts(self, part: str) -> npt.NDArray[np.int64]:
        return self._kind_counts[self.rows(part)]
