"""Databases of ASE: what is read, by whom, how often, and what is refused."""

import hashlib
import importlib.util
import json
import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.collections import g2
from ase.data import atomic_masses
from ase.db import connect

from tasks.cache import writing_only_below
from tasks.data import Share, Statistics
from tasks.sources.databases import Database
from tasks.sources.databases.database import Index, LazyMolecules, disconnect

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
    loader.set_epoch(number)
    return list(loader)


def indices(batches):
    return torch.cat([batch.ids for batch in batches])


def features_of(charges):
    """One-hot over the elements, times 1, c and c² of the charge c in units of the largest."""
    kinds = torch.tensor([[z == known for known in ELEMENTS.values()] for z in charges]).float()
    powers = (torch.tensor(charges) / 9)[:, None] ** torch.arange(3.0)
    return (kinds[:, :, None] * powers[:, None]).flatten(1)


def test_a_batch_holds_the_rows_it_says(data, rows):
    found = data(augment=None)
    for batch in [*epoch(found), *found.val_dataloader(), *found.test_dataloader()]:
        assert batch.mask.any(0).all()
        assert not batch.points[~batch.mask].any()
        assert not batch.features[~batch.mask].any()
        for place, number in enumerate(batch.ids.tolist()):
            row = rows[number]
            atoms = batch.mask[place]
            torch.testing.assert_close(
                batch.points[place, atoms],
                torch.from_numpy(row.positions - row.positions.mean(0)).float(),
            )
            assert torch.equal(batch.features[place, atoms], features_of(row.numbers))
            expected = torch.tensor([row.molmass, row.place]).float()
            torch.testing.assert_close(batch.targets[place], expected)


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
    workers.set_epoch(3)
    for one, other in zip(alone, workers, strict=True):
        for a, b in zip(one, other, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)
    workers.load_state_dict({"batches": len(workers), "done": 2})
    rest = list(workers)
    assert torch.equal(indices(rest), indices(alone[2:]))
    assert torch.equal(rest[0].points, alone[2].points)


def test_processes_share_each_batch(data, monkeypatch):
    alone, parts = epoch(data()), []
    for rank in range(2):
        monkeypatch.setattr(Share, "of_this_process", lambda rank=rank: Share(rank, 2))
        parts.append(epoch(data(workers=rank)))
    for batch, *shares in zip(alone, *parts, strict=True):
        assert torch.equal(indices(shares).sort().values, batch.ids.sort().values)


def test_statistics_are_of_the_training_part(data, rows):
    found = data()
    masses = np.array([rows[n].molmass for n in indices(epoch(found)).tolist()])
    statistics = Statistics.of(
        {part: found.values(part) for part in ("train", "test")},
        {part: found.kind_counts(part) for part in ("train", "test")},
        [target.name for target in found.targets],
    )
    assert statistics.mean[0] == pytest.approx(masses.mean())
    assert statistics.std[0] == pytest.approx(masses.std())
    # The mass is a sum over elements, and nothing else.
    fit = statistics.composition
    np.testing.assert_allclose(fit.weights[:, 0], atomic_masses[list(ELEMENTS.values())], rtol=1e-9)
    assert fit.mae["test"][0] == pytest.approx(0, abs=1e-9)
    assert found.count("train") == len(masses)


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


def logged(path):
    """Open a database to write to it such that changes stay in a log beside it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    return connection


def test_changes_that_are_still_in_the_log_are_seen(tmp_path):
    path = make(tmp_path / "some.db", some()[:30])
    with closing(logged(path)) as writer:
        writer.execute("DELETE FROM systems WHERE id=7")
        writer.commit()
        main = path.stat()
        first = Index.of(path, ["molmass"], ELEMENTS, tmp_path)
        assert len(first) == 29
        molecules = LazyMolecules(path, first, ELEMENTS)
        molecules.batch(torch.arange(29))
        writer.execute("DELETE FROM systems WHERE id=9")
        writer.commit()
        again = Index.of(path, ["molmass"], ELEMENTS, tmp_path)
        assert (path.stat().st_mtime_ns, path.stat().st_size) == (main.st_mtime_ns, main.st_size)
        assert len(again) == 28
        with pytest.raises(ValueError, match=r"row 9 of .* was deleted after it was indexed"):
            molecules.batch(torch.arange(29))


@pytest.mark.parametrize("kind", [".db", LMDB])
def test_a_change_that_leaves_size_and_time_as_they_were_is_seen(tmp_path, kind):
    path = make(tmp_path / f"some{kind}", some()[:30])
    for mass in range(5):  # LMDB then has pages to use again.
        with connect(path, use_lock_file=False) as database:
            database.update(3, molmass=mass)
    before = path.stat()
    first = Index.of(path, ["molmass"], ELEMENTS, tmp_path)
    with connect(path, use_lock_file=False) as database:
        database.update(3, molmass=5.0)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = Index.of(path, ["molmass"], ELEMENTS, tmp_path)
    assert (again.values[2], first.values[2]) == ([5.0], [4.0])


@pytest.mark.parametrize("kind", [".db", LMDB])
def test_reading_leaves_no_trace_beside_a_database(tmp_path, kind):
    folder = tmp_path / "theirs"
    folder.mkdir()
    path = make(folder / f"some{kind}", some()[:30])
    if kind == ".db":
        logged(path).close()
    else:
        (folder / "some.aselmdb-lock").unlink()
    before = path.read_bytes()
    with writing_only_below(tmp_path / "cache"):
        index = Index.of(path, ["molmass"], ELEMENTS, tmp_path / "cache")
        LazyMolecules(path, index, ELEMENTS).batch(torch.arange(30))
    assert [each.name for each in folder.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_an_index_that_cannot_be_kept_is_a_warning(tmp_path, caplog):
    path = make(tmp_path / "some.db", some()[:5])
    assert len(Index.of(path, ["molmass"], ELEMENTS, path)) == 5
    assert "data.cache_dir" in caplog.text and str(path / "databases") in caplog.text


# ---- what is refused -------------------------------------------------------------------------


def spoiled(path, damage):
    content = path.read_bytes()
    if damage == "truncated":
        return content[: len(content) // 2 // 4096 * 4096]
    pages = range(4096 * 2, len(content), 4096)
    blank = bytearray(content)
    # All but the pages that a file is recognized by.
    for start in pages:
        blank[start : start + 4096] = bytes(4096)
    return bytes(blank)


@pytest.mark.parametrize("damage", ["truncated", "blank"])
@pytest.mark.parametrize("kind", [".db", LMDB])
def test_damage_is_said_in_words_when_indexing_and_when_training(tmp_path, kind, damage):
    path = make(tmp_path / f"some{kind}", some())
    index = Index.of(path, ["molmass"], ELEMENTS, tmp_path)
    molecules = LazyMolecules(path, index, ELEMENTS)
    molecules.batch(torch.arange(8))
    disconnect(path)
    path.write_bytes(spoiled(path, damage))
    for read in (
        partial(Index.of, path, ["molmass"], ELEMENTS, tmp_path),
        partial(molecules.batch, torch.arange(len(index))),
    ):
        with pytest.raises(ValueError, match=rf"data\.path: .*some\{kind}.* damaged"):
            read()


def test_a_row_that_is_no_row_is_named(tmp_path):
    path = make(tmp_path / "some.db", some()[:30])
    index = Index.of(path, ["molmass"], ELEMENTS, tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE systems SET key_value_pairs='{\"a\": ' WHERE id=4")
        connection.execute("UPDATE systems SET numbers=zeroblob(length(numbers)) WHERE id=6")
        connection.commit()
    molecules = LazyMolecules(path, index, ELEMENTS)
    with pytest.raises(ValueError, match=r"row 4 of .* cannot be read"):
        molecules.batch(torch.tensor([3]))
    with pytest.raises(ValueError, match=r"row 6 has .* another molecule than when it was indexed"):
        molecules.batch(torch.tensor([5]))


def test_workers_say_what_they_met_without_their_stack(data, path):
    found = data(workers=2)
    found._molecules.index.sizes[:] += 1
    with pytest.raises(ValueError) as caught:
        list(found.train_dataloader())
    assert "must not change while it is read" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_lock_of_another_process_is_waited_for_and_then_named(tmp_path, monkeypatch):
    path = make(tmp_path / "some.db", some()[:30])
    index = Index.of(path, ["molmass"], ELEMENTS, tmp_path)
    for name in ("_OPENING", "_READING"):
        monkeypatch.setattr(f"tasks.sources.databases.database.{name}", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        for read in (
            partial(Index.of, path, ["molmass"], ELEMENTS, tmp_path),
            partial(LazyMolecules(path, index, ELEMENTS).batch, torch.arange(8)),
        ):
            with pytest.raises(ValueError, match=r"some\.db is locked by another process"):
                read()


def test_a_database_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = make(tmp_path / "some.db", some()[:30])
    monkeypatch.setattr(Path, "open", partial(refuse, path))
    with pytest.raises(ValueError, match=r"no permission to read .*some\.db"):
        Index.of(path, ["molmass"], ELEMENTS, tmp_path)


def refuse(path, *_):
    raise PermissionError(13, "Permission denied", str(path))


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
        ({"target": "../x"}, ["target", "is no name"]),
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
        *("--model.network.group=SE3", "--model.network.invariant=Distance"),
        *("--model.network.pooling=sum", "--model.network.width=16"),
        *("--model.network.layers=1", "--model.network.heads=4"),
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
