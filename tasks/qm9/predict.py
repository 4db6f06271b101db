"""``lie-attention predict``: properties of the molecules in any file that ASE reads."""

from __future__ import annotations

import csv
import io
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np
import torch
from torch import Tensor

from liegroups import SO3
from tasks.cache import write_atomic
from tasks.qm9.batches import SYMBOLS, MoleculeTensors, SizeBuckets
from tasks.qm9.model import QM9Model
from tasks.qm9.source import Molecules
from tasks.run.checkpoint import load_model
from tasks.run.folder import RunFolder, free_file
from tasks.run.trust import Trust

if TYPE_CHECKING:
    from ase import Atoms

LEAST_DISTANCE: Final = 0.3
"""Atoms nearer than this, in angstrom, are on top of each other: no bond is so short."""

_CHUNK: Final = 4096  # molecules in memory at a time
_NO_SPREAD: Final = 1e-5  # of the training deviation: what rounding does


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"predict: {message}")


@dataclass(frozen=True)
class Prediction:
    """Properties of molecules.

    Args:
        values: In the units of the targets, shape (n, T).
        errors: Standard deviations over rotations and checkpoints, shape (n, T); none were asked
            for where absent.
    """

    values: Tensor
    errors: Tensor | None


def predict(args: Sequence[str]) -> bool:
    """Predict properties of the molecules in files, and write a table.

    Args:
        args: What follows ``predict`` on the command line.

    Returns:
        True.

    Raises:
        ImportError: ase is not installed.
        ValueError: An argument is wrong, a file cannot be read, or a molecule is none that the
            network can say something of.
    """
    parser = _Parser(
        prog="lie-attention predict",
        description="Properties of molecules by a network that was trained on them.",
    )
    parser.add_argument("molecules", nargs="+", type=Path, help="Files, in any format ASE reads.")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        type=Path,
        help="A checkpoint; several, each with an option of its own, are averaged, and their "
        "spread is an estimate of the error.",
    )
    parser.add_argument(
        "--run", action="append", default=[], type=Path, help="A run, whose best weights are taken."
    )
    parser.add_argument(
        "--rotations",
        type=int,
        default=0,
        help="Average over so many random rotations of each molecule; their spread is an estimate "
        "of the error, for networks that are not exactly invariant.",
    )
    parser.add_argument("--output", type=Path, help="The table; by default FILE-predictions.csv.")
    parser.add_argument("--batch_size", type=int, default=96, help="Molecules in a batch.")
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        help="A package whose classes the checkpoints may name besides ours.",
    )
    parser.add_argument("--device", default="cpu", help="Where to compute, such as cuda.")
    given = parser.parse_args(list(args))
    paths = [*given.checkpoint, *(RunFolder(run).weights for run in given.run)]
    if not paths:
        raise ValueError("predict: give trained weights by --checkpoint FILE or --run FOLDER.")
    if given.rotations < 0 or given.rotations == 1:
        raise ValueError(f"rotations: {given.rotations}; accepted: 0, or 2 or more.")
    if given.batch_size < 1:
        raise ValueError(f"batch_size: {given.batch_size}; accepted: 1 or more.")
    for file in given.molecules:
        if not file.is_file():
            raise ValueError(f"predict: there is no file {file}.")
    if given.output is not None and given.output.exists():
        raise ValueError(
            f"output: there is a file {given.output}, and nothing is overwritten; name another."
        )
    networks = load_networks(paths, given.device, Trust.of(given.trust))
    targets, elements = networks[0].targets, networks[0].elements
    spread = given.rotations > 0 or len(networks) > 1

    columns = ["file", "molecule", "formula", "atoms"]
    for target in targets:
        columns.append(f"{target['name']} ({target['unit']})")
        if spread:
            columns.append(f"{target['name']} error ({target['unit']})")
    buffer, count = io.StringIO(), 0
    overflown: list[str] = []
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for file in given.molecules:
        first, stream = 0, _read(file)
        while chunk := list(islice(stream, _CHUNK)):
            molecules = pack(chunk, elements, f"{file}: molecule ", first)
            found = predict_molecules(networks, molecules, given.rotations, given.batch_size)
            for row, atoms in enumerate(chunk):
                if not found.values[row].isfinite().all():
                    overflown.append(f"{file}: molecule {first + row}")
                    continue
                cells = [f"{value:.6g}" for value in found.values[row]]
                if found.errors is not None:
                    errors = [f"{error:.2g}" for error in found.errors[row]]
                    cells = [cell for pair in zip(cells, errors, strict=True) for cell in pair]
                formula = atoms.get_chemical_formula("hill")
                writer.writerow([file, first + row, formula, len(atoms), *cells])
            first += len(chunk)
        count += first
    count -= len(overflown)
    if given.output is None:
        first_file = given.molecules[0]
        with free_file(first_file.with_name(f"{first_file.stem}-predictions.csv")) as output:
            write_atomic(output, buffer.getvalue().encode())
    else:
        output = given.output
        write_atomic(output, buffer.getvalue().encode())
    for target in targets:
        print(f"{target['name']}: {target['description']}, in {target['unit']}")
    print(f"Written: {output} ({count} molecules)")
    if overflown:
        raise ValueError(
            f"predict: the prediction of {len(overflown)} molecules is not finite, and is left out "
            f"of {output}; the first is {overflown[0]}."
        )
    return True


def load_networks(
    paths: Sequence[Path], device: str = "cpu", trust: Trust | None = None
) -> list[QM9Model]:
    """Load trained networks of the same targets.

    Args:
        paths: Checkpoints.
        device: Where they are to compute.
        trust: What the checkpoints may name besides our own classes.

    Raises:
        UserError: One cannot be read or built; see ``tasks.run.checkpoint.load_model``.
        ValueError: One is not a checkpoint of molecules, or their targets or elements differ.
    """
    networks: list[QM9Model] = []
    for path in paths:
        network = load_model(QM9Model, path, device=device, trust=trust)
        networks.append(network.float().eval().requires_grad_(False))
    first = networks[0]
    for path, network in zip(paths, networks, strict=True):
        if (network.targets, network.elements) != (first.targets, first.elements):
            raise ValueError(
                f"checkpoint: {path} predicts {_described(network)}, but {paths[0]} "
                f"{_described(first)}; an ensemble is of one kind."
            )
    return networks


def predict_molecules(
    networks: Sequence[QM9Model], molecules: Molecules, rotations: int = 0, batch_size: int = 96
) -> Prediction:
    """Predict with one network or the mean of several, as they are or over rotations.

    Args:
        networks: Networks of the same targets.
        molecules: The molecules.
        rotations: Number of random rotations of each molecule, the same in every call; none where
            it is 0.
        batch_size: Molecules in a batch.

    Raises:
        ValueError: The spread over rotations was asked for, and there is none.
    """
    device, outputs = networks[0].device, len(networks[0].targets)
    none = np.zeros((len(molecules), outputs))
    tensors = MoleculeTensors(
        molecules, none, center=True, elements=networks[0].elements, device=device
    )
    turns = max(rotations, 1)
    values = torch.empty(len(networks), turns, len(molecules), outputs, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    matrices = SO3().sample((turns,), generator=generator).to(device) if rotations else None
    with torch.inference_mode():
        for rows in SizeBuckets(molecules.sizes, batch_size, reshuffle=False):
            batch = tensors.batch(rows)
            for turn in range(turns):
                if matrices is not None:
                    turned = batch._replace(positions=batch.positions @ matrices[turn].mT)
                else:
                    turned = batch
                for place, network in enumerate(networks):
                    values[place, turn, rows] = network(turned).double().cpu()
    values = values.flatten(0, 1)  # (networks and rotations, n, T)
    if len(values) == 1:
        return Prediction(values[0], None)
    errors = values.std(0)
    if len(networks) == 1 and (errors < _NO_SPREAD * networks[0].std.cpu()).all():
        raise ValueError(
            "rotations: the predictions do not change under rotations but by rounding, since the "
            "network is invariant to them, so their spread says nothing of the error; give several "
            "checkpoints for an estimate."
        )
    return Prediction(values.mean(0), errors)


def pack(
    found: Sequence[Atoms], elements: dict[str, int], where: str = "molecule ", first: int = 0
) -> Molecules:
    """Put molecules side by side as flat arrays.

    Args:
        found: The molecules.
        elements: The elements that the network knows, with their nuclear charges.
        where: What stands before a molecule's number in a message.
        first: The number of the first molecule.

    Raises:
        ValueError: A molecule has no atoms, an unknown element, a coordinate that is not finite,
            two atoms on top of each other, or is periodic.
    """
    for number, atoms in enumerate(found, first):
        _check(atoms, elements, f"{where}{number}")
    sizes = [len(atoms) for atoms in found]
    return Molecules(
        charges=np.concatenate([atoms.numbers for atoms in found]).astype(np.uint8),
        positions=np.concatenate(
            [atoms.positions - atoms.positions.mean(0) for atoms in found]
        ).astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        index=np.arange(first, first + len(found), dtype=np.int32),
        values=np.empty((len(found), 0)),
    )


def _check(atoms: Atoms, elements: dict[str, int], name: str) -> None:
    if not len(atoms):
        raise ValueError(f"{name} has no atoms.")
    unknown = sorted(set(atoms.numbers.tolist()) - set(elements.values()))
    if unknown:
        named = ", ".join(f"{SYMBOLS.get(z, 'no element')} ({z})" for z in unknown)
        raise ValueError(
            f"{name}, {atoms.get_chemical_formula('hill')}, has {named}; the network knows "
            f"{', '.join(elements)} only."
        )
    if atoms.pbc.any():
        raise ValueError(f"{name} is periodic; the network is of molecules in vacuum.")
    if not np.isfinite(atoms.positions).all():
        raise ValueError(f"{name} has a coordinate that is not finite.")
    squared = np.square(atoms.positions[:, None] - atoms.positions).sum(-1)
    squared[np.diag_indices(len(squared))] = np.inf
    if squared.min() < LEAST_DISTANCE**2:
        one, other = np.unravel_index(squared.argmin(), squared.shape)
        raise ValueError(
            f"{name}: atoms {one} and {other} overlap, they are {squared.min() ** 0.5:.3g} Å "
            "apart; are the coordinates in angstrom?"
        )


def _read(path: Path) -> Iterator[Atoms]:
    """The molecules of a file, one after the other."""
    try:
        from ase.io import iread
    except ImportError as error:
        raise ImportError(
            "predict reads files by the package ase: pip install 'lie-attention[md]'.", name="ase"
        ) from error
    try:
        found: Any = iread(path)
        empty = True
        for atoms in found:
            empty = False
            yield atoms
    except Exception as error:  # ASE's readers fail in any way.
        raise ValueError(f"predict: ASE cannot read {path}: {error}") from error
    if empty:
        raise ValueError(f"predict: {path} holds no molecules.")


def _described(network: QM9Model) -> str:
    names = ", ".join(f"{target['name']} ({target['unit']})" for target in network.targets)
    return f"{names} of {', '.join(network.elements)}"
