"""``lie-attention predict``: predictions for the clouds in files of one's own."""

from __future__ import annotations

import csv
import io
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NoReturn

import torch
from torch import Tensor

from liegroups import SO2, SO3
from tasks import pretrained
from tasks.cache import write_atomic
from tasks.data.clouds import Stored, Table
from tasks.data.loader import BatchSampler
from tasks.objectives import Regression
from tasks.runs.checkpoint import load_model
from tasks.runs.folder import RunFolder, free_file
from tasks.runs.trust import Trust
from tasks.sources.files import pack, read_arrays, read_molecules
from tasks.training.model import Model

Row = list[object]

_CHUNK: Final = 4096  # molecules in memory at a time
_NO_SPREAD: Final = 1e-5  # of the training deviation: what rounding does


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"predict: {message}")


@dataclass(frozen=True)
class Prediction:
    """What is predicted of n clouds.

    Args:
        values: The columns, in the units of the targets, shape (n, T).
        errors: Standard deviations over rotations and checkpoints, shape (n, T); none were asked
            for where absent.
        vectors: Numbers of each point where the objective has some, shape (points, C) for each
            cloud.
    """

    values: Tensor
    errors: Tensor | None
    vectors: Sequence[Tensor] = ()


@dataclass(frozen=True)
class _Chunk:
    """Some of the clouds of a file.

    Args:
        clouds: The clouds.
        first: The number of the first.
        formulas: Chemical formulas, of molecules.
    """

    clouds: Stored
    first: int
    formulas: Sequence[str] = ()


def predict(args: Sequence[str]) -> bool:
    """Predict for the clouds in files, and write a table.

    Args:
        args: What follows ``predict`` on the command line.

    Returns:
        True.

    Raises:
        ImportError: ase is needed and not installed.
        ValueError: An argument is wrong, a file cannot be read, or a cloud is none that the
            network can say something of.
    """
    given = _parse(args)
    paths = [
        *given.checkpoint,
        *(RunFolder(run).weights for run in given.run),
        *(pretrained.path_of(name) for name in given.model),
    ]
    if not paths:
        raise ValueError(
            "predict: give trained weights by --checkpoint FILE, --run FOLDER or --model NAME, "
            f"which is one of {', '.join(pretrained.names())}."
        )
    networks = load_networks(paths, given.device, Trust.of(given.trust))
    objective, molecules = networks[0].objective, not _is_of_arrays(given.files[0])
    columns, of_points = objective.columns(labelled=False), objective.point_columns()
    cloud, point = ("molecule", "atom") if molecules else ("cloud", "point")

    head = ["file", cloud, *(["formula", "atoms"] if molecules else ["points"])]
    for column in columns:
        head.append(column.name)
        if given.rotations > 0 or len(networks) > 1:
            name, space, unit = column.name.partition(" (")
            head.append(f"{name} error{space}{unit}")
    names = [column.name.partition(" of ")[0] + _unit(column.name) for column in of_points]
    table: list[Row] = []
    of_point: list[Row] = []
    overflown: list[str] = []
    for file in given.files:
        for chunk in _chunks(file, networks[0]):
            found = predict_clouds(networks, chunk.clouds, given.rotations, given.batch_size)
            for row, size in enumerate(chunk.clouds.sizes):
                start: Row = [file, chunk.first + row]
                if not found.values[row].isfinite().all():
                    overflown.append(f"{file}: {cloud} {chunk.first + row}")
                    continue
                table.append([*start, *chunk.formulas[row : row + 1], size])
                for place, column in enumerate(columns):
                    form = column.form if found.errors is None else column.form.replace("d", ".6g")
                    table[-1].append(form % found.values[row, place])
                    if found.errors is not None:
                        table[-1].append(f"{found.errors[row, place]:.2g}")
                for number, vector in enumerate(found.vectors[row] if of_points else ()):
                    cells = (c.form % x for c, x in zip(of_points, vector, strict=True))
                    of_point.append([*start, number, *cells])
    if isinstance(objective, Regression):
        for target in objective.targets:
            print(f"{target['name']}: {target['description']}, in {target['unit']}")
    path = given.output
    if path is None:
        file = given.files[0]
        with free_file(file.with_name(f"{file.stem}-predictions.csv")) as path:
            _write(path, head, table)
    else:
        _write(path, head, table)
    print(f"Written: {path} ({len(table)} {cloud}s)")
    if of_points:
        with free_file(path.with_name(f"{path.stem}-{point}s.csv")) as beside:
            _write(beside, ["file", cloud, point, *names], of_point)
        print(f"Written: {beside} ({len(of_point)} {point}s)")
    if overflown:
        raise ValueError(
            f"predict: the prediction of {len(overflown)} {cloud}s is not finite, and is left out "
            f"of {path}; the first is {overflown[0]}."
        )
    return True


def load_networks(
    paths: Sequence[Path], device: str = "cpu", trust: Trust | None = None
) -> list[Model]:
    """Load trained networks that predict the same.

    Args:
        paths: Checkpoints.
        device: Where they are to compute.
        trust: What the checkpoints may name besides our own classes.

    Raises:
        UserError: One cannot be read or built; see ``tasks.runs.checkpoint.load_model``.
        ValueError: One was never trained, or they predict different things.
    """
    networks = []
    for path in paths:
        network = load_model(Model, path, device=device, trust=trust)
        if not network.is_trained:
            raise ValueError(f"checkpoint: {path} has not been trained.")
        networks.append(network.float().eval().requires_grad_(False))
    first = networks[0].objective
    for path, network in zip(paths, networks, strict=True):
        if network.objective.described != first.described or network.kind != networks[0].kind:
            raise ValueError(
                f"checkpoint: {path} predicts {network.objective.described}, but {paths[0]} "
                f"{first.described}; an ensemble is of one kind."
            )
    return networks


def predict_clouds(
    networks: Sequence[Model], clouds: Stored, rotations: int = 0, batch_size: int = 96
) -> Prediction:
    """Predict with one network or the mean of several, as they are or over rotations.

    Args:
        networks: Networks that predict the same.
        clouds: The clouds.
        rotations: Number of random rotations of each cloud, the same in every call; none where it
            is 0.
        batch_size: Clouds in a batch.

    Raises:
        ValueError: The spread over rotations was asked for, and there is none.
    """
    first = networks[0]
    outputs, of_points = len(first.objective.columns(labelled=False)), first.objective.point_columns
    clouds, count = clouds.to(first.device), len(clouds.sizes)
    matrices = _rotations(first, rotations)
    passes = len(networks) * max(rotations, 1)
    values = torch.empty(passes, count, outputs, dtype=torch.float64)
    vectors = [torch.empty(0)] * count
    with torch.inference_mode():
        for rows in BatchSampler(clouds.sizes, batch_size, reshuffle=False):
            batch = clouds.batch(rows)
            sums: Tensor | float = 0.0
            for place in range(passes):
                network, turned = networks[place % len(networks)], batch
                matrix = None if matrices is None else matrices[place // len(networks)]
                if matrix is not None:
                    turned = batch._replace(points=batch.points @ matrix.mT)
                found = network(network.cast(turned))
                values[place, rows] = network.objective.cells(found, turned).double().cpu()
                if of_points():
                    cells = network.objective.point_cells(found)
                    sums = sums + (cells if matrix is None else cells @ matrix)
            if isinstance(sums, Tensor):
                for row, vector in zip(rows.tolist(), sums.cpu() / passes, strict=True):
                    vectors[row] = vector[: clouds.sizes[row]]
    if passes == 1:
        return Prediction(values[0], None, vectors)
    errors, scale = values.std(0), first.objective.deviations.cpu()
    if len(networks) == 1 and (errors < _NO_SPREAD * scale).all():
        raise ValueError(
            "rotations: the predictions do not change under rotations but by rounding, since the "
            "network is invariant to them, so their spread says nothing of the error; give several "
            "checkpoints for an estimate."
        )
    return Prediction(values.mean(0), errors, vectors)


def _parse(args: Sequence[str]) -> Namespace:
    """The arguments, of which those are in range that need no network."""
    parser = _Parser(
        prog="lie-attention predict",
        description="Predictions for clouds in files by a network that was trained on such.",
    )
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        help="Files of molecules, in any format ASE reads; or NAME.npz with the arrays points, "
        "sizes and features of clouds, or states and parameters of systems.",
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        type=Path,
        help="A checkpoint, or what export wrote; several, each with an option of its own, are "
        "averaged, and their spread is an estimate of the error.",
    )
    parser.add_argument(
        "--run", action="append", default=[], type=Path, help="A run, whose best weights are taken."
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        help=f"A model that comes with the package: {', '.join(pretrained.names())}.",
    )
    parser.add_argument(
        "--rotations",
        type=int,
        default=0,
        help="Average over so many random rotations of each cloud; their spread is an estimate of "
        "the error, for networks that are not exactly invariant.",
    )
    parser.add_argument("--output", type=Path, help="The table; by default FILE-predictions.csv.")
    parser.add_argument("--batch_size", type=int, default=96, help="Clouds in a batch.")
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        help="A package whose classes the checkpoints may name besides ours.",
    )
    parser.add_argument("--device", default="cpu", help="Where to compute, such as cuda.")
    given = parser.parse_args(list(args))
    if given.rotations < 0 or given.rotations == 1:
        raise ValueError(f"rotations: {given.rotations}; accepted: 0, or 2 or more.")
    if given.batch_size < 1:
        raise ValueError(f"batch_size: {given.batch_size}; accepted: 1 or more.")
    for file in given.files:
        if not file.is_file():
            raise ValueError(f"predict: there is no file {file}.")
        if _is_of_arrays(file) != _is_of_arrays(given.files[0]):
            raise ValueError("predict: files of molecules and of arrays; give one kind at a time.")
    if given.output is not None and given.output.exists():
        raise ValueError(
            f"output: there is a file {given.output}, and nothing is overwritten; name another."
        )
    return given


def _chunks(file: Path, network: Model) -> Iterator[_Chunk]:
    """The clouds of a file, as many at a time as are in memory without trouble."""
    objective = network.objective
    if _is_of_arrays(file):
        try:
            clouds = objective.stored(network.network, read_arrays(file), network.centered)
            yield _Chunk(clouds, 0)
        except ValueError as error:
            raise ValueError(f"predict: {file}: {error}") from error
        return
    elements, features = objective.elements, objective.atom_features()
    stream, first = read_molecules(file), 0
    while molecules := list(islice(stream, _CHUNK)):
        arrays = pack(molecules, elements, features, f"{file}: molecule ", first)
        formulas = [atoms.get_chemical_formula("hill") for atoms in molecules]
        yield _Chunk(Table(arrays, center=network.centered), first, formulas)
        first += len(molecules)


def _rotations(model: Model, count: int) -> Tensor | None:
    """Rotations of the points of a network, the same in every call."""
    if not count:
        return None
    dim = model.network.space.point_dim
    if not model.objective.turns or dim not in (2, 3):
        raise ValueError(
            f"rotations: {model.objective.described} change when a cloud turns; accepted: 0."
        )
    group = SO3() if dim == 3 else SO2()
    return group.sample((count,), generator=torch.Generator().manual_seed(0)).to(model.device)


def _is_of_arrays(file: Path) -> bool:
    return file.suffix == ".npz"


def _unit(name: str) -> str:
    """The unit of a column, in parentheses after a space."""
    return "".join(name.partition(" (")[1:])


def _write(path: Path, head: Sequence[str], rows: Iterable[Row]) -> None:
    """Write a table in one step."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    write_atomic(path, buffer.getvalue().encode())
