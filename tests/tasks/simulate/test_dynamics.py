"""Trained models as calculators of ASE, and dynamics at constant energy."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("ase")
from ase import Atoms, units
from ase.calculators.calculator import Calculator as ASECalculator
from ase.calculators.fd import calculate_numerical_forces
from ase.calculators.lj import LennardJones
from ase.io import read, write
from ase.optimize import FIRE

from attention import Network
from liegroups import SE3, Equivariance
from tasks.commands.main import main
from tasks.simulate.calculator import Calculator
from tasks.simulate.dynamics import Dynamics, EnergySeries, run_dynamics
from tasks.simulate.tracing import trace
from tasks.sources.md17 import MD17, Springs
from tasks.training import Model

FRAMES = Springs(frames=60).load("ethanol")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short run by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "springs"
    config = Path(__file__).resolve().parents[3] / "tasks/configs/md17/accurate.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["lie-attention"])
        main(
            [
                "fit",
                f"--config={config}",
                "--data.source=Springs",
                "--data.train_frames=60",
                "--data.val_frames=10",
                "--data.batch_size=10",
                "--model.network.channels=8",
                "--model.network.layers=2",
                "--model.compile=false",
                "--trainer.max_epochs=20",
                "--trainer.enable_progress_bar=false",
                f"--run={folder}",
            ]
        )
    return folder


@pytest.fixture
def ethanol():
    return Atoms(FRAMES.charges, FRAMES.positions[0])


class Harmonic(ASECalculator):
    """Springs between all pairs of atoms, in eV; their length is that at the start."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, atoms, stiffness=5.0):
        super().__init__()
        self.rest, self.stiffness = atoms.get_all_distances(), stiffness

    def calculate(self, atoms=None, properties=None, system_changes=None):
        super().calculate(atoms, properties, system_changes or ["positions"])
        between = atoms.positions[:, None] - atoms.positions
        distance = np.linalg.norm(between, axis=-1) + np.eye(len(atoms))
        stretch = (distance - self.rest) * (1 - np.eye(len(atoms)))
        self.results = {
            "energy": self.stiffness * np.square(stretch).sum() / 4,
            "forces": -self.stiffness * (stretch[..., None] * between / distance[..., None]).sum(1),
        }


# ---- the calculator --------------------------------------------------------------------------


def test_energy_and_forces_are_those_of_the_model_in_ev(run, ethanol):
    ethanol.calc = Calculator(run)
    model = Model.load_from_checkpoint(run / "checkpoints/best.ckpt", weights_only=True).eval()
    data = MD17(source=Springs(frames=60), train_frames=40, val_frames=10)
    data.setup()
    batch = data.clouds("test").batch(torch.arange(2))
    energy, forces = model(batch)
    total = (energy[0].double() + model.objective.energy_mean) / 1000
    assert ethanol.get_potential_energy() == pytest.approx(float(total), abs=1e-6)
    np.testing.assert_allclose(ethanol.get_forces(), forces[0] / 1000, atol=1e-5)
    ethanol.positions = FRAMES.positions[1]
    np.testing.assert_allclose(ethanol.get_forces(), forces[1] / 1000, atol=1e-5)


def test_forces_are_minus_the_slope_that_ase_finds(run, ethanol):
    ethanol.calc = Calculator(run, dtype=torch.float64)
    forces = ethanol.get_forces()
    expected = calculate_numerical_forces(ethanol, eps=1e-4)
    np.testing.assert_allclose(forces, expected, atol=1e-5)


def test_places_turns_and_orders_of_the_atoms_do_not_matter(run, ethanol):
    calculator = Calculator(run, dtype=torch.float64)
    ethanol.calc = calculator
    energy, forces = ethanol.get_potential_energy(), ethanol.get_forces()
    moved = ethanol.copy()
    moved.positions += [30.0, -200.0, 7.0]
    moved.calc = calculator
    assert moved.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    order = np.random.RandomState(0).permutation(9)
    mixed = ethanol[order]
    mixed.rotate(50, (1, 2, 3))
    mixed.calc = calculator
    assert mixed.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    size = np.linalg.norm(mixed.get_forces(), axis=1)
    np.testing.assert_allclose(size, np.linalg.norm(forces[order], axis=1), atol=1e-9)


def test_a_record_of_the_computation_gives_the_same(run, ethanol):
    """Also where atoms have come within reach of each other, or gone out of it, since."""
    plain, traced = (Calculator(run, torch.float64, traced) for traced in (False, True))
    random = np.random.RandomState(0)
    for size in (0.0, 0.1, 0.1, 1.5):
        ethanol.positions = FRAMES.positions[0] * (1 + size) + size * random.randn(9, 3) / 10
        found = []
        for calculator in (plain, traced):
            ethanol.calc = calculator
            found.append((ethanol.get_potential_energy(), ethanol.get_forces()))
        assert found[0][0] == pytest.approx(found[1][0], abs=1e-9)
        np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-9)


def test_a_network_that_looks_at_values_is_not_recorded():
    class Curious(Network):
        space = SE3().default_space()
        equivariance = Equivariance.EXACT
        in_features, out_features, is_per_point, pooling = 12, 1, False, "sum"

        def forward(self, features, points, mask=None, *, edges=None, generator=None):
            near = points.square().sum() < 1
            return points.square().sum((1, 2))[:, None] * (2 if near else 1)

    with pytest.raises(ValueError, match="traced: Curious cannot be recorded"):
        trace(Curious(), torch.zeros(1, 9, 12))


def test_a_relaxation_comes_to_rest(run, ethanol):
    ethanol.calc = Calculator(run)
    before = ethanol.get_potential_energy()
    assert FIRE(ethanol, logfile=None).run(fmax=0.05, steps=300)
    assert ethanol.get_potential_energy() < before
    assert np.abs(ethanol.get_forces()).max() <= 0.05


def test_what_the_model_cannot_know_is_refused(run, ethanol, caplog):
    calculator = Calculator(run)

    def energy(**changes):
        atoms = ethanol.copy()
        atoms.calc = calculator
        for name, value in changes.items():
            setattr(atoms, name, value)
        return atoms.get_potential_energy()

    numbers = ethanol.numbers.copy()
    numbers[0] = 16
    with pytest.raises(ValueError, match=r"S is not among the elements.*H, C, O.*ethanol"):
        energy(numbers=numbers)
    positions = ethanol.positions.copy()
    positions[4] = positions[2] + 0.01
    with pytest.raises(ValueError, match=r"2 and 4 overlap.*0\.0173"):
        energy(positions=positions)
    positions[4] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        energy(positions=positions)
    with pytest.raises(ValueError, match="in vacuum"):
        energy(pbc=True)
    numbers[0] = 8
    assert np.isfinite(energy(numbers=numbers))
    assert "another molecule" in caplog.text


def test_an_atom_out_of_reach_of_all_others_feels_no_force(run, ethanol):
    ethanol.calc = Calculator(run, dtype=torch.float64)
    ethanol.positions[8] += 40.0
    assert np.isfinite(ethanol.get_potential_energy())
    assert (ethanol.get_forces()[8] == 0).all()


def test_files_that_are_no_checkpoint_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no checkpoint .*best\.ckpt"):
        Calculator(tmp_path)
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"model\.ckpt is not a checkpoint"):
        Calculator(path)


# ---- dynamics --------------------------------------------------------------------------------

SHORT = {"steps": 400, "equilibration": 200, "interval": 10}


def test_velocity_verlet_is_of_second_order(ethanol):
    """Halving the timestep divides the error of the energy by four."""
    errors = []
    for halvings in range(2):
        atoms = ethanol.copy()
        atoms.calc = Harmonic(atoms)
        settings = Dynamics(
            steps=400 * 2**halvings, timestep=0.4 / 2**halvings, equilibration=0, interval=4
        )
        errors.append(run_dynamics(atoms, settings).fluctuation)
    assert 3 < errors[0] / errors[1] < 5


def test_the_molecule_stays_in_its_place_and_at_its_temperature(ethanol, tmp_path):
    ethanol.calc = Harmonic(ethanol)
    path = tmp_path / "frames.traj"
    settings = Dynamics(**{**SHORT, "equilibration": 1500, "steps": 1500})
    series = run_dynamics(ethanol, settings, path)
    frames = read(path, ":")
    assert len(frames) == len(series.table) == 151
    for frame in (frames[0], frames[-1]):
        momentum = np.sqrt(frame.get_masses().sum() * units.kB * 300)
        assert np.abs(frame.get_momenta().sum(0)).max() < 1e-9 * momentum
        assert np.abs(frame.get_angular_momentum()).max() < 1e-2 * momentum
    # Half of its energy is kinetic on average; one draw of the bath scatters by a fifth.
    assert 120 < series.temperature < 520
    assert abs(series.drift) < 0.1
    np.testing.assert_allclose(series.table[:, 3], series.table[:, 1] + series.table[:, 2])
    np.testing.assert_allclose(series.table[:, 0], np.arange(151) * 10 * 0.5e-3)


def test_a_seed_fixes_the_course(ethanol):
    tables = []
    for seed in (1, 1, 2):
        atoms = ethanol.copy()
        atoms.calc = Harmonic(atoms)
        tables.append(run_dynamics(atoms, Dynamics(**SHORT, seed=seed)).table)
    np.testing.assert_array_equal(tables[0], tables[1])
    assert not np.allclose(tables[0], tables[2])


def test_drift_and_fluctuation_are_by_a_line(ethanol):
    time = np.linspace(0, 10, 101)
    wave = 0.002 * np.where(np.arange(101) % 2, 1, -1)
    total = -5.0 + 0.018 * time + wave  # eV
    table = np.stack((time, total - 1, np.ones(101), total, np.full(101, 300.0)), 1)
    series = EnergySeries(table, atoms=9, steps_per_second=1.0)
    assert series.drift == pytest.approx(2.0, rel=1e-3)
    assert series.fluctuation == pytest.approx(2 / 9, rel=1e-2)


def test_a_molecule_that_breaks_up_is_reported(ethanol, tmp_path):
    ethanol.calc = LennardJones(epsilon=1.0, sigma=3.0)  # Pushes the atoms of a molecule apart.
    with pytest.raises(ValueError, match=r"broke up in the dynamics, after 0\.0\d+ ps: the bond"):
        run_dynamics(ethanol, Dynamics(**{**SHORT, "equilibration": 0}))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 1}, ["steps", "1", "2 or more"]),
        ({"steps": 30}, ["30", "twice the interval"]),
        ({"timestep": 0.0}, ["timestep", "above 0"]),
        ({"temperature": float("nan")}, ["temperature", "nan"]),
        ({"equilibration": -1}, ["equilibration", "-1"]),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(ValueError) as caught:
        Dynamics(**settings)
    assert all(word in str(caught.value) for word in words)


# ---- the command -----------------------------------------------------------------------------


def call(*args):
    with pytest.raises(SystemExit) as left:
        main(["md", *map(str, args)])
    return left.value.code


def test_md_conserves_the_energy_of_a_trained_model(run, ethanol, tmp_path, capsys):
    ethanol.calc = Calculator(run)
    FIRE(ethanol, logfile=None).run(fmax=0.05, steps=300)
    write(tmp_path / "start.xyz", ethanol)
    folder = tmp_path / "md"
    given = [
        "--run",
        run,
        "--start",
        tmp_path / "start.xyz",
        "--temperature",
        20,
        "--timestep",
        0.25,
        "--output",
        folder,
    ]
    settings = ["--steps", 200, "--equilibration", 40, "--interval", 5, "--double", "true"]
    assert call(*given, *settings) == 0, capsys.readouterr().err
    found = json.loads((folder / "md.json").read_text())
    table = np.loadtxt(folder / "energies.csv", delimiter=",", skiprows=1)
    assert table.shape == (41, 5)
    assert len(read(folder / "trajectory.traj", ":")) == 41
    assert (folder / "energy.png").read_bytes().startswith(b"\x89PNG")
    # Potential and kinetic energy change by far more than their sum.
    assert table[:, 3].std() < 0.02 * table[:, 1].std()
    slope = np.polyfit(table[:, 0], table[:, 3], 1)[0] * 1000 / 9
    assert found["drift_mev_per_atom_per_ps"] == pytest.approx(slope, rel=1e-3, abs=1e-4)
    assert found["steps_per_second"] > 0
    assert "meV/atom/ps" in capsys.readouterr().out
    assert call(*given, *settings) == 1
    assert "nothing is overwritten" in capsys.readouterr().err


def test_md_names_what_is_wrong(run, tmp_path, ethanol, capsys):
    sulfur = tmp_path / "sulfur.xyz"
    ethanol.symbols[2] = "S"
    write(sulfur, ethanol)
    text = tmp_path / "text.xyz"
    text.write_text("no geometry")
    output = ["--output", tmp_path / "out"]
    for given, words in (
        (["--run", tmp_path / "none"], "no checkpoint"),
        (["--run", run, "--start", tmp_path / "none.xyz"], "start: there is no file"),
        (["--run", run, "--start", text], "start: ASE cannot read"),
        (["--run", run, "--start", sulfur], "S is not among the elements"),
        (["--run", run, "--steps", 0], "steps: 0"),
    ):
        assert call(*given, *output) == 1
        assert words in capsys.readouterr().err
