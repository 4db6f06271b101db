"""The data module of QM9: parts, statistics of the target, loaders."""

from typing import Final

import numpy as np
import torch

from liegroups.checks import check_count, check_seed
from tasks.loader import Share
from tasks.qm9.batches import MoleculeLoader, MoleculeTensors, SizeBuckets
from tasks.qm9.molecules import MoleculeData, Statistics
from tasks.qm9.source import Molecules, load
from tasks.qm9.splits import PARTS, find_split
from tasks.qm9.targets import ELEMENTS, find_target

# noise in the order of the training batches, in atoms: about 2 % of padding for QM9
_MIXING: Final = 1.5


class QM9(MoleculeData):
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
        augment: Whether to rotate each training molecule at random.
        center: Whether to move each molecule's centroid to the origin.
        cache_dir: Folder of the compact copy of the data; without it, the environment variable
            LIE_ATTENTION_CACHE or the user's cache folder.
        seed: Seed of the order of the batches and of the rotations; the split does not depend on
            it.

    Raises:
        ValueError: An argument is not among what is accepted.
    """

    elements = ELEMENTS
    index_name = "qm9_index"

    def __init__(
        self,
        target: list[str] | str = "homo",
        split: str = "lietransformer",
        train_molecules: int | None = None,
        val_molecules: int | None = None,
        test_molecules: int | None = None,
        batch_size: int = 96,
        augment: bool = True,
        center: bool = True,
        cache_dir: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
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
        check_count("batch_size", batch_size, most=None)
        check_seed("seed", seed)
        self.batch_size = batch_size
        self.augment = augment
        self.center = center
        self.cache_dir = cache_dir
        self.seed = seed
        self._loaded: Molecules | None = None
        self._tensors: MoleculeTensors | None = None
        self._statistics: Statistics | None = None

    def prepare_data(self) -> None:
        """Build the compact copy of the data where there is none; one process does."""
        if self._tensors is None and self._loaded is None:
            self._loaded = load(self.cache_dir)

    def setup(self, stage: str | None = None) -> None:
        """Load the molecules; the same for every stage.

        Args:
            stage: Given by Lightning.

        Raises:
            ImportError: See :func:`tasks.qm9.source.load`.
            ValueError: The data are damaged, or all training molecules have one value.
        """
        if self._tensors is not None:
            return
        molecules = load(self.cache_dir) if self._loaded is None else self._loaded
        names = [target.name for target in self.targets]
        target = np.stack([molecules.target(name) for name in names], axis=-1)  # (n, T)
        rows = {part: self.split.rows(part)[: self._counts[part]] for part in PARTS}
        ids = molecules.index.astype(np.int64)
        self._rows = self.divide(ids, rows, stage, self._counts["train"])
        values = {part: target[rows] for part, rows in self._rows.items()}
        atoms = molecules.element_counts()
        counts = {part: atoms[rows] for part, rows in self._rows.items()}
        self._statistics = Statistics.of(values, counts, names)
        self._sizes = molecules.sizes
        self._tensors = MoleculeTensors(molecules, target, center=self.center)
        self._loaded = None

    @property
    def statistics(self) -> Statistics:
        """Means, deviations and constant errors of the targets, less the values of free atoms."""
        self._require_setup()
        assert self._statistics is not None
        return self._statistics

    @property
    def train_size(self) -> int:
        return self._counts["train"]

    def _loader(self, part: str) -> MoleculeLoader:
        device = "cpu" if self.trainer is None else self.trainer.strategy.root_device
        self._tensors = tensors = self._require_setup().to(device)
        training = part == "train"
        rows = self._rows[part]
        sampler = SizeBuckets(
            self._sizes[rows],
            self.batch_size,
            mixing=_MIXING if training else 0.0,
            seed=self.seed,
            reshuffle=training,
        )
        return MoleculeLoader(
            tensors,
            torch.from_numpy(rows),
            sampler,
            order={
                "data.split": self.split_name,
                f"data.{part}_molecules": len(rows),
                "data.batch_size": self.batch_size,
                "data.seed": self.seed,
            },
            augment=training and self.augment,
            progress=self.finished_batches if training and self.trainer is not None else None,
            share=Share.of_this_process(),
        )

    def _require_setup(self) -> MoleculeTensors:
        if self._tensors is None:
            raise RuntimeError("the molecules are not loaded; call setup() first")
        return self._tensors
