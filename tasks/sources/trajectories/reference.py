"""Reference trajectories: drawn, integrated, kept.

Systems are made in blocks of 1,000, each from a seed of its own, and each block is a file of the
cache. A set of 100 systems is therefore the start of that of 1,000, and an interrupted generation
goes on where it stopped.

A block is found by the settings of its system and by the source of all that makes it, and taken
where the system still takes the first steps that it took then. What was typed in has no source
that could be compared, and is not kept.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from liegroups.checks import check_count, check_seed
from tasks.cache import CacheError, cache_directory, keep_arrays, load_arrays, source_digest
from tasks.systems import System
from tasks.systems.hamiltonian import HamiltonianField
from tasks.systems.integrators import RK4

logger = logging.getLogger(__name__)

Part = Literal["train", "val", "test"]

BLOCK: Final = 1_000
CACHE_VERSION: Final = 2

_PARTS: Final = ("train", "val", "test")
_DRIFT_EVERY: Final = 10  # Points in time; the energy at each costs as much as a step.
_REPEATED: Final = 2  # Systems of a block, and points in time, that are made anew when it is read.


@dataclass(frozen=True)
class Trajectories:
    """A stretch of points in time from each of some systems, in float64.

    Attributes:
        states: Positions above momenta ``(systems, points, 2, particles, dim)``.
        parameters: Parameters ``(systems, particles, parameters)``.
        starts: Number of the first point of each stretch, ``(systems,)``.
        energy_drift: Largest change of the energy along the whole reference trajectory, looked at
            every 10 points, in units of kinetic plus absolute potential energy, ``(systems,)``.
    """

    states: Tensor
    parameters: Tensor
    starts: Tensor
    energy_drift: Tensor

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, rows: Tensor | slice) -> Trajectories:
        return Trajectories(
            self.states[rows], self.parameters[rows], self.starts[rows], self.energy_drift[rows]
        )


def trajectories(
    system: System,
    count: int,
    length: int,
    *,
    part: Part = "train",
    seed: int = 0,
    random_start: bool = True,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Trajectories:
    """Read trajectories from the cache, and make those that are not there.

    Where the cache cannot be written, a warning says so.

    Args:
        system: The system.
        count: Number of systems.
        length: Number of points in time to keep of each.
        part: Parts of equal seed have no system in common.
        seed: Seed of the systems.
        random_start: Whether each stretch starts anywhere on its trajectory; else at time 0.
        folder: Where the cache lies, see ``tasks.cache.cache_directory``.
        progress: Whether to show a bar while systems are made.

    Returns:
        The trajectories. Equal arguments give equal ones, and fewer systems the first of them.

    Raises:
        ValueError: A number is out of range.
        DivergenceError: The reference diverged; the system's substeps are too few.
    """
    check_count("systems", count, most=None)
    if not 2 <= length <= system.points:
        raise ValueError(
            f"length: {length} points; accepted: 2 to {system.points}, the points of a trajectory."
        )
    check_seed("seed", seed)
    base = _folder(system, (length, part, seed, random_start), folder)
    blocks, missing = {}, []
    numbers = range(-(-count // BLOCK))
    for number in numbers:
        found = None if base is None else _known(base / f"{number:05d}.npz")
        if found is not None and not _is_of(system, found, number, part, seed):
            logger.warning(
                "%s is not of this %s; the trajectories are made again", base, type(system).__name__
            )
            found = None
        if found is None:
            missing.append(number)
        else:
            blocks[number] = found
    bar = tqdm(
        missing,
        desc=f"{type(system).__name__}, {part}",
        unit_scale=BLOCK,
        unit=" systems",
        disable=not progress or not missing,
    )
    for number in bar:
        blocks[number] = _block(system, number, length, part, seed, random_start)
        if base is not None:
            keep_arrays(
                base / f"{number:05d}.npz",
                blocks[number],
                version=CACHE_VERSION,
                otherwise="trajectories are made every time",
                setting="data.folder",
            )
    joined = {
        name: torch.from_numpy(np.concatenate([blocks[n][name] for n in numbers])[:count])
        for name in ("states", "parameters", "starts", "energy_drift")
    }
    return Trajectories(**joined)


def _folder(system: System, settings: tuple[object, ...], folder: str | Path | None) -> Path | None:
    """Where the blocks of a system lie; nowhere if the source of its class cannot be had."""
    sources = [source_digest(each) for each in (type(system), HamiltonianField, RK4)]
    if None in sources:
        return None
    kind = type(system)
    key = repr((kind.__module__, kind.__qualname__, system, *settings, CACHE_VERSION, *sources))
    name = f"{kind.__name__.lower()}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return cache_directory(folder) / "dynamics" / name


def _known(path: Path) -> dict[str, np.ndarray] | None:
    """A block that is kept, if it is whole."""
    try:
        return load_arrays(path, version=CACHE_VERSION)
    except FileNotFoundError:
        return None
    except CacheError as error:
        logger.warning("%s; the trajectories are made again", error)
        return None


def _is_of(
    system: System, block: dict[str, np.ndarray], number: int, part: Part, seed: int
) -> bool:
    """Whether a block is what a system makes, going by its parameters and first steps."""
    state, parameters, _ = _draw(system, number, part, seed)
    steps = _first_steps(system, state, parameters)
    # Another machine may round otherwise.
    return all(
        block[name].shape == made.shape and np.allclose(block[name], made, rtol=1e-9, atol=1e-12)
        for name, made in (("parameters", parameters.numpy()), ("first_steps", steps))
    )


def _draw(
    system: System, number: int, part: Part, seed: int
) -> tuple[Tensor, Tensor, np.random.Generator]:
    """Initial states and parameters of a block, and the randomness that goes on from there."""
    rng = np.random.default_rng((seed, _PARTS.index(part), number))
    return *system.sample(BLOCK, rng), rng


def _first_steps(system: System, state: Tensor, parameters: Tensor) -> np.ndarray:
    few = slice(_REPEATED)
    return system.trajectory(state[few], parameters[few], _REPEATED).numpy()


def _block(
    system: System, number: int, length: int, part: Part, seed: int, random_start: bool
) -> dict[str, np.ndarray]:
    state, parameters, rng = _draw(system, number, part, seed)
    starts = torch.zeros(BLOCK, dtype=torch.int64)
    if random_start:
        starts = torch.from_numpy(rng.integers(0, system.points - length, BLOCK, endpoint=True))
    system.check(state, parameters)
    states = system.trajectory(state, parameters, int(starts.max()) + length)
    drift = energy_drift(system, states[:, ::_DRIFT_EVERY], parameters)
    kept = starts[:, None] + torch.arange(length)
    return {
        "states": states[torch.arange(BLOCK)[:, None], kept].numpy(),
        "parameters": parameters.numpy(),
        "starts": starts.numpy(),
        "energy_drift": drift.numpy(),
        "first_steps": _first_steps(system, state, parameters),
    }


def energy_drift(system: System, states: Tensor, parameters: Tensor) -> Tensor:
    """Largest change of the energy along trajectories ``(batch, points, ...)``, ``(batch,)``.

    In units of the largest kinetic plus absolute potential energy of each.
    """
    change = torch.zeros_like(parameters[:, 0, 0])
    scale = torch.full_like(change, torch.finfo(change.dtype).tiny)
    start = system.energy(states[:, 0], parameters)
    for state in states.unbind(1):
        change = torch.maximum(change, (system.energy(state, parameters) - start).abs())
        scale = torch.maximum(scale, system.energy_scale(state, parameters))
    return change / scale
