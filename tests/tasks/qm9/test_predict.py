"""Predictions for molecules in files: the values of the data set, units, errors, refusals."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write

from tasks.cli import main
from tasks.qm9 import QM9
from tasks.qm9.predict import load_networks, pack, predict_molecules

QUICK = Path(__file__).resolve().parents[3] / "tasks/configs/qm9/quick.yaml"
COUNT = 12
SMALL = [
    "--model.width=16",
    "--model.layers=1",
    "--model.heads=4",
    "--data.train_molecules=64",
    "--data.val_molecules=8",
    f"--data.test_molecules={COUNT}",
    "--trainer.max_epochs=1",
    "--trainer.enable_progress_bar=false",
]
TURNING = ["--model.group=T3", "--model.invariant=RelativePose"]


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
    for key in ("mae", "mae_constant"):
        errors = np.array([metrics[f"homo/{key}"], metrics[f"cv/{key}"]])
        mean = (errors / data.statistics.std).mean()
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
            packed = pack([turned], networks[0].elements)
            values += [predict_molecules([each], packed).values[0].numpy() for each in networks]
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
        (["one.xyz"], ["--checkpoint FILE or --run FOLDER"]),
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
