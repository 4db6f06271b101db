"""Which frames to train, validate and test on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tasks.sources.md17.frames import Frames, Rows

SPLITS: Final = range(1, 6)
"""The numbers of the splits."""

PARTS: Final = ("train", "val", "test")
"""The parts of a split."""


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of the parts, which have no frame in common.

    Args:
        name: What to call it where a number is reported.
        train: Frames to train on.
        val: Frames to validate on.
        test: Frames to test on.
    """

    name: str
    train: Rows
    val: Rows
    test: Rows

    def rows(self, part: str) -> Rows:
        """Give the rows of a part, one of ``PARTS``."""
        return {"train": self.train, "val": self.val, "test": self.test}[part]


def split_frames(
    frames: Frames, number: int, train: int, val: int, test: int | None = None
) -> Split:
    """Divide frames into parts.

    Where the frames come with published splits, the training and validation frames are drawn from
    the published training frames, and the test frames are the published ones. Else the parts are
    drawn from all frames, with the number as the seed. Either way the same numbers give the same
    parts, and the validation and test frames do not depend on ``train``.

    Args:
        frames: The frames.
        number: The number of the split, one of ``SPLITS``.
        train: Number of frames to train on.
        val: Number of frames to validate on.
        test: Number of frames to test on; all that are left when absent.

    Raises:
        ValueError: There are too few frames.
    """
    random = np.random.RandomState(number)  # Its stream is frozen, unlike default_rng's.
    if number in frames.splits:
        pool, tested = frames.splits[number]
        pool = pool[random.permutation(len(pool))]
        if train + val > len(pool) or (test or 0) > len(tested):
            raise ValueError(
                f"split {number} of {frames.molecule} has {len(pool):,} frames to train and "
                f"validate on and {len(tested):,} to test on; train_frames + val_frames is "
                f"{train + val:,} and test_frames {test or 'all'}."
            )
        name = f"published {number}"
        return Split(name, pool[:train], pool[len(pool) - val :], tested[:test])
    count = len(frames)
    if train + val + (test or 1) > count:
        raise ValueError(
            f"there are {count:,} frames of {frames.molecule}, but train_frames + val_frames + "
            f"test_frames is {train:,} + {val:,} + {test or 'at least 1'}; ask for fewer, or, "
            "where the source makes them, have it make more frames."
        )
    rows = random.permutation(count).astype(np.int64)
    tests = count - train - val if test is None else test
    return Split(
        f"drawn with seed {number}",
        rows[:train],
        rows[count - tests - val : count - tests],
        rows[count - tests :],
    )
