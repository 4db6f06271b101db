r"""The twelve targets of QM9, their units and their per-atom references.

Four energies and the heat capacity grow with the number of atoms. What a model learns of them is
what remains after the free atoms are taken away,

.. math:: y = y_\text{molecule} - \sum_{a} y_\text{atom}(Z_a),

with the values of the free atoms that QM9 publishes.

Reference: R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld, "Quantum chemistry
structures and properties of 134 kilo molecules", Scientific Data 1, 140022 (2014).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tasks.data.module import Target

ELEMENTS: Final[Mapping[str, int]] = MappingProxyType({"H": 1, "C": 6, "N": 7, "O": 8, "F": 9})
"""The elements of QM9 and their nuclear charges, in the order of every per-element axis."""

HARTREE_MEV: Final = 27_211.386246
"""One hartree in meV."""


@dataclass(frozen=True)
class QM9Target(Target):
    """One of the properties that QM9 gives for a molecule.

    Args:
        name: The name in a config, such as ``homo``.
        unit: The unit that the user sees.
        description: The quantity in words.
        column: The column of the CSV files of ``qm9pack``.
        factor: Converts the unit of the column to ``unit``.
        references: The values of the free atoms, in ``unit``, in the order of ``ELEMENTS``;
            ``None`` where nothing is subtracted.
    """

    column: str = ""
    factor: float = 1.0
    references: tuple[float, ...] | None = None


def _energy(name: str, description: str, column: str, *hartrees: float) -> QM9Target:
    references = tuple(HARTREE_MEV * value for value in hartrees) or None
    return QM9Target(name, "meV", description, column, HARTREE_MEV, references)


TARGETS: Final[Mapping[str, QM9Target]] = MappingProxyType(
    {
        target.name: target
        for target in (
            QM9Target("alpha", "bohr^3", "isotropic polarizability", "Polarizability_bohr3"),
            _energy("gap", "gap between HOMO and LUMO", "HOMO_LUMO_gap_au"),
            _energy("homo", "energy of the highest occupied molecular orbital", "HOMO_au"),
            _energy("lumo", "energy of the lowest unoccupied molecular orbital", "LUMO_au"),
            QM9Target("mu", "D", "dipole moment", "Dipole_debye"),
            QM9Target(
                "cv",
                "cal/(mol K)",
                "heat capacity at 298.15 K, less that of the free atoms",
                "Heatcapacity_Cv_cal_mol_K",
                references=(2.981,) * 5,
            ),
            _energy(
                "g",
                "free energy of atomization at 298.15 K",
                "GibbsFreeEnergy_298K_au",
                *(-0.510927, -37.861317, -54.598897, -75.079532, -99.733544),
            ),
            _energy(
                "h",
                "enthalpy of atomization at 298.15 K",
                "Enthalphy_298K_au",
                *(-0.497912, -37.844411, -54.581501, -75.062219, -99.716370),
            ),
            QM9Target("r2", "bohr^2", "electronic spatial extent", "R2_bohr2"),
            _energy(
                "u",
                "internal energy of atomization at 298.15 K",
                "InternalEnergy_298K_au",
                *(-0.498857, -37.845355, -54.582445, -75.063163, -99.717314),
            ),
            _energy(
                "u0",
                "internal energy of atomization at 0 K",
                "InternalEnergy_0K_au",
                *(-0.500273, -37.846772, -54.583861, -75.064579, -99.718730),
            ),
            _energy("zpve", "zero-point vibrational energy", "ZPVE_au"),
        )
    }
)
"""The targets by name, in the order of the literature's tables."""


def find_target(name: str) -> QM9Target:
    """Look a target up by its name.

    Args:
        name: One of the keys of ``TARGETS``.

    Returns:
        The target.

    Raises:
        ValueError: There is no such target.

    Example:
        >>> find_target("homo").unit
        'meV'
    """
    try:
        return TARGETS[name]
    except KeyError:
        accepted = ", ".join(TARGETS)
        raise ValueError(f"target: {name!r} is not a target of QM9; accepted: {accepted}") from None


def reference(name: str, counts: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    r"""Sum the free atoms' values, :math:`\sum_e n_e\, y_\text{atom}(e)`.

    Args:
        name: One of the keys of ``TARGETS``.
        counts: Atoms of each element, shape (..., 5), in the order of ``ELEMENTS``.

    Returns:
        What to subtract from the raw value, in the target's unit, shape (...), float64; zeros for
        a target without references.

    Raises:
        ValueError: There is no such target, or the last axis of ``counts`` is not 5 long.

    Example:
        >>> methane = np.array([4, 1, 0, 0, 0])
        >>> float(reference("cv", methane).round(3))
        14.905
    """
    target = find_target(name)
    if counts.shape[-1:] != (len(ELEMENTS),):
        raise ValueError(
            f"counts: shape {counts.shape}; expected (..., {len(ELEMENTS)}), "
            f"the atoms of {', '.join(ELEMENTS)}"
        )
    references = np.zeros(len(ELEMENTS)) if target.references is None else target.references
    summed: npt.NDArray[np.float64] = counts.astype(np.float64) @ np.asarray(references)
    return summed
