"""Frames of one molecule as the data of a task: split, parts, what is known of the molecule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from liegroups import LieGroup
from liegroups.checks import check_count
from tasks.cache import check_name
from tasks.data.clouds import Arrays, Table, one_hot
from tasks.data.module import CloudData, Target
from tasks.data.parts import Ids, identities
from tasks.sources.atoms import columns
from tasks.sources.md17.frames import ELEMENTS, Frames, Source
from tasks.sources.md17.splits import SPLITS, Split, split_frames
from tasks.sources.md17.xtb import XTB

__all__ = ["MD17", "Molecule"]


@dataclass(frozen=True)
class Molecule:
    """What a model keeps of the molecule that it was trained on.

    Args:
        molecule: The name of the molecule.
        theory: The level of theory of the labels.
        charges: Nuclear charges in the order of the atoms.
        positions: Coordinates in angstrom of the training frame of lowest energy, where dynamics
            start; empty in checkpoints of an earlier version.
    """

    molecule: str
    theory: str
    charges: list[int]
    positions: list[list[float]] = field(default_factory=list)


class MD17(CloudData):
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
        augment: Move each training frame, with its forces, by a random element of this group, such
            as ``SO3``; null leaves them as they are.
        seed: Seed of the order of the batches; the split does not depend on it.

    Raises:
        ValueError: An argument is not among what is accepted.
    """

    noun: ClassVar[str] = "frames"
    id_name: ClassVar[str] = "frame"
    point_dim = 3
    center = True
    in_features = len(ELEMENTS)
    targets = (Target("energy", "meV", "total energy"),)
    kinds: Mapping[str, int] = columns(ELEMENTS)

    def __init__(
        self,
        molecule: str = "ethanol",
        source: Source = XTB(),  # noqa: B008 (immutable)
        split: int = 1,
        train_frames: int = 950,
        val_frames: int = 50,
        test_frames: int | None = None,
        batch_size: int = 64,
        augment: LieGroup | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size=batch_size, seed=seed, augment=augment)
        check_name("molecule", molecule)
        if split not in SPLITS:
            raise ValueError(f"split: {split}; accepted: {SPLITS[0]} to {SPLITS[-1]}.")
        check_count("train_frames", train_frames, 2, None)
        check_count("val_frames", val_frames, most=None)
        if test_frames is not None:
            check_count("test_frames", test_frames, most=None)
        self.molecule = molecule
        self.source = source
        self.split_number = split
        self.counts = (train_frames, val_frames, test_frames)
        self._frames: Frames | None = None
        self._table: Table | None = None

    @property
    def label(self) -> str:
        return self.molecule

    @property
    def settings_of_order(self) -> dict[str, int | str]:
        return {"split": self.split_number}

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
            ValueError: The source does not have the molecule or so many frames, or its data are
                damaged.
        """
        if self._table is not None:
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
        self._frames, self.split_name = frames, split.name
        count, atoms = len(frames), len(frames.charges)
        centered = frames.positions - frames.positions.mean(1, keepdims=True)
        self._table = Table(
            Arrays(
                points=centered.astype(np.float32).reshape(-1, 3),
                sizes=np.full(count, atoms),
                features=np.tile(frames.charges, count),
                kinds=one_hot(ELEMENTS),
                targets=frames.energies[:, None],
                ids=np.arange(count),
                point_targets=frames.forces.astype(np.float32).reshape(-1, 3),
            ),
            targets=torch.float64,  # Single precision would lose digits of a total energy.
        )

    @property
    def split(self) -> Split:
        """The rows of the parts."""
        self._require_setup()
        return self._split

    @property
    def known(self) -> Molecule:
        """What a model is to keep of the molecule."""
        frames = self._require_setup()
        rows = self._split.train
        return Molecule(
            molecule=frames.molecule,
            theory=frames.theory,
            charges=frames.charges.tolist(),
            positions=frames.positions[rows[frames.energies[rows].argmin()]].tolist(),
        )

    def clouds(self, part: str, epoch: int = 0, test_set: int = 0) -> Table:
        self._require_setup()
        assert self._table is not None
        return self._table

    def rows(self, part: str) -> Ids:
        return self.split.rows(part)

    def values(self, part: str) -> npt.NDArray[np.float64]:
        return self._require_setup().energies[self.rows(part)][:, None]

    def kind_counts(self, part: str) -> npt.NDArray[np.int64]:
        charges = self._require_setup().charges
        counts = np.array([(charges == charge).sum() for charge in ELEMENTS.values()])
        return np.tile(counts, (self.count(part), 1))

    def forces(self, part: str) -> npt.NDArray[np.float64]:
        """The forces of the frames of a part in meV/angstrom, ``(n, atoms, 3)``."""
        return self._require_setup().forces[self.rows(part)]

    def _require_setup(self) -> Frames:
        if self._frames is None or self._table is None:
            raise RuntimeError("the frames are not loaded; call setup() first")
        return self._frames
