import numpy as np
import pytest

from tasks.sources.qm9.molecules import Molecules
from tasks.sources.qm9.targets import ELEMENTS, HARTREE_MEV, TARGETS, find_target, reference

METHANE = np.array([4, 1, 0, 0, 0])

# Mean and deviation over all of QM9; energies in eV, those of atomization for u0, u, h and g.
# They guard units, signs and references: a wrong one is off by a factor or by keV.
STATISTICS = {
    "mu": (2.673, 1.503),
    "alpha": (75.28, 8.17),
    "homo": (-6.536, 0.598),
    "lumo": (0.322, 1.275),
    "gap": (6.858, 1.284),
    "r2": (1189.4, 280.5),
    "zpve": (4.057, 0.902),
    "u0": (-76.116, 10.324),
    "u": (-76.580, 10.415),
    "h": (-77.018, 10.489),
    "g": (-70.837, 9.498),
}


def test_the_targets_are_the_twelve_of_the_literature() -> None:
    assert list(TARGETS) == "alpha gap homo lumo mu cv g h r2 u u0 zpve".split()
    assert all(name == target.name for name, target in TARGETS.items())


@pytest.mark.parametrize(
    ("names", "unit"),
    [
        ("gap homo lumo g h u u0 zpve", "meV"),
        ("mu", "D"),
        ("cv", "cal/(mol K)"),
        ("r2", "bohr^2"),
        ("alpha", "bohr^3"),
    ],
)
def test_units(names: str, unit: str) -> None:
    for name in names.split():
        target = find_target(name)
        assert target.unit == unit
        assert target.factor == (HARTREE_MEV if unit == "meV" else 1.0)


@pytest.mark.parametrize(
    ("name", "hydrogen", "carbon"),
    [
        ("u0", -0.500273, -37.846772),
        ("u", -0.498857, -37.845355),
        ("h", -0.497912, -37.844411),
        ("g", -0.510927, -37.861317),
    ],
)
def test_the_reference_of_methane_by_hand(name: str, hydrogen: float, carbon: float) -> None:
    expected = (carbon + 4 * hydrogen) * 27.211386246 * 1000
    assert reference(name, METHANE) == pytest.approx(expected, rel=1e-14)


def test_only_extensive_targets_have_references() -> None:
    assert {name for name in TARGETS if TARGETS[name].references} == {"u0", "u", "h", "g", "cv"}
    assert reference("zpve", METHANE) == 0
    assert reference("cv", METHANE) == pytest.approx(5 * 2.981)


def test_the_reference_is_additive_over_molecules_in_float64() -> None:
    counts = np.array([[4, 1, 0, 0, 0], [2, 0, 0, 1, 0], [6, 1, 0, 1, 0]])
    values = reference("u0", counts)
    assert values.dtype == np.float64
    assert values[0] + values[1] == pytest.approx(values[2], rel=1e-15)


def test_an_unknown_target_names_what_was_given_and_all_twelve() -> None:
    with pytest.raises(ValueError, match="'energy'") as caught:
        reference("energy", METHANE)
    assert all(name in str(caught.value) for name in TARGETS)


def test_counts_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4,\).*\(\.\.\., 5\)"):
        reference("u0", METHANE[:4])


def test_the_atomization_energy_of_methane(molecules: Molecules) -> None:
    # -40.478930 hartree and the free atoms; 17.2 eV is the known B3LYP value
    expected = (-40.47893 + 37.846772 + 4 * 0.500273) * 27.211386246 * 1000
    assert molecules.target("u0")[0] == pytest.approx(expected, abs=1e-6)
    assert expected == pytest.approx(-17_172, abs=1)


@pytest.mark.parametrize("name", STATISTICS)
def test_the_statistics_of_qm9(molecules: Molecules, name: str) -> None:
    mean, deviation = STATISTICS[name]
    scale = 1e3 if TARGETS[name].unit == "meV" else 1.0
    values = molecules.target(name)
    assert values.mean() == pytest.approx(scale * mean, rel=2e-3)
    assert values.std() == pytest.approx(scale * deviation, rel=2e-3)


def test_the_gap_is_the_difference_of_the_orbitals(molecules: Molecules) -> None:
    difference = molecules.target("lumo") - molecules.target("homo")
    # each column is rounded to 1e-4 hartree
    assert np.abs(molecules.target("gap") - difference).max() < 1.6e-4 * HARTREE_MEV


def test_elements_are_in_the_order_of_the_charge() -> None:
    assert list(ELEMENTS.values()) == sorted(ELEMENTS.values())
