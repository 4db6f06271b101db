"""The data module of a database of ASE: parts, statistics of the targets, loaders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from liegroups.checks import check_count, check_seed
from tasks.cache import check_name
from tasks.loader import Share
from tasks.molecules.database import Index, LazyMolecules, disconnect
from tasks.qm9.batches import SYMBOLS, MoleculeBatch, MoleculeLoader, SizeBuckets
from tasks.qm9.molecules import MoleculeData, Statistics
from tasks.qm9.targets import Target

_CHARGES: Final = {symbol: charge for charge, symbol in SYMBOLS.items()}
# noise in the order of the training batches, in atoms
_MIXING: Final = 1.5
# Processes of one reader; a machine for each would not feed a GPU any faster.
_WORKERS: Final = 256


class Database(MoleculeData):
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
        augment: Whether to rotate each training molecule at random.
        center: Whether to move each molecule's centroid to the origin.
        cache_dir: Folder of the index; without it, the environment variable LIE_ATTENTION_CACHE or
            the user's cache folder.
        seed: Seed of the order of the batches and of the rotations.

    Raises:
        ValueError: An argument is not among what is accepted.
    """

    index_name = "id"

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
        augment: bool = True,
        center: bool = True,
        cache_dir: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
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
            Target(name, f"{name} of {Path(path).name}", unit, name)
            for name, unit in zip(names, units, strict=True)
        )
        unknown = [symbol for symbol in elements if symbol not in _CHARGES]
        if unknown or not elements or len(set(elements)) < len(elements):
            raise ValueError(
                f"elements: {', '.join(unknown) or elements}; accepted: different symbols such as "
                "H, C, Cl"
            )
        self.elements = {s: _CHARGES[s] for s in sorted(elements, key=lambda s: _CHARGES[s])}
        least = {"train": 2, "val": 1, "test": 1}
        given = {"train": train_molecules, "val": val_molecules, "test": test_molecules}
        for part, count in given.items():
            if count is not None and count < least[part]:
                raise ValueError(
                    f"{part}_molecules: {count}; accepted: {least[part]} or more"
                    + (", or null for all" if part == "train" else "")
                )
        check_count("batch_size", batch_size, most=None)
        check_count("workers", workers, 0, _WORKERS)
        check_seed("seed", seed)
        check_seed("split", split)
        self.path = Path(path)
        self.split_name = f"random {split}"
        self.split = split
        self.batch_size = batch_size
        self.workers = workers
        self.augment = augment
        self.center = center
        self.cache_dir = cache_dir
        self.seed = seed
        self._given = given
        self._index: Index | None = None
        self._statistics: Statistics | None = None

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
        if self._statistics is not None:
            return
        index = self._index or self._load()
        self._rows = self.divide(index.keys, self._parts(len(index)), stage, self._given["train"])
        values = {part: index.values[rows] for part, rows in self._rows.items()}
        counts = {part: index.counts[rows] for part, rows in self._rows.items()}
        self._statistics = Statistics.of(values, counts, [target.name for target in self.targets])
        self._index = index
        self._molecules = LazyMolecules(self.path, index, self.elements, center=self.center)

    @property
    def statistics(self) -> Statistics:
        """Means, deviations and constant errors of the targets."""
        if self._statistics is None:
            raise RuntimeError("the index is not loaded; call setup() first")
        return self._statistics

    @property
    def train_size(self) -> int:
        return len(self._rows["train"])

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

    def _loader(self, part: str) -> DatabaseLoader:
        sizes = self._molecules.index.sizes
        training = part == "train"
        rows = self._rows[part]
        return DatabaseLoader(
            self._molecules,
            torch.from_numpy(rows),
            SizeBuckets(
                sizes[rows],
                self.batch_size,
                mixing=_MIXING if training else 0.0,
                seed=self.seed,
                reshuffle=training,
            ),
            self.workers,
            order={
                "data.split": self.split,
                f"data.{part}_molecules": len(rows),
                "data.batch_size": self.batch_size,
                "data.seed": self.seed,
            },
            augment=training and self.augment,
            progress=self.finished_batches if training and self.trainer is not None else None,
            share=Share.of_this_process(),
        )


class DatabaseLoader(MoleculeLoader):
    """Batches of a database, read by processes of their own.

    Which process reads a batch changes nothing about it or their order.

    Args:
        molecules: The molecules.
        rows: Which of them, in the order that the sampler counts, shape (n,), int64.
        sampler: Gives the batches; Lightning calls its ``set_epoch``.
        workers: Number of processes that read; without any, this one does.
        settings: Those of :class:`tasks.qm9.batches.MoleculeLoader`.
    """

    def __init__(
        self,
        molecules: LazyMolecules,
        rows: Tensor,
        sampler: SizeBuckets,
        workers: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(molecules, rows, sampler, **settings)
        self.workers = workers

    def batches(self, work: Iterable[tuple[int, Tensor]]) -> Iterator[MoleculeBatch]:
        if not self.workers:
            yield from super().batches(work)
            return
        assert isinstance(self.molecules, LazyMolecules)
        ahead = list(work)
        disconnect(self.molecules.path)
        read = DataLoader(
            self.molecules,
            sampler=[self.rows[self.share.take(rows)] for _, rows in ahead],
            batch_size=None,
            num_workers=self.workers,
        )
        for (step, rows), batch in zip(ahead, read, strict=True):
            if isinstance(batch, str):
                raise ValueError(batch)
            yield self.finish(step, rows, batch)
