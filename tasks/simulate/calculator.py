"""Trained models as calculators of ASE, for molecular dynamics and relaxation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator as ASECalculator
from ase.calculators.calculator import all_changes
from ase.data import chemical_symbols
from torch import Tensor

from tasks.data.clouds import one_hot
from tasks.errors import UserError
from tasks.objectives import EnergiesAndForces
from tasks.objectives.gradients import energy_and_forces
from tasks.runs.checkpoint import load_model
from tasks.runs.folder import RunFolder
from tasks.runs.trust import Trust
from tasks.simulate.tracing import trace
from tasks.sources.atoms import overlap
from tasks.sources.md17 import ELEMENTS, Molecule
from tasks.training.model import Model
from tasks.units import ELECTRONVOLT

__all__ = ["Calculator", "load_energies"]

logger = logging.getLogger(__name__)


class Calculator(ASECalculator):
    """Energy in eV and forces in eV/angstrom by a model that was trained on a molecule.

    The energy is the total energy of the level of theory that the model was trained on, and the
    forces are its exact negative gradient, so dynamics conserve it.

    Args:
        path: The folder of a run, whose best weights are taken, or a checkpoint.
        dtype: Floating type to compute in. In float32 the energy has about seven digits of its
            difference to the training mean, not of its total.
        traced: Whether to record the computation once for each molecule, in some seconds, and then
            run the record: more steps a second for small molecules.
        trust: What the checkpoint may name besides our own classes.

    Raises:
        UserError: If the path is neither, or the checkpoint cannot be read or built; see
            ``tasks.runs.checkpoint.load_model``.

    Example:
        >>> from ase.build import molecule
        >>> atoms = molecule("CH3CH2OH")
        >>> atoms.calc = Calculator("runs/ethanol")  # doctest: +SKIP
        >>> atoms.get_potential_energy()  # doctest: +SKIP
        -4209.6
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (as ASE declares it)

    def __init__(
        self,
        path: str | Path,
        dtype: torch.dtype = torch.float32,
        traced: bool = False,
        trust: Trust | None = None,
    ) -> None:
        super().__init__()
        model, objective = load_energies(Path(path), trust)
        assert objective.molecule is not None
        self.objective = objective
        self.molecule: Molecule = objective.molecule
        # The weights do not change, so no derivative with respect to them is prepared.
        self.network = model.network.to(dtype).eval().requires_grad_(False)
        self.dtype = dtype
        self.traced = traced
        self._charges: tuple[int, ...] = ()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Compute energy and forces; ASE calls this.

        Raises:
            ValueError: An element is not one that the model was trained on, two atoms overlap,
                a coordinate is not finite, the system is periodic, or the network cannot be
                traced.
        """
        super().calculate(atoms, properties, system_changes)
        found: Any = self.atoms
        if tuple(found.numbers) != self._charges:
            self._take(found)
        positions = found.positions - found.positions.mean(0)
        _check(found, positions, self.objective.repulsion)
        energy, forces = self._compute(torch.from_numpy(positions[None]).to(self.dtype))
        if not (energy.isfinite().all() and forces.isfinite().all()):
            raise ValueError(
                "atoms: the model gives no finite energy and forces here, which are far from what "
                "it was trained on."
            )
        scale = self.objective.force_rms / ELECTRONVOLT
        shift = self.objective.energy_mean / ELECTRONVOLT
        self.results = {
            "energy": float(energy[0]) * scale + shift,
            "forces": forces[0].numpy().astype(np.float64) * scale,
        }

    def _take(self, atoms: Any) -> None:
        """Look at the elements once, not at every step."""
        seen = set(self.molecule.charges)
        unknown = sorted(set(atoms.numbers.tolist()) - seen)
        name = self.molecule.molecule
        if unknown:
            raise ValueError(
                f"atoms: {', '.join(chemical_symbols[z] for z in unknown)} is not among the "
                f"elements that the model has seen, {_symbols(seen)}: it was trained on {name}."
            )
        if sorted(atoms.numbers.tolist()) != sorted(self.molecule.charges):
            logger.warning(
                "the model was trained on %s; %s is another molecule, whose energy it can only "
                "guess",
                name,
                atoms.get_chemical_formula(),
            )
        features = torch.from_numpy(one_hot(ELEMENTS)[atoms.numbers])[None].to(self.dtype)
        self._compute: Callable[[Tensor], tuple[Tensor, Tensor]] = (
            trace(self.network, features, self.objective.energy)
            if self.traced
            else partial(energy_and_forces, self.objective.energy(self.network, features))
        )
        self._charges = tuple(atoms.numbers)


def load_energies(path: Path, trust: Trust | None = None) -> tuple[Model, EnergiesAndForces]:
    """Load a trained model, and its objective.

    Args:
        path: The folder of a run, whose best weights are taken, or a checkpoint.
        trust: What the checkpoint may name besides our own classes.

    Raises:
        UserError: See ``tasks.runs.checkpoint.load_model``.
    """
    checkpoint = RunFolder(path).weights if path.is_dir() else path
    if not checkpoint.is_file():
        raise UserError(
            f"run: there is no checkpoint {checkpoint}; give the folder of a finished MD17 run."
        )
    model = load_model(Model, checkpoint, trust=trust, what="run")
    if not isinstance(model.objective, EnergiesAndForces):
        raise UserError(f"run: {path} is not of energies and forces, but of {model.kind}.")
    return model, model.objective


def _check(atoms: Any, positions: np.ndarray[Any, Any], may_overlap: bool) -> None:
    if atoms.pbc.any():
        raise ValueError("atoms: the model is of a molecule in vacuum; set atoms.pbc = False.")
    if not np.isfinite(positions).all():
        raise ValueError("atoms: a coordinate is not finite.")
    if not may_overlap and (found := overlap(positions)) is not None:
        first, second, distance = found
        raise ValueError(
            f"atoms: {first} and {second} overlap: they are {distance:.3g} Å apart; a model with "
            "model.objective.repulsion would push them apart."
        )


def _symbols(charges: set[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in sorted(charges))
