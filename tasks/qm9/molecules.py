"""What data of molecules say of themselves to the model that learns from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pytorch_lightning import LightningDataModule

from tasks.qm9.batches import MoleculeLoader
from tasks.qm9.targets import Target


@dataclass(frozen=True)
class Statistics:
    """What is known of the targets of a data set, in their units.

    Args:
        mean: Means on the training part, shape (T,).
        std: Standard deviations on the training part, shape (T,).
        constant_mae: Mean absolute errors on ``train``, ``val`` and ``test``, each of shape (T,),
            of the best constants: the medians of the training part. A model that has learned
            something is below this.
    """

    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    constant_mae: Mapping[str, npt.NDArray[np.float64]]

    @classmethod
    def of(cls, values: Mapping[str, npt.NDArray[np.float64]], names: Sequence[str]) -> Statistics:
        """Look at the targets of each part.

        Args:
            values: The targets of the parts, each of shape (n, T).
            names: The names of the targets.

        Raises:
            ValueError: All training molecules have one value of a target.
        """
        train = values["train"]
        std = train.std(axis=0)
        if not std.all():
            raise ValueError(
                f"train_molecules: the {len(train)} molecules have one value of "
                f"{names[int(np.argmin(std))]}, so it cannot be standardized; take more"
            )
        median = np.median(train, axis=0)
        errors = {part: np.abs(each - median).mean(axis=0) for part, each in values.items()}
        return cls(train.mean(axis=0), std, errors)


class MoleculeData(LightningDataModule, ABC):
    """Molecules with one or several targets.

    Attributes:
        targets: The targets, in the order of the last axis of a batch's ``target``.
        elements: The elements that the features tell apart, with their nuclear charges.
        split_name: Which split into training, validation and test molecules it is.
        index_name: What the numbers of the molecules are, as the name of a column.
    """

    targets: tuple[Target, ...]
    elements: Mapping[str, int]
    split_name: str
    index_name: str

    @property
    def outputs(self) -> int:
        """Number of targets."""
        return len(self.targets)

    @property
    def in_features(self) -> int:
        """Number of features of an atom."""
        return 3 * len(self.elements)

    @property
    @abstractmethod
    def statistics(self) -> Statistics:
        """What is known of the targets.

        Raises:
            RuntimeError: Nothing is loaded.
        """

    @property
    @abstractmethod
    def train_size(self) -> int:
        """Number of training molecules."""

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

    @abstractmethod
    def _loader(self, part: str) -> MoleculeLoader:
        """The batches of ``train``, ``val`` or ``test``."""

    def finished_batches(self) -> int:
        """Number of batches of this epoch that the trainer has finished.

        What was handed out when a run is interrupted may not have been trained on.
        """
        assert self.trainer is not None
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed)
