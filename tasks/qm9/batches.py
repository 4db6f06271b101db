"""QM9 as batches: features of atoms, batches of molecules of like size, rotations.

All molecules lie in the memory of the device that trains, as flat tensors (45 MB), and a batch is
gathered and rotated there. What decides its shape, the sizes and the order of the molecules, stays
with the host, so that neither waits for the other, and there are no worker processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import embedding
from torch.utils.data import Sampler

from liegroups import SO3
from tasks.loader import ResumableLoader, Share
from tasks.qm9.source import Molecules
from tasks.qm9.targets import ELEMENTS

IN_FEATURES: Final = 3 * len(ELEMENTS)
"""Features of an atom."""

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se "
    "Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb "
    "Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn"
)
SYMBOLS: Final = dict(enumerate(_SYMBOLS.split(), start=1))
"""The symbols of the elements by their nuclear charge."""


def _feature_table(elements: Mapping[str, int]) -> Tensor:
    # row Z holds the features of the element; row 0, the padding, and other elements are zero
    largest = max(elements.values())
    table = torch.zeros(largest + 1, len(elements), 3)
    for place, charge in enumerate(elements.values()):
        table[charge, place] = (charge / largest) ** torch.arange(3.0)
    return table.flatten(1)


class MoleculeBatch(NamedTuple):
    """Molecules padded to the size of the largest, B molecules of at most N atoms.

    Attributes:
        features: What :func:`atom_features` gives, zero in the padding, shape (B, N, 15).
        positions: Coordinates in angstrom, zero in the padding, shape (B, N, 3).
        mask: True for an atom, False for padding, shape (B, N).
        target: The targets in their units, less the values of the free atoms, shape (B, T).
        index: The index of each molecule in QM9, shape (B,), int64.
        weight: What each molecule counts in the mean of the loss, shape (B,): 1, but where
            processes that train together have unequal parts of a batch.
    """

    features: Tensor
    positions: Tensor
    mask: Tensor
    target: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    weight: Tensor


def atom_features(charges: Tensor, elements: Mapping[str, int] = ELEMENTS) -> Tensor:
    r"""Describe atoms by their element: one-hot times powers of the charge.

    .. math:: f = \mathrm{onehot}(Z) \otimes (1, c, c^2), \qquad c = Z / Z_\mathrm{max}.

    Args:
        charges: Nuclear charges, any integer type, shape (...); 0 stands for padding.
        elements: The elements to tell apart, with their nuclear charges: those of QM9, of which
            fluorine with 9 has the largest.

    Returns:
        Features, float32, shape (..., 3 E) for E elements, the three powers of an element side by
        side; zeros for padding.

    Raises:
        ValueError: A charge is not that of one of the elements.

    Reference:
        B. Anderson, T. S. Hy, R. Kondor, "Cormorant: Covariant molecular neural networks",
        NeurIPS 2019.

    Example:
        >>> atom_features(torch.tensor(9))[-3:]
        tensor([1., 1., 1.])
    """
    unknown = sorted(set(charges.unique().tolist()) - {0, *elements.values()})
    if unknown:
        named = ", ".join(f"{SYMBOLS[z]} ({z})" if z in SYMBOLS else str(z) for z in unknown)
        accepted = ", ".join(f"{symbol} ({charge})" for symbol, charge in elements.items())
        raise ValueError(f"charges: unknown elements {named}; accepted: {accepted}")
    return embedding(charges.long(), _feature_table(elements).to(charges.device))


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
    """

    def __init__(
        self,
        sizes: npt.NDArray[np.integer[Any]],
        batch_size: int,
        *,
        mixing: float = 0.0,
        seed: int = 0,
        reshuffle: bool = True,
    ) -> None:
        self.sizes = sizes
        self.batch_size = batch_size
        self.mixing = mixing
        self.seed = seed
        self.reshuffle = reshuffle
        self.epoch = 0

    @property
    def smallest(self) -> int:
        """Number of molecules in the smallest batch."""
        return len(self.sizes) // self.count

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration gives; Lightning calls this."""
        if self.reshuffle:
            self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    @property
    def count(self) -> int:
        """Number of batches in an epoch."""
        return -(-len(self.sizes) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        """Iterate over batches, each the positions of its molecules in ``sizes``, int64."""
        rng = np.random.default_rng((self.seed, self.epoch))
        keys = self.sizes + self.mixing * rng.random(len(self.sizes))
        batches = np.array_split(np.argsort(keys, kind="stable"), self.count)
        for place in rng.permutation(self.count):
            yield torch.from_numpy(batches[place])


class MoleculeSource(Protocol):
    """What batches are made from: all molecules in memory, or a database that is read."""

    device: torch.device

    def batch(self, rows: Tensor) -> MoleculeBatch:
        """Molecules of some rows ``(B,)``, int64, on the host."""


class MoleculeTensors:
    """Molecules as flat tensors from which padded batches are gathered.

    Args:
        molecules: The molecules.
        target: Their targets, shape (n, T).
        center: Whether to move each molecule's centroid to the origin.
        elements: The elements that the features tell apart, with their nuclear charges.
        device: Where the tensors lie and the batches are gathered.
    """

    def __init__(
        self,
        molecules: Molecules,
        target: npt.NDArray[np.float64],
        *,
        center: bool,
        elements: Mapping[str, int] = ELEMENTS,
        device: torch.device | str = "cpu",
    ) -> None:
        positions = molecules.positions
        if center:
            sums = np.add.reduceat(positions, molecules.offsets[:-1], axis=0, dtype=np.float64)
            centroids = sums / molecules.sizes[:, None]
            positions = (positions - centroids.repeat(molecules.sizes, axis=0)).astype(np.float32)
        self.device = torch.device(device)
        self._host_sizes = molecules.sizes
        self._positions = torch.from_numpy(positions).to(device)
        self._charges = torch.from_numpy(molecules.charges).to(device)
        self._starts = torch.from_numpy(molecules.offsets[:-1]).to(device)
        self._sizes = torch.from_numpy(molecules.sizes).to(device)
        self._index = torch.from_numpy(molecules.index.astype(np.int64)).to(device)
        self._target = torch.from_numpy(target.astype(np.float32)).to(device)
        self._features = _feature_table(elements).to(device)

    def to(self, device: torch.device | str) -> MoleculeTensors:
        """The same molecules on another device; these themselves where they lie there."""
        if torch.device(device) == self.device:
            return self
        moved = copy(self)
        moved.device = torch.device(device)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def batch(self, rows: Tensor) -> MoleculeBatch:
        """Gather molecules, without waiting for the device.

        Args:
            rows: Their positions in the order of the QM9 index, shape (B,), int64, on the host.

        Returns:
            The batch, padded to its largest molecule, on the device.
        """
        longest = int(self._host_sizes[rows.numpy()].max())
        if self.device.type == "cuda":
            rows = rows.pin_memory()
        rows = rows.to(self.device, non_blocking=True)
        slots = torch.arange(longest, device=self.device)
        mask = slots < self._sizes[rows, None]  # (B, N)
        # padding points at the molecule's first atom and is blanked
        atoms = self._starts[rows, None] + slots * mask  # (B, N)
        return MoleculeBatch(
            features=embedding(self._charges[atoms].long() * mask, self._features),
            positions=self._positions[atoms] * mask[..., None],
            mask=mask,
            target=self._target[rows],
            index=self._index[rows],
            weight=torch.ones(len(rows), device=self.device),
        )


class MoleculeLoader(ResumableLoader[MoleculeBatch, SizeBuckets]):
    """An iterable of batches, which a trainer can resume in the middle of an epoch.

    The rotations of a batch depend on the seed, the epoch and the place of the batch in it alone,
    so an interrupted run goes on with the batches that it would have seen, and several processes
    see what one would.

    Args:
        molecules: The molecules; batches are made on their device.
        rows: Which of them, in the order that the sampler counts, shape (n,), int64, on the host.
        sampler: Gives the batches; Lightning calls its ``set_epoch``.
        order: The settings that the order of an epoch depends on, by name.
        augment: Whether to rotate each molecule at random about the origin.
        progress: Gives the number of batches that the trainer has finished in this epoch;
            without it, the batches handed out count as finished.
        share: The part of each batch that this process takes.

    Raises:
        ValueError: There are more processes than molecules in a batch.
    """

    kind = "molecules"

    def __init__(
        self,
        molecules: MoleculeSource,
        rows: Tensor,
        sampler: SizeBuckets,
        *,
        order: Mapping[str, int | str],
        augment: bool = False,
        progress: Callable[[], int] | None = None,
        share: Share = Share(),  # noqa: B008 (immutable)
    ) -> None:
        super().__init__(sampler, order, sampler.smallest, progress, share)
        self.molecules = molecules
        self.rows = rows
        self.augment = augment

    def batch(self, step: int, rows: Tensor) -> MoleculeBatch:
        return self.finish(step, rows, self.molecules.batch(self.rows[self.share.take(rows)]))

    def finish(self, step: int, rows: Tensor, batch: MoleculeBatch) -> MoleculeBatch:
        """Weigh and rotate this process's part of a batch.

        Args:
            step: The place of the batch in the epoch.
            rows: All rows of the batch.
            batch: The molecules of this process.
        """
        batch = batch._replace(weight=self.share.weigh(batch.weight, len(rows)))
        if not self.augment:
            return batch
        entropy = (self.sampler.seed, self.sampler.epoch, step)
        seed = np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]
        device = self.molecules.device
        generator = torch.Generator(device).manual_seed(int(seed))
        rotations = SO3().sample((len(rows),), generator=generator, device=device)
        rotations = self.share.take(rotations)  # (B, 3, 3)
        return batch._replace(positions=batch.positions @ rotations.mT)
