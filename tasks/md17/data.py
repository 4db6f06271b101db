"""The data module of MD17: parts, statistics of the training frames, loaders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

import numpy as np
import torch

from liegroups.checks import check_count, check_seed
from tasks.cache import check_name
from tasks.loader import Batches, Share
from tasks.md17.batches import IN_FEATURES, FrameLoader, FrameTensors
from tasks.md17.frames import Frames, Source
from tasks.md17.splits import SPLITS, Split, split_frames
from tasks.md17.xtb import XTB
from tasks.run.data import TaskData
from tasks.run.parts import identities


@dataclass(frozen=True)
class Statistics:
    """What a model keeps of the frames that it was trained on.

    Args:
        molecule: The name of the molecule.
        theory: The level of theory of the labels.
        charges: Nuclear charges in the order of the atoms.
        energy_mean: Mean energy in meV.
        energy_deviation: Standard deviation of the energy in meV.
        force_rms: Root mean square of the components of the forces in meV/angstrom.
        positions: Coordinates in angstrom of the training frame of lowest energy, where dynamics
            start; empty in checkpoints of an earlier version.
    """

    molecule: str
    theory: str
    charges: list[int]
    energy_mean: float
    energy_deviation: float
    force_rms: float
    positions: list[list[float]] = field(default_factory=list)


class MD17(TaskData):
    """Frames of one molecule with energies in meV and forces in meV/angstrom.

    Args:
        molecule: The molecule: a name that the source knows, for example ``ethanol``.
        source: Where the frames come from: ``XTB``, which makes them, ``RMD17``, which reads the
            public archive from a folder, ``Springs``, a toy, or a ``Source`` of your own.
        split: The number of the split, 1 to 5: a published one where the source has them.
        train_frames: Number of frames to train on.
        val_frames: Number of frames to validate on.
        test_frames: Number of frames to test on; all that are left when absent.
        batch_size: Largest number of frames in a batch; where several processes train together, of
            all their parts.
        seed: Seed of the order of the batches; the split does not depend on it.

    Raises:
        ValueError: An argument is not among what is accepted.
    """

    noun: ClassVar[str] = "frames"
    in_features: Final = IN_FEATURES

    def __init__(
        self,
        molecule: str = "ethanol",
        source: Source = XTB(),  # noqa: B008 (immutable)
        split: int = 1,
        train_frames: int = 950,
        val_frames: int = 50,
        test_frames: int | None = None,
        batch_size: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_name("molecule", molecule)
        if split not in SPLITS:
            raise ValueError(f"split: {split}; accepted: {SPLITS[0]} to {SPLITS[-1]}.")
        check_count("train_frames", train_frames, 2, None)
        check_count("val_frames", val_frames, most=None)
        if test_frames is not None:
            check_count("test_frames", test_frames, most=None)
        check_count("batch_size", batch_size, most=None)
        check_seed("seed", seed)
        self.molecule = molecule
        self.source = source
        self.split_number = split
        self.counts = (train_frames, val_frames, test_frames)
        self.batch_size = batch_size
        self.seed = seed
        self._frames: Frames | None = None
        self._tensors: FrameTensors | None = None

    def prepare_data(self) -> None:
        """Make the frames where the source makes them; one process does."""
        if self._frames is None:
            self._frames = self.source.load(self.molecule)

    def setup(self, stage: str | None = None) -> None:
        """Load the frames; the same for every stage.

        Args:
            stage: Given by Lightning.

        Raises:
            ImportError: The source needs a package that is not installed.
            ValueError: The source does not have the molecule or so many frames, its data are
                damaged, or all training frames have the same energy or no forces.
        """
        if self._tensors is not None:
            return
        frames = self.source.load(self.molecule) if self._frames is None else self._frames
        split = split_frames(frames, self.split_number, *self.counts)
        rows = self.divide(
            identities(frames.positions),
            {"train": split.train, "val": split.val, "test": split.test},
            stage,
            self.counts[0],
        )
        self._split = Split(split.name, rows["train"], rows["val"], rows["test"])
        energies = frames.energies[self._split.train]
        forces = frames.forces[self._split.train]
        self._statistics = Statistics(
            molecule=frames.molecule,
            theory=frames.theory,
            charges=frames.charges.tolist(),
            energy_mean=float(energies.mean()),
            energy_deviation=float(energies.std()),
            force_rms=float(np.sqrt(np.square(forces).mean())),
            positions=frames.positions[self._split.train[energies.argmin()]].tolist(),
        )
        if not self._statistics.energy_deviation or not self._statistics.force_rms:
            raise ValueError(
                f"the {len(energies)} training frames of {frames.molecule} have one energy or no "
                "forces, so there is nothing to learn; take other frames."
            )
        test = self._split.test
        self._energy_constant = float(np.abs(frames.energies[test] - np.median(energies)).mean())
        self._force_constant = float(np.abs(frames.forces[test]).mean())
        self._frames, self._tensors = frames, FrameTensors(frames)

    @property
    def split(self) -> Split:
        """The rows of the parts."""
        self._require_setup()
        return self._split

    @property
    def statistics(self) -> Statistics:
        """What a model is to keep of the training frames."""
        self._require_setup()
        return self._statistics

    @property
    def energy_mae_constant(self) -> float:
        """Mean absolute error in meV of the training median on the test part."""
        self._require_setup()
        return self._energy_constant

    @property
    def force_mae_constant(self) -> float:
        """Mean absolute error in meV/angstrom of forces of zero on the test part."""
        self._require_setup()
        return self._force_constant

    def train_dataloader(self) -> FrameLoader:
        """Give the training batches, in a new order every epoch."""
        return self._loader("train")

    def val_dataloader(self) -> FrameLoader:
        """Give the validation batches, in a fixed order."""
        return self._loader("val")

    def test_dataloader(self) -> FrameLoader:
        """Give the test batches, in a fixed order; ``index`` says which frame is which."""
        return self._loader("test")

    def predict_dataloader(self) -> FrameLoader:
        """Give the test batches."""
        return self._loader("test")

    def _loader(self, part: str) -> FrameLoader:
        tensors = self._require_setup()
        training = part == "train"
        rows = torch.from_numpy(self._split.rows(part))
        counts = training and self.trainer is not None
        return FrameLoader(
            tensors,
            Batches(rows, self.batch_size, seed=self.seed if training else None),
            order={
                "data.split": self.split_number,
                f"data.{part}_frames": len(rows),
                "data.batch_size": self.batch_size,
                "data.seed": self.seed,
            },
            progress=self._finished_batches if counts else None,
            share=Share.of_this_process(),
        )

    def _finished_batches(self) -> int:
        # What was handed out when a run is interrupted may not have been trained on.
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return int(progress.processed)  # type: ignore[attr-defined]  # typed as its base class

    def _require_setup(self) -> FrameTensors:
        if self._tensors is None:
            raise RuntimeError("the frames are not loaded; call setup() first")
        return self._tensors
