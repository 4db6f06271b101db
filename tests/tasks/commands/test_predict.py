"""Predictions for clouds in files: the values of the data set, units, errors, refusals."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write

from tasks.commands.main import main
from tasks.commands.predict import load_networks, predict_clouds
from tasks.data.clouds import Table
from tasks.data.statistics import Statistics
from tasks.sources.files import pack
from tasks.sources.md17 import Springs
from tasks.sources.qm9 import QM9
from tasks.sources.shapes import Shapes
from tasks.sources.trajectories import DynamicsData
from tasks.systems import Springs as Springs_

QUICK = Path(__file__).resolve().parents[3] / "tasks/configs/qm9/quick.yaml"
COUNT = 12
SMALL = [
    "--model.network.width=16",
    "--model.network.layers=1",
    "--model.network.heads=4",
    "--data.train_molecules=64",
    "--data.val_molecules=8",
    f"--data.test_molecules={COUNT}",
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
]
TURNING = ["--model.network.group=T3", "--model.network.invariant=RelativePose"]


@pytest.fixture(scope="module")
def runs(qm9_cache, tmp_path_factory):
    """Runs: two that rotations change, of two targets, and one that they do not."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LIE_ATTENTION_CACHE", str(qm9_cache))
        patch.setattr("sys.argv", ["lie-attention"])
        for name, settings in (
            ("one", [*TURNING, "--data.target=[homo, cv]"]),
            ("two", [*TURNING, "--data.target=[homo, cv]", "--seed_everything=1"]),
            ("exact", []),
        ):
            main(["fit", "--config", str(QUICK), *SMALL, *settings, "--run", name])
    return folder


@pytest.fixture
def command_cache(qm9_cache):
    return qm9_cache


@pytest.fixture
def molecules_of_the_test(qm9_cache, molecules, monkeypatch):
    """The molecules that the runs were tested on, with their indices, as ASE has them."""
    data = QM9(test_molecules=COUNT, cache_dir=str(qm9_cache))
    rows = data.split.rows("test")[:COUNT]
    found = {}
    for row in rows:
        atoms = slice(*molecules.offsets[row : row + 2])
        # somewhere in space, as a user's file has it
        positions = molecules.positions[atoms].astype(float) + np.array([5.0, -3.0, 1.0])
        found[int(molecules.index[row])] = Atoms(molecules.charges[atoms], positions)
    return found


@pytest.fixture
def predict(lie_attention):
    """Run the command on files."""

    def run(*args):
        with pytest.raises(SystemExit) as left:
            lie_attention("predict", *args)
        assert left.value.code == 0

    return run


def rows(path):
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def test_a_file_gets_what_the_data_set_gets(
    runs, predict, lie_attention, molecules_of_the_test, capsys
):
    write("test.xyz", list(molecules_of_the_test.values()))
    predict("--run", runs / "one", "test.xyz")
    assert (
        "homo: energy of the highest occupied molecular orbital, in meV" in capsys.readouterr().out
    )
    found = rows("test-predictions.csv")
    assert list(found[0]) == [
        *("file", "molecule", "formula", "atoms", "homo (meV)", "cv (cal/(mol K))")
    ]
    assert [int(row["molecule"]) for row in found] == list(range(COUNT))
    lie_attention("predict", "--run", runs / "one")
    expected = {row["qm9_index"]: row for row in rows(runs / "one" / "predictions.csv")}
    for row, (index, atoms) in zip(found, molecules_of_the_test.items(), strict=True):
        assert (row["formula"], int(row["atoms"])) == (atoms.get_chemical_formula(), len(atoms))
        for name in ("homo (meV)", "cv (cal/(mol K))"):
            assert float(row[name]) == pytest.approx(float(expected[str(index)][name]), rel=1e-4)


def test_several_targets_are_reported_each(runs, qm9_cache):
    metrics = json.loads((runs / "one" / "metrics.json").read_text())
    assert (metrics["target"], metrics["unit"]) == ("homo, cv", "deviations")
    assert (metrics["homo/unit"], metrics["cv/unit"]) == ("meV", "cal/(mol K)")
    data = QM9(target=["homo", "cv"], train_molecules=64, cache_dir=str(qm9_cache))
    data.setup()
    names = ["homo", "cv"]
    std = Statistics.of(
        {"train": data.values("train")}, {"train": data.kind_counts("train")}, names
    ).std
    for key in ("mae", "mae_constant"):
        errors = np.array([metrics[f"homo/{key}"], metrics[f"cv/{key}"]])
        mean = (errors / std).mean()
        assert metrics[f"test/{key}"] == pytest.approx(mean, rel=1e-4)
    for name in ("homo", "cv"):
        assert (runs / "one" / f"parity_{name}.png").read_bytes().startswith(b"\x89PNG")


def test_errors_are_the_spread_over_rotations_and_checkpoints(runs, predict, molecules_of_the_test):
    write("some.traj", list(molecules_of_the_test.values()))
    best = [runs / name / "checkpoints" / "best.ckpt" for name in ("one", "two")]
    predict(
        *("some.traj", "--checkpoint", best[0], "--checkpoint", best[1]),
        *("--rotations", "3", "--output", "table.csv", "--batch_size", "5"),
    )
    found = rows("table.csv")
    networks = load_networks(best)
    # by hand, from each network and rotation alone
    from liegroups import SO3

    turns = SO3().sample((3,), generator=torch.Generator().manual_seed(0)).double().numpy()
    for place, atoms in enumerate(molecules_of_the_test.values()):
        values = []
        for turn in turns:
            turned = Atoms(atoms.numbers, (atoms.positions - atoms.positions.mean(0)) @ turn.T)
            objective = networks[0].objective
            packed = Table(pack([turned], objective.elements, objective.atom_features()))
            values += [predict_clouds([each], packed).values[0].numpy() for each in networks]
        mean, error = np.mean(values, 0), np.std(values, 0, ddof=1)
        given = [
            [float(found[place][f"{name} ({u})"]) for name in (t, f"{t} error")]
            for t, u in (("homo", "meV"), ("cv", "cal/(mol K)"))
        ]
        np.testing.assert_allclose([row[0] for row in given], mean, rtol=1e-4)
        np.testing.assert_allclose([row[1] for row in given], error, rtol=0.06)
        assert (error > 0).all()


def test_rotations_say_nothing_of_a_network_that_they_do_not_change(runs, refusal):
    write("one.xyz", Atoms("OH2", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]]))
    message = refusal("predict", "one.xyz", "--run", runs / "exact", "--rotations", "4")
    assert "invariant" in message
    assert "several checkpoints" in message


WATER = Atoms("OH2", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]])


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (
            Atoms("HCl", [[0, 0, 0], [0, 0, 1.27]]),
            ["bad.traj: molecule 1, HCl, has Cl (17)", "H, C, N, O, F only"],
        ),
        (Atoms("HH", [[0, 0, 0], [0, 0, 0.01]]), ["molecule 1", "0 and 1 overlap", "angstrom"]),
        (Atoms("H", [[np.nan, 0, 0]]), ["molecule 1", "not finite"]),
        (Atoms(), ["molecule 1", "no atoms"]),
        (Atoms("H", cell=[5, 5, 5], pbc=True), ["molecule 1", "periodic"]),
    ],
    ids=["element", "overlap", "finite", "empty", "periodic"],
)
def test_what_the_network_knows_nothing_of_is_refused(runs, refusal, atoms, words):
    write("bad.traj", [WATER, atoms])
    message = refusal("predict", "--run", runs / "exact", "bad.traj")
    for word in words:
        assert word in message
    assert not list(Path().glob("*.csv"))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["none.xyz", "--run", "exact"], ["there is no file none.xyz"]),
        (["text.xyz", "--run", "exact"], ["ASE cannot read text.xyz"]),
        (["one.xyz"], ["--checkpoint FILE, --run FOLDER or --model NAME"]),
        (["one.xyz", "--run", "none"], ["no file", "best.ckpt"]),
        (["one.xyz", "--checkpoint", "text.xyz"], ["text.xyz is not a checkpoint"]),
        (["one.xyz", "--run", "one", "--run", "exact"], ["homo (meV), cv", "an ensemble"]),
        (["one.xyz", "--run", "one", "--rotations", "1"], ["rotations: 1", "2 or more"]),
        (["one.xyz", "--run", "one", "--batch_size", "0"], ["batch_size: 0"]),
        (["one.xyz", "--run", "one", "--rotate", "yes", "--x"], ["--x"]),
    ],
    ids=lambda value: " ".join(value) if value[0].endswith("xyz") else "",
)
def test_wrong_arguments_are_named(runs, refusal, args, words):
    write("one.xyz", WATER)
    Path("text.xyz").write_text("hello\n")
    known = {name: str(runs / name) for name in ("one", "two", "exact")}
    message = refusal("predict", *(known.get(arg, arg) for arg in args))
    for word in words:
        assert word in message


# ---- every task ------------------------------------------------------------------------------


def numbers(path, last):
    with Path(path).open() as file:
        return np.array([[float(x) for x in row[-last:]] for row in list(csv.reader(file))[1:]])


def quick(lie_attention, task, *settings):
    lie_attention(
        *("fit", "--config", f"{task}/quick", *settings, "--trainer.max_epochs=1"),
        *("--trainer.enable_progress_bar=false", "--run", "run"),
    )
    lie_attention("predict", "--run", "run")


def test_frames_of_a_file_get_energies_and_forces(lie_attention, predict, capsys):
    sizes = ["--data.train_frames=20", "--data.val_frames=5", "--data.test_frames=6"]
    quick(lie_attention, "md17", "--data.source=Springs", *sizes)
    frames = Springs().load("ethanol")
    chosen = [int(row["frame"]) for row in rows("run/predictions.csv")]
    write("mine.xyz", [Atoms(frames.charges, frames.positions[n] + 3.0) for n in chosen])
    predict("mine.xyz", "--run", "run")
    assert "(54 atoms)" in capsys.readouterr().out
    table = numbers("run/predictions.csv", 28)
    np.testing.assert_allclose(numbers("mine-predictions.csv", 1), table[:, :1], atol=0.1)
    forces = numbers("mine-predictions-atoms.csv", 3).reshape(6, 27)
    np.testing.assert_allclose(forces, table[:, 1:], atol=0.1)
    assert rows("mine-predictions-atoms.csv")[10].keys() == {
        *("file", "molecule", "atom", "force x (meV/Å)", "force y (meV/Å)", "force z (meV/Å)")
    }


def test_clouds_of_a_file_of_arrays_are_counted(lie_attention, predict):
    sizes = ["--data.train_clouds=64", "--data.val_clouds=16", "--data.test_clouds=16"]
    quick(lie_attention, "shapes", *sizes)
    data = Shapes(train_clouds=64, val_clouds=16, test_clouds=16)
    data.setup()
    batch = data.clouds("test").batch(torch.arange(16))
    np.savez("mine.npz", points=batch.points[batch.mask], sizes=batch.mask.sum(1))
    predict("mine.npz", "--run", "run")
    found, expected = numbers("mine-predictions.csv", 4), numbers("run/predictions.csv", 4)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("config", ["quick", "ogn"])
def test_systems_of_a_file_move(lie_attention, predict, config):
    lie_attention(
        *("fit", "--config", f"dynamics/{config}", "--trainer.max_epochs=1"),
        *("--data.train_systems=8", "--data.val_systems=4", "--data.test_systems=5"),
        *("--trainer.enable_progress_bar=false", "--run", "run", "--data.system.points=100"),
    )
    lie_attention("predict", "--run", "run")
    data = DynamicsData(
        Springs_(points=100), train_systems=8, val_systems=4, test_systems=5, batch_size=8
    )
    data.setup("test")
    drawn = data.part("test")
    np.savez("mine.npz", states=drawn.states[:, 0], parameters=drawn.parameters)
    predict("mine.npz", "--run", "run")
    found, expected = numbers("mine-predictions.csv", 24), numbers("run/predictions.csv", 24)
    # The run predicts in the precision of its training, a file is predicted in single precision.
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_arrays_that_do_not_fit_are_refused(runs, refusal):
    one = str(runs / "exact")
    for arrays, words in (
        ({"points": np.zeros((4, 3))}, "has the arrays points; this network needs points, sizes"),
        (
            {"points": np.zeros((4, 2)), "sizes": [4], "features": np.zeros((4, 15))},
            "points have shape (4, 2); expected (4, 3)",
        ),
        (
            {"points": np.zeros((4, 3)), "sizes": [3], "features": np.zeros((4, 15))},
            "points have shape (4, 3); expected (3, 3)",
        ),
        (
            {"points": np.full((4, 3), np.nan), "sizes": [4], "features": np.zeros((4, 15))},
            "points: some numbers are not finite",
        ),
        (
            {"points": np.array([None] * 4), "sizes": [4], "features": np.zeros((4, 15))},
            "bad.npz",
        ),
    ):
        np.savez("bad.npz", **arrays)
        assert words in refusal("predict", "bad.npz", "--run", one)
    Path("text.npz").write_text("hello")
    assert "no file of arrays" in refusal("predict", "text.npz", "--run", one)
    write("one.xyz", WATER)
    assert "one kind at a time" in refusal("predict", "bad.npz", "one.xyz", "--run", one)
    assert not list(Path().glob("*.csv"))
