"""Databases of ASE: what is read, by whom, how often, and what is refused."""

import hashlib
import importlib.util
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.collections import g2
from ase.data import atomic_masses
from ase.db import connect

from tasks.molecules import Database, Index
from tasks.qm9.batches import Share, atom_features

ELEMENTS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
LMDB = pytest.param(
    ".aselmdb",
    marks=pytest.mark.skipif(
        importlib.util.find_spec("ase_db_backends") is None, reason="ase-db-backends: extra lmdb"
    ),
)
PARTS = {"val_molecules": 10, "test_molecules": 12, "batch_size": 8}


def some():
    """Molecules of the collection G2 that the elements of QM9 make up."""
    found = [g2[name] for name in g2.names]
    return [atoms for atoms in found if set(atoms.numbers) <= set(ELEMENTS.values())]


def make(path, molecules, **pairs):
    with connect(path, use_lock_file=False) as database:
        for number, atoms in enumerate(molecules):
            database.write(atoms, molmass=float(atoms.get_masses().sum()), place=number, **pairs)
    return path


@pytest.fixture(scope="module", params=[".db", LMDB])
def path(request, tmp_path_factory):
    """A database of which a row was deleted, so that its numbers have a gap."""
    path = make(tmp_path_factory.mktemp("data") / f"g2{request.param}", some())
    with connect(path, use_lock_file=False) as database:
        database.delete([5])
    return path


@pytest.fixture(scope="module")
def rows(path):
    """All rows as ASE reads them, by their number."""
    with connect(path, use_lock_file=False) as database:
        return {row.id: row for row in database.select()}


@pytest.fixture
def data(path, tmp_path):
    def make(**settings):
        data = Database(
            *(str(path), ["molmass", "place"], ["u", "1"]),
            **{**PARTS, "cache_dir": str(tmp_path), **settings},
        )
        data.setup()
        return data

    return make


def epoch(data, number=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


def indices(batches):
    return torch.cat([batch.index for batch in batches])


def test_a_batch_holds_the_rows_it_says(data, rows):
    found = data(augment=False)
    for batch in [*epoch(found), *found.val_dataloader(), *found.test_dataloader()]:
        assert batch.mask.any(0).all()
        assert not batch.positions[~batch.mask].any()
        assert not batch.features[~batch.mask].any()
        for place, number in enumerate(batch.index.tolist()):
            row = rows[number]
            atoms = batch.mask[place]
            torch.testing.assert_close(
                batch.positions[place, atoms],
                torch.from_numpy(row.positions - row.positions.mean(0)).float(),
            )
            charges = torch.tensor(row.numbers.tolist())
            assert torch.equal(batch.features[place, atoms], atom_features(charges))
            expected = torch.tensor([row.molmass, row.place]).float()
            torch.testing.assert_close(batch.target[place], expected)


def test_each_molecule_is_in_one_part_and_once_in_an_epoch(data):
    found = data()
    loaders = found.train_dataloader(), found.val_dataloader(), found.test_dataloader()
    numbers = [indices(list(loader)) for loader in loaders]
    assert [len(each) for each in numbers] == [len(some()) - 1 - 22, 10, 12]
    every = torch.cat(numbers).sort().values.tolist()
    assert every == [n for n in range(1, len(some()) + 1) if n != 5]
    assert not torch.equal(indices(epoch(found, 1)), numbers[0])
    assert torch.equal(indices(epoch(found, 0)), numbers[0])


def test_who_reads_changes_nothing(data):
    """Workers, a pause within the epoch, and several processes give what one gives."""
    alone = epoch(data(), 3)
    workers = data(workers=2).train_dataloader()
    workers.sampler.set_epoch(3)
    for one, other in zip(alone, workers, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    workers.load_state_dict({"batches": len(workers), "done": 2})
    rest = list(workers)
    assert torch.equal(indices(rest), indices(alone[2:]))
    assert torch.equal(rest[0].positions, alone[2].positions)


def test_processes_share_each_batch(data, monkeypatch):
    alone, parts = epoch(data()), []
    for rank in range(2):
        monkeypatch.setattr(Share, "of_this_process", lambda rank=rank: Share(rank, 2))
        parts.append(epoch(data(workers=rank)))
    for batch, *shares in zip(alone, *parts, strict=True):
        assert torch.equal(indices(shares).sort().values, batch.index.sort().values)


def test_statistics_are_of_the_training_part(data, rows):
    found = data()
    masses = np.array([rows[n].molmass for n in indices(epoch(found)).tolist()])
    assert found.statistics.mean[0] == pytest.approx(masses.mean())
    assert found.statistics.std[0] == pytest.approx(masses.std())
    # The mass is a sum over elements, and nothing else.
    fit = found.statistics.composition
    np.testing.assert_allclose(fit.weights[:, 0], atomic_masses[list(ELEMENTS.values())], rtol=1e-9)
    assert fit.mae["test"][0] == pytest.approx(0, abs=1e-9)
    assert found.train_size == len(masses)


def test_the_index_is_made_once_and_again_when_the_database_changes(tmp_path, monkeypatch):
    path = make(tmp_path / "some.db", some()[:30])
    reads = []
    original = Index._read.__func__
    monkeypatch.setattr(
        Index, "_read", classmethod(lambda cls, *args: reads.append(1) or original(cls, *args))
    )
    first, again = (Index.of(path, ["molmass"], ELEMENTS, tmp_path) for _ in range(2))
    assert reads == [1]
    np.testing.assert_array_equal(first.values, again.values)
    make(path, some()[30:33])
    assert len(Index.of(path, ["molmass"], ELEMENTS, tmp_path)) == 33
    assert reads == [1, 1]


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms("HCl", [[0, 0, 0], [0, 0, 1.3]]), ["row 2", "Cl (17)", "H, C, N, O, F"]),
        (Atoms("H", [[np.inf, 0, 0]]), ["row 2", "not finite"]),
        (Atoms("H", cell=[4, 4, 4], pbc=True), ["row 2", "periodic"]),
        (Atoms(), ["row 2", "no atoms"]),
    ],
    ids=["element", "finite", "periodic", "empty"],
)
def test_rows_that_are_no_molecules_are_named(tmp_path, atoms, words):
    path = make(tmp_path / "bad.db", [some()[0], atoms])
    with pytest.raises(ValueError) as caught:
        Index.of(path, ["molmass"], ELEMENTS, tmp_path)
    assert all(word in str(caught.value) for word in [*words, "bad.db"])


def test_a_target_that_a_row_lacks_is_named_with_those_it_has(tmp_path):
    path = make(tmp_path / "some.db", some()[:3], label="text")
    with pytest.raises(ValueError, match=r"row 1 .* no 'homo'; it has label, molmass, place"):
        Index.of(path, ["homo"], ELEMENTS, tmp_path)
    with pytest.raises(ValueError, match=r"label of row 1 .* 'text', no number"):
        Index.of(path, ["label"], ELEMENTS, tmp_path)


@pytest.mark.parametrize("name", ["text.db", "other.db", "text.aselmdb"])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, name):
    path = tmp_path / name
    if name == "other.db":
        sqlite3.connect(path).execute("CREATE TABLE birds (name TEXT)").connection.close()
    else:
        path.write_text("hello, this is no database of any kind\n")
    before = hashlib.sha256(path.read_bytes()).digest()
    with pytest.raises(ValueError, match="no database of ASE"):
        Index.of(path, ["molmass"], ELEMENTS, tmp_path)
    assert hashlib.sha256(path.read_bytes()).digest() == before
    with pytest.raises(ValueError, match="no file"):
        Index.of(tmp_path / "none.db", ["molmass"], ELEMENTS, tmp_path)
    (tmp_path / "some.json").touch()
    with pytest.raises(ValueError, match=r"ase db some\.json --insert-into some\.db"):
        Index.of(tmp_path / "some.json", ["molmass"], ELEMENTS, tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"target": []}, ["target", "[]"]),
        ({"target": ["a", "b"]}, ["unit for each"]),
        ({"elements": ["H", "Xx"]}, ["elements", "Xx"]),
        ({"elements": []}, ["elements"]),
        ({"train_molecules": 1}, ["train_molecules: 1", "2 or more"]),
        ({"val_molecules": 0}, ["val_molecules: 0"]),
        ({"batch_size": 0}, ["batch_size: 0"]),
        ({"workers": -1}, ["workers: -1"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_arguments_stop_before_data_are_read(settings, words):
    with pytest.raises(ValueError) as caught:
        Database(**{"path": "none.db", "target": "a", "unit": "eV", **settings})
    assert all(word in str(caught.value) for word in words)


def test_too_few_molecules_are_counted(path, tmp_path):
    data = Database(str(path), "molmass", "u", cache_dir=str(tmp_path))
    with pytest.raises(ValueError, match="10,000 to validate on"):
        data.setup()


# ---- the command -----------------------------------------------------------------------------


def test_a_network_is_trained_on_a_database_and_used(tmp_path, lie_attention):
    other = [Atoms("HCl", [[0, 0, 0], [0, 0, 1.2 + n / 100]]) for n in range(20)]
    path = make(tmp_path / "some.db", [*some(), *other])
    lie_attention(
        *("fit", "--task=molecules", "--data.path", path, "--data.target=molmass", "--data.unit=u"),
        *("--data.elements=[H, C, N, O, F, Cl]", "--run=run"),
        *("--data.val_molecules=16", "--data.test_molecules=16", "--data.batch_size=16"),
        *("--model.group=SE3", "--model.invariant=Distance", "--model.pooling=sum"),
        *("--model.width=16", "--model.layers=1", "--model.heads=4"),
        *("--model.learning_rate=0.02", "--trainer.max_epochs=12"),
        "--trainer.enable_progress_bar=false",
    )
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert (metrics["target"], metrics["unit"], metrics["split"]) == ("molmass", "u", "random 0")
    assert metrics["test/mae"] < metrics["test/mae_constant"]
    assert metrics["equivariance/kind"] == "exact"
    from ase.io import write

    write("one.xyz", other[0])
    with pytest.raises(SystemExit) as left:
        lie_attention("predict", "one.xyz", "--run", "run")
    assert left.value.code == 0
    header, line = Path("one-predictions.csv").read_text().splitlines()
    assert header == "file,molecule,formula,atoms,molmass (u)"
    assert line.startswith("one.xyz,0,HCl,2,")
