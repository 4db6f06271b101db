"""A database of ASE as the data of a task: targets, elements, parts."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from liegroups import SO3, LieGroup
from liegroups.checks import check_seed
from tasks.cache import check_name
from tasks.data.module import CloudData, Target
from tasks.data.parts import Ids
from tasks.sources.atoms import POWERS, SYMBOLS, columns
from tasks.sources.databases.database import Index, LazyMolecules

_CHARGES: Final = {symbol: charge for charge, symbol in SYMBOLS.items()}
_MIXING: Final = 1.5  # Noise in the order of the training batches, in atoms.


class Database(CloudData):
    """Molecules of a database of ASE with one or several of its numbers as targets.

    The molecules are read as they are needed, each by one process; an index of their sizes and
    targets is in memory. It is made once, which checks every molecule, and kept in the cache.

    Args:
        path: The database: SQLite (``.db``) or LMDB (``.aselmdb``, extra ``lmdb``).
        target: The name of the target, or a list to learn jointly: key-value pairs of the rows, or
            properties that a calculator gave, such as ``energy``.
        unit: The unit of the target, as the database has it; a list for several.
        elements: Symbols of the elements that the features tell apart: all of the database.
        val_molecules: Number of molecules to validate on.
        test_molecules: Number of molecules to test on.
        train_molecules: Number of molecules to train on; all others without it.
        split: Seed of the permutation that divides the molecules into the parts.
        batch_size: Largest number of molecules in a batch; where several processes train together,
            of all their parts.
        workers: Number of processes that read for each one that trains; without any, it reads
            itself.
        augment: Move each training molecule by a random element of this group, such as ``SO3``;
            null leaves them as they are.
        center: Whether to move each molecule's centroid to the origin.
        cache_dir: Folder of the index; without it, the environment variable LIE_ATTENTION_CACHE or
            the user's cache folder.
        seed: Seed of the order of the batches and of the motions.

    Raises:
        ValueError: An argument is not among what is accepted.
    """

    noun: ClassVar[str] = "molecules"
    point_dim = 3

    def __init__(
        self,
        path: str,
        target: list[str] | str,
        unit: list[str] | str,
        elements: list[str] = ["H", "C", "N", "O", "F"],  # noqa: B006 (not changed)
        val_molecules: int = 10_000,
        test_molecules: int = 10_000,
        train_molecules: int | None = None,
        split: int = 0,
        batch_size: int = 96,
        workers: int = 0,
        augment: LieGroup | None = SO3(),  # noqa: B008 (immutable)
        center: bool = True,
        cache_dir: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            batch_size=batch_size, seed=seed, augment=augment, mixing=_MIXING, workers=workers
        )
        names = [target] if isinstance(target, str) else target
        units = [unit] if isinstance(unit, str) else unit
        if not names or len(set(names)) < len(names) or len(units) != len(names):
            raise ValueError(
                f"target, unit: {names} and {units}; accepted: one or several different targets, "
                "and a unit for each"
            )
        for name in names:
            check_name("target", name)
        self.targets = tuple(
            Target(name, unit, f"{name} of {Path(path).name}")
            for name, unit in zip(names, units, strict=True)
        )
        unknown = [symbol for symbol in elements if symbol not in _CHARGES]
        if unknown or not elements or len(set(elements)) < len(elements):
            raise ValueError(
                f"elements: {', '.join(unknown) or elements}; accepted: different symbols such as "
                "H, C, Cl"
            )
        self.elements = {s: _CHARGES[s] for s in sorted(elements, key=lambda s: _CHARGES[s])}
        self.in_features = POWERS * len(self.elements)
        self.kinds = columns(self.elements, POWERS)
        least = {"train": 2, "val": 1, "test": 1}
        given = {"train": train_molecules, "val": val_molecules, "test": test_molecules}
        for part, count in given.items():
            if count is not None and count < least[part]:
                raise ValueError(
                    f"{part}_molecules: {count}; accepted: {least[part]} or more"
                    + (", or null for all" if part == "train" else "")
                )
        check_seed("split", split)
        self.path = Path(path)
        self.split_name = f"random {split}"
        self.split = split
        self.center = center
        self.cache_dir = cache_dir
        self._given = given
        self._index: Index | None = None
        self._molecules: LazyMolecules | None = None

    def prepare_data(self) -> None:
        """Make the index where there is none; one process of a machine does."""
        if self._index is None:
            self._index = self._load()

    def setup(self, stage: str | None = None) -> None:
        """Load the index and divide the molecules; the same for every stage.

        Args:
            stage: Given by Lightning.

        Raises:
            ImportError: ase, or what it needs for this kind of database, is not installed.
            ValueError: The database cannot be read, holds too few molecules, or one that is
                refused; see :meth:`Index.of`.
        """
        if self._molecules is not None:
            return
        index = self._index or self._load()
        self._rows = self.divide(index.keys, self._parts(len(index)), stage, self._given["train"])
        self._index = index
        self._molecules = LazyMolecules(self.path, index, self.elements, center=self.center)

    @property
    def settings_of_order(self) -> dict[str, int | str]:
        return {"split": self.split}

    def clouds(self, part: str, epoch: int = 0, test_set: int = 0) -> LazyMolecules:
        if self._molecules is None:
            raise RuntimeError("the index is not loaded; call setup() first")
        return self._molecules

    def rows(self, part: str) -> Ids:
        self.clouds(part)
        return self._rows[part]

    def values(self, part: str) -> npt.NDArray[np.float64]:
        return self.clouds(part).index.values[self.rows(part)]

    def kind_counts(self, part: str) -> npt.NDArray[np.int64]:
        return self.clouds(part).index.counts[self.rows(part)].astype(np.int64)

    def _load(self) -> Index:
        names = [target.name for target in self.targets]
        return Index.of(self.path, names, self.elements, self.cache_dir)

    def _parts(self, count: int) -> dict[str, npt.NDArray[np.int64]]:
        val, test, train = self._given["val"], self._given["test"], self._given["train"]
        assert val is not None and test is not None
        most = count - val - test
        if most < (train or 2):
            raise ValueError(
                f"{self.path} holds {count:,} molecules, too few for {train or 2:,} to train on, "
                f"{val:,} to validate on and {test:,} to test on"
            )
        order = np.random.RandomState(self.split).permutation(count).astype(np.int64)
        return {"val": order[:val], "test": order[val : val + test], "train": order[-most:][:train]}
