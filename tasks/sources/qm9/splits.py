"""The named splits of QM9 into training, validation and test molecules.

Results on different splits are not comparable: say which one a number belongs to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

MOLECULES: Final = 130_831
"""Molecules of QM9 without the 3,054 whose structures failed the consistency check."""


@dataclass(frozen=True, slots=True)
class Split:
    """The sizes of the parts; together they are all 130,831 molecules.

    Args:
        name: The name in a config.
        train: Molecules to train on.
        val: Molecules to validate on.
        test: Molecules to test on.
        source: Where the split comes from.
    """

    name: str
    train: int
    val: int
    test: int
    source: str

    def size(self, part: str) -> int:
        """Give the number of molecules of a part, one of ``PARTS``."""
        return {"train": self.train, "val": self.val, "test": self.test}[part]

    def rows(self, part: str) -> npt.NDArray[np.int64]:
        """Give the molecules of a part as positions in the order of the QM9 index.

        Both splits cut one permutation, ``numpy.random.RandomState(0).permutation(130831)``,
        whose stream numpy keeps frozen.

        Args:
            part: ``train``, ``val`` or ``test``.

        Returns:
            Positions in 0, ..., 130830, in the order of the permutation.
        """
        permutation = np.random.RandomState(0).permutation(MOLECULES).astype(np.int64)
        train, val, test = np.split(permutation, [self.train, self.train + self.val])
        return {"train": train, "val": val, "test": test}[part]


SPLITS: Final[Mapping[str, Split]] = MappingProxyType(
    {
        split.name: split
        for split in (
            Split(
                "lietransformer",
                100_000,
                17_748,
                13_083,
                "The split of Cormorant (Anderson, Hy and Kondor, 2019), which LieConv (Finzi et "
                "al., 2020) and LieTransformer (Hutchinson et al., 2021) kept: sizes and "
                "permutation.",
            ),
            Split(
                "110k",
                110_000,
                10_000,
                10_831,
                "The sizes that DimeNet, Equiformer, PONITA and others use. Their permutations "
                "differ from each other; this one is ours.",
            ),
        )
    }
)
"""The splits by name."""


def find_split(name: str) -> Split:
    """Look a split up by its name.

    Args:
        name: One of the keys of ``SPLITS``.

    Returns:
        The split.

    Raises:
        ValueError: There is no such split.

    Example:
        >>> find_split("110k").test
        10831
    """
    try:
        return SPLITS[name]
    except KeyError:
        accepted = ", ".join(SPLITS)
        raise ValueError(f"split: {name!r} is not a split of QM9; accepted: {accepted}") from None
