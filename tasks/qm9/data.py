"""The data module of QM9: parts, statistics of the target, loaders."""

from typing import Final

import numpy as np
import torch
from pytorch_lightning import LightningDataModule

from tasks.qm9.batches import IN_FEATURES, MoleculeLoader, MoleculeTensors, SizeBuckets
from tasks.qm9.source import Molecules, load
from tasks.qm9.splits import PARTS, find_split
from tasks.qm9.targets import find_target

# noise in the order of the training batches, in atoms: about 2 % of padding for QM9
_MIXING: Final = 1.5


class QM9(LightningDataModule):
    """The QM9 molecules with one of their twelve targets.

    Args:
        target: The target: alpha, gap, homo, lumo, mu, cv, g, h, r2, u, u0 or zpve.
        split: The split: ``lietransformer`` (100,000 / 17,748 / 13,083 molecules) or ``110k``
            (110,000 / 10,000 / 10,831). Numbers of different splits are not comparable.
        train_molecules: Train on the first so many molecules of the training part; all without it.
        val_molecules: Validate on the first so many molecules of the validation part.
        test_molecules: Test on the first so many molecules of the test part.
        batch_size: Largest number of molecules in a batch.
        augment: Whether to rotate each training molecule at random.
        center: Whether to move each molecule's centroid to the origin.
        cache_dir: Folder of the compact copy of the data; without it, the environment variable
            LIE_ATTENTION_CACHE or the user's cache folder.
        seed: Seed of the order of the batches and of the rotations; the split does not depend on
            it.

    Raises:
        ValueError: An argument is not among what is accepted.
    """

    in_features: Final = IN_FEATURES

    def __init__(
        self,
        target: str = "homo",
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
        self.target = find_target(target)
        self.split = find_split(split)
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
        if batch_size < 1:
            raise ValueError(f"batch_size: {batch_size}; accepted: 1 or more")
        if seed < 0:
            raise ValueError(f"seed: {seed}; accepted: 0 or more")
        self.batch_size = batch_size
        self.augment = augment
        self.center = center
        self.cache_dir = cache_dir
        self.seed = seed
        self._loaded: Molecules | None = None
        self._tensors: MoleculeTensors | None = None

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
        target = molecules.target(self.target.name)
        self._rows = {part: self.split.rows(part)[: self._counts[part]] for part in PARTS}
        values = {part: target[rows] for part, rows in self._rows.items()}
        self._mean, self._std = float(values["train"].mean()), float(values["train"].std())
        if self._std == 0:
            raise ValueError(
                f"train_molecules: the {self._counts['train']} molecules have one value of "
                f"{self.target.name}, so it cannot be standardized; take more"
            )
        median = np.median(values["train"])
        self._constant_mae = {p: float(np.abs(v - median).mean()) for p, v in values.items()}
        self._sizes = molecules.sizes
        self._tensors = MoleculeTensors(molecules, target, center=self.center)
        self._loaded = None

    @property
    def unit(self) -> str:
        """The unit of the target."""
        return self.target.unit

    @property
    def mean(self) -> float:
        """Mean of the training targets, less the values of the free atoms."""
        self._require_setup()
        return self._mean

    @property
    def std(self) -> float:
        """Standard deviation of the training targets, less the values of the free atoms."""
        self._require_setup()
        return self._std

    @property
    def constant_mae(self) -> dict[str, float]:
        """Mean absolute error on ``train``, ``val`` and ``test`` of the best constant.

        That is the median of the training targets: no constant has a smaller error on them. A
        model that has learned something is below this.
        """
        self._require_setup()
        return dict(self._constant_mae)

    def train_dataloader(self) -> MoleculeLoader:
        """Give the training batches, in a new order every epoch."""
        return self._loader("train")

    def val_dataloader(self) -> MoleculeLoader:
        """Give the validation batches, in a fixed order."""
        return self._loader("val")

    def test_dataloader(self) -> MoleculeLoader:
        """Give the test batches, in a fixed order; ``index`` says which molecule is which."""
        return self._loader("test")

    def predict_dataloader(self) -> MoleculeLoader:
        """Give the test batches."""
        return self._loader("test")

    def _loader(self, part: str) -> MoleculeLoader:
        tensors = self._require_setup()
        training = part == "train"
        rows = self._rows[part]
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        sampler = SizeBuckets(
            self._sizes[rows],
            self.batch_size,
            mixing=_MIXING if training else 0.0,
            seed=self.seed,
            reshuffle=training,
            rank=torch.distributed.get_rank() if together else 0,
            world_size=torch.distributed.get_world_size() if together else 1,
        )
        return MoleculeLoader(
            tensors,
            torch.from_numpy(rows),
            sampler,
            augment=training and self.augment,
            progress=self._finished_batches if training and self.trainer is not None else None,
        )

    def _finished_batches(self) -> int:
        # What was handed out when a run is interrupted may not have been trained on.
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed)  # type: ignore[attr-defined]  # typed as its base class

    def _require_setup(self) -> MoleculeTensors:
        if self._tensors is None:
            raise RuntimeError("the molecules are not loaded; call setup() first")
        return self._tensors
