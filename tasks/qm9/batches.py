"""QM9 as batches: features of atoms, batches of molecules of like size, rotations.

All molecules lie in memory as flat tensors, and a batch is gathered by indexing, so there are no
worker processes.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

from liegroups import SO3
from tasks.loader import ResumableLoader
from tasks.qm9.source import Molecules
from tasks.qm9.targets import ELEMENTS

IN_FEATURES: Final = 3 * len(ELEMENTS)
"""Features of an atom."""

_SYMBOLS: Final = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn"
)


def _feature_table() -> Tensor:
    # row Z holds the features of the element; row 0, the padding, and elements outside QM9 are zero
    table = torch.zeros(max(ELEMENTS.values()) + 1, len(ELEMENTS), 3)
    for place, charge in enumerate(ELEMENTS.values()):
        table[charge, place] = (charge / max(ELEMENTS.values())) ** torch.arange(3.0)
    return table.flatten(1)


_FEATURES: Final = _feature_table()


class MoleculeBatch(NamedTuple):
    """Molecules padded to the size of the largest, B molecules of at most N atoms.

    Attributes:
        features: What :func:`atom_features` gives, zero in the padding, shape (B, N, 15).
        positions: Coordinates in angstrom, zero in the padding, shape (B, N, 3).
        mask: True for an atom, False for padding, shape (B, N).
        target: The target in its unit, less the values of the free atoms, shape (B,).
        index: The index of each molecule in QM9, shape (B,), int64.
    """

    features: Tensor
    positions: Tensor
    mask: Tensor
    target: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


def atom_features(charges: Tensor) -> Tensor:
    r"""Describe atoms by their element: one-hot times powers of the charge.

    .. math:: f = \mathrm{onehot}(Z) \otimes (1, c, c^2), \qquad c = Z / 9.

    Args:
        charges: Nuclear charges, any integer type, shape (...); 0 stands for padding.

    Returns:
        Features, float32, shape (..., 15), the three powers of an element side by side; zeros for
        padding.

    Raises:
        ValueError: A charge is not that of H, C, N, O or F.

    Reference:
        B. Anderson, T. S. Hy, R. Kondor, "Cormorant: Covariant molecular neural networks",
        NeurIPS 2019.

    Example:
        >>> atom_features(torch.tensor(9))[-3:]
        tensor([1., 1., 1.])
    """
    unknown = sorted(set(charges.unique().tolist()) - {0, *ELEMENTS.values()})
    if unknown:
        symbols = dict(enumerate(_SYMBOLS.split(), start=1))
        named = ", ".join(f"{symbols[z]} ({z})" if z in symbols else str(z) for z in unknown)
        accepted = ", ".join(f"{symbol} ({charge})" for symbol, charge in ELEMENTS.items())
        raise ValueError(f"charges: unknown elements {named}; accepted: {accepted}")
    return _lookup(charges.long())


def _lookup(charges: Tensor) -> Tensor:
    return torch.nn.functional.embedding(charges, _FEATURES.to(charges.device))


def padding_fraction(batches: Iterable[MoleculeBatch]) -> float:
    """Give the share of padding among all rows of atoms of the batches."""
    rows = atoms = 0
    for batch in batches:
        rows += batch.mask.numel()
        atoms += int(batch.mask.sum())
    return 1 - atoms / rows


class SizeBuckets(Sampler[Tensor]):
    r"""Batches of molecules of like size, in random order.

    The molecules are sorted by their size plus noise, :math:`n_i + \text{mixing} \cdot u_i` with
    :math:`u_i` uniform in [0, 1), cut into batches of nearly equal length, and the batches are
    shuffled. More than one atom of noise keeps a batch from holding a single size only, at the
    price of some padding. Each molecule is in one batch of an epoch, and the batches are a
    function of the seed and the epoch alone.

    Args:
        sizes: Atoms of each molecule, shape (n,).
        batch_size: Largest number of molecules in a batch.
        mixing: Noise in the order, in atoms.
        seed: Seed of the order.
        reshuffle: Whether :meth:`set_epoch` changes the order.
        rank: Which share of the batches to give, where several processes train together.
        world_size: Number of shares. All are equally long; where the batches do not divide,
            the first ones are given twice.
    """

    def __init__(
        self,
        sizes: npt.NDArray[np.integer[Any]],
        batch_size: int,
        *,
        mixing: float = 0.0,
        seed: int = 0,
        reshuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.sizes = sizes
        self.batch_size = batch_size
        self.mixing = mixing
        self.seed = seed
        self.reshuffle = reshuffle
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives; Lightning calls this."""
        if self.reshuffle:
            self.epoch = epoch

    def __len__(self) -> int:
        return -(-self._count // self.world_size)

    def __iter__(self) -> Iterator[Tensor]:
        """Iterate over batches, each the positions of its molecules in ``sizes``, int64."""
        rng = np.random.default_rng((self.seed, self.epoch))
        keys = self.sizes + self.mixing * rng.random(len(self.sizes))
        batches = np.array_split(np.argsort(keys, kind="stable"), self._count)
        order = np.resize(rng.permutation(self._count), len(self) * self.world_size)
        for place in order[self.rank :: self.world_size]:
            yield torch.from_numpy(batches[place])

    @property
    def _count(self) -> int:
        return -(-len(self.sizes) // self.batch_size)


class MoleculeTensors:
    """Molecules as flat tensors from which padded batches are gathered.

    Args:
        molecules: The molecules.
        target: Their targets, shape (n,).
        center: Whether to move each molecule's centroid to the origin.
    """

    def __init__(
        self, molecules: Molecules, target: npt.NDArray[np.float64], *, center: bool
    ) -> None:
        positions = molecules.positions
        if center:
            sums = np.add.reduceat(positions, molecules.offsets[:-1], axis=0, dtype=np.float64)
            centroids = sums / molecules.sizes[:, None]
            positions = (positions - centroids.repeat(molecules.sizes, axis=0)).astype(np.float32)
        self._positions = torch.from_numpy(positions)
        self._charges = torch.from_numpy(molecules.charges)
        self._starts = torch.from_numpy(molecules.offsets[:-1])
        self._sizes = torch.from_numpy(molecules.sizes)
        self._index = torch.from_numpy(molecules.index.astype(np.int64))
        self._target = torch.from_numpy(target.astype(np.float32))

    def batch(self, rows: Tensor) -> MoleculeBatch:
        """Gather molecules.

        Args:
            rows: Their positions in the order of the QM9 index, shape (B,), int64.

        Returns:
            The batch, padded to its largest molecule.
        """
        sizes = self._sizes[rows]
        slots = torch.arange(int(sizes.max()))
        mask = slots < sizes[:, None]  # (B, N)
        # padding points at the molecule's first atom and is blanked
        atoms = self._starts[rows, None] + slots * mask  # (B, N)
        return MoleculeBatch(
            features=_lookup(self._charges[atoms].long() * mask),
            positions=self._positions[atoms] * mask[..., None],
            mask=mask,
            target=self._target[rows],
            index=self._index[rows],
        )


class MoleculeLoader(ResumableLoader[MoleculeBatch, SizeBuckets]):
    """An iterable of batches, which a trainer can resume in the middle of an epoch.

    The rotations of a batch depend on the seed, the epoch and the place of the batch in it alone,
    so an interrupted run goes on with the batches that it would have seen.

    Args:
        molecules: The molecules.
        rows: Which of them, in the order that the sampler counts, shape (n,), int64.
        sampler: Gives the batches; Lightning calls its ``set_epoch``.
        augment: Whether to rotate each molecule at random about the origin.
        progress: Gives the number of batches that the trainer has finished in this epoch;
            without it, the batches handed out count as finished.
    """

    def __init__(
        self,
        molecules: MoleculeTensors,
        rows: Tensor,
        sampler: SizeBuckets,
        *,
        augment: bool = False,
        progress: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(sampler, progress, "split, train_molecules and batch_size")
        self.molecules = molecules
        self.rows = rows
        self.augment = augment

    def batch(self, step: int, rows: Tensor) -> MoleculeBatch:
        batch = self.molecules.batch(self.rows[rows])
        if not self.augment:
            return batch
        entropy = (self.sampler.seed, self.sampler.epoch, step, self.sampler.rank)
        seed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(seed))
        rotations = SO3().sample((len(rows),), generator=generator)  # (B, 3, 3)
        return batch._replace(positions=batch.positions @ rotations.mT)
