"""Sources, units, splits, and what is refused."""

import hashlib
import importlib.metadata
import io
import tarfile
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.data.clouds import one_hot
from tasks.objectives import EnergiesAndForces
from tasks.objectives.base import Facts
from tasks.sources.md17 import ELEMENTS, MD17, RMD17, XTB, Frames, Springs, download
from tasks.sources.md17.splits import split_frames

KCAL = 43.364


def arrays(frames=40, seed=0):
    """Arrays of the public archive, in its units."""
    made = Springs(frames=frames, seed=seed).load("ethanol")
    return {
        "nuclear_charges": made.charges.astype(np.uint8),
        "coords": made.positions.astype(np.float32),
        "energies": made.energies / KCAL,
        "forces": (made.forces / KCAL).astype(np.float32),
        "old_energies": made.energies / KCAL + 1,
        "old_forces": (made.forces / KCAL + 2).astype(np.float32),
    }


def published(frames=40):
    order = np.random.RandomState(9).permutation(frames).astype(np.int16)
    return {
        f"{part}_{n:02}": np.roll(order, n)[rows]
        for n in range(1, 6)
        for part, rows in (("train", slice(0, 20)), ("test", slice(20, 30)))
    }


@pytest.fixture
def archive(tmp_path):
    """Write a file of the archive; the arrays given replace its own, None drops one."""

    def write(**changes):
        content = {**arrays(), **changes}
        kept = {name: array for name, array in content.items() if array is not None}
        np.savez_compressed(tmp_path / "rmd17_ethanol.npz", **kept)
        return RMD17(str(tmp_path))

    return write


# ---- sources ---------------------------------------------------------------------------------


def test_the_archive_is_read_in_mev_and_angstrom(archive):
    frames = archive().load("ethanol")
    expected = Springs(frames=40).load("ethanol")
    assert frames.energies.dtype == np.float64
    np.testing.assert_allclose(frames.energies, expected.energies, rtol=1e-14)
    np.testing.assert_allclose(frames.forces, expected.forces, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(frames.positions, expected.positions, atol=1e-6)
    assert frames.theory == "PBE/def2-SVP"


def test_the_original_labels_are_an_option(archive, tmp_path):
    revised = archive().load("ethanol")
    original = RMD17(str(tmp_path), labels="original").load("ethanol")
    np.testing.assert_allclose(original.energies - revised.energies, KCAL, rtol=1e-6)
    np.testing.assert_allclose(original.forces - revised.forces, 2 * KCAL, rtol=1e-4)
    assert original.theory != revised.theory


def test_the_whole_archive_may_be_named(archive, tmp_path):
    archive()
    inner = tmp_path / "npz_data"
    inner.mkdir()
    (tmp_path / "rmd17_ethanol.npz").rename(inner / "rmd17_ethanol.npz")
    assert len(RMD17(str(tmp_path)).load("ethanol")) == 40


def test_forces_of_springs_are_the_gradient_of_their_energy():
    frames = Springs(frames=3).load("ethanol")
    rest = Springs(frames=1, deviation=1e-9).load("ethanol").positions[0]
    length = np.linalg.norm(rest[:, None] - rest, axis=-1)
    stiffness = torch.tensor(np.where(length < 1.7, 20_000.0, 500.0))
    x = torch.tensor(frames.positions, requires_grad=True)
    pairs = torch.triu_indices(9, 9, 1)
    distance = (x[:, pairs[0]] - x[:, pairs[1]]).norm(dim=-1)
    stretch = distance - torch.tensor(length)[tuple(pairs)]
    energy = (stiffness[tuple(pairs)] * stretch**2).sum(-1) / 2
    (gradient,) = torch.autograd.grad(energy.sum(), x)
    np.testing.assert_allclose(frames.forces, -gradient.numpy(), rtol=1e-6, atol=1e-4)
    differences = frames.energies - frames.energies[0]
    np.testing.assert_allclose(differences, (energy - energy[0]).detach(), rtol=1e-5, atol=1e-3)


@pytest.fixture(scope="module")
def xtb(tmp_path_factory):
    pytest.importorskip("tblite")
    pytest.importorskip("ase")
    folder = str(tmp_path_factory.mktemp("frames"))
    return XTB(frames=4, interval=5, equilibration=20, cache_dir=folder)


def test_xtb_makes_frames_once_and_the_same_again(xtb, tmp_path, monkeypatch):
    frames = xtb.load("ethanol")
    assert frames.positions.shape == (4, 9, 3)
    assert sorted(frames.charges.tolist()) == [1] * 6 + [6, 6, 8]
    again = XTB(frames=4, interval=5, equilibration=20, cache_dir=str(tmp_path)).load("ethanol")
    np.testing.assert_array_equal(again.positions, frames.positions)
    np.testing.assert_array_equal(again.forces, frames.forces)
    monkeypatch.setattr(XTB, "_run", None)
    np.testing.assert_array_equal(xtb.load("CH3CH2OH").energies, frames.energies)


def test_xtb_forces_are_in_mev_per_angstrom(xtb):
    from ase import Atoms
    from tblite.ase import TBLite

    frames = xtb.load("ethanol")
    atoms = Atoms(frames.charges, frames.positions[2])
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    assert frames.energies[2] == pytest.approx(1000 * atoms.get_potential_energy(), abs=1e-2)
    energies = []
    for step in (1e-3, -1e-3):
        atoms.positions[2, 1] = frames.positions[2, 2, 1] + step
        energies.append(1000 * atoms.get_potential_energy())
    assert frames.forces[2, 2, 1] == pytest.approx(-(energies[0] - energies[1]) / 2e-3, abs=1)


def test_settings_of_xtb_tell_its_files_apart(tmp_path):
    one = XTB(cache_dir=str(tmp_path))
    changed = [XTB(seed=1), XTB(frames=7), XTB(temperature=300.0), XTB(timestep=1.0)]
    names = {source.path("ethanol").name for source in (one, *changed)}
    assert len(names) == 5
    assert one.path("benzene").name != one.path("ethanol").name
    assert one.path("ethanol").name == XTB().path("CH3CH2OH").name


def test_a_molecule_is_read_from_a_file_of_its_geometry(xtb, tmp_path):
    ase_io = pytest.importorskip("ase.io")
    from ase.build import molecule

    water, path = molecule("H2O"), tmp_path / "water.xyz"
    ase_io.write(path, water)
    source = replace(xtb, geometry=str(path), frames=2)
    frames = source.load("my water")
    assert frames.molecule == "my water"
    assert frames.charges.tolist() == [8, 1, 1]
    by_name = replace(xtb, frames=2).load("H2O")
    np.testing.assert_allclose(frames.positions, by_name.positions, atol=1e-5)
    first = source.path("my water")
    water.positions *= 1.01
    ase_io.write(path, water)
    assert source.path("my water") != first


def test_geometries_that_cannot_be_are_named(xtb, tmp_path):
    path = tmp_path / "molecule.xyz"
    source = replace(xtb, geometry=str(path))
    with pytest.raises(ValueError, match=r"geometry: there is no file .*molecule\.xyz"):
        source.load("it")
    for text, words in {
        "not a geometry": "geometry: ASE cannot read",
        "2\n\nU 0 0 0\nH 0 0 2\n": "unknown element Z = 92",
        "2\n\nH 0 0 0\nH 0 0 0.01\n": "atoms 0 and 1 of frame 0 overlap",
        "1\n\nH 0 0 0\n": "single atom",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            source.load("it")


def test_damaged_frames_of_xtb_are_made_again(xtb, caplog):
    frames = xtb.load("ethanol")
    path = xtb.path("ethanol")
    path.write_bytes(path.read_bytes()[:-100])
    np.testing.assert_array_equal(xtb.load("ethanol").energies, frames.energies)
    assert "damaged" in caplog.text


class Cooled(XTB):
    """A source of one's own."""


def test_frames_of_another_class_are_not_taken_for_these(xtb):
    own = Cooled(**vars(xtb))
    assert own.path("ethanol") != xtb.path("ethanol")
    typed = {"__name__": "__typed__", "XTB": XTB}
    exec("class Typed(XTB): pass", typed)
    assert typed["Typed"](**vars(xtb)).path("ethanol") is None


def test_frames_of_another_version_are_made_again(xtb, tmp_path, monkeypatch, caplog):
    source = replace(xtb, cache_dir=str(tmp_path), frames=2)
    source.load("H2O")
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "99" if name == "tblite" else version(name)
    )
    source.load("H2O")
    assert "made by tblite" in caplog.text and "99 is here" in caplog.text
    caplog.clear()
    monkeypatch.setattr(XTB, "_run", None)
    source.load("H2O")
    assert not caplog.text
    # Who only reads needs none of the packages.
    monkeypatch.setattr(importlib.metadata, "version", partial(missing, "none"))
    source.load("H2O")


def missing(*names):
    raise importlib.metadata.PackageNotFoundError(names[-1])


def test_frames_that_cannot_be_kept_are_a_warning(xtb, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert len(replace(xtb, cache_dir=str(tmp_path / "file"), frames=1).load("H2O")) == 1
    assert str(tmp_path / "file") in caplog.text and "data.source.cache_dir" in caplog.text


@pytest.mark.parametrize("name", ["../../x", "/x", "..", "", ".x", "a/b", "a\nb"])
def test_names_of_molecules_lead_nowhere(tmp_path, name):
    (tmp_path / "x.xyz").write_text("2\n\nH 0 0 0\nH 0 0 0.7\n")
    source = XTB(frames=1, geometry=str(tmp_path / "x.xyz"), cache_dir=str(tmp_path / "cache"))
    for refused in (
        partial(MD17, name, source),
        partial(source.load, name),
        partial(RMD17(folder=str(tmp_path)).load, name),
    ):
        with pytest.raises(ValueError, match=r"molecule: .* is no name"):
            refused()
    assert [path.name for path in tmp_path.rglob("*")] == ["x.xyz"]


def test_xtb_names_what_it_does_not_know(xtb):
    with pytest.raises(ValueError, match=r"'CH3CH2O0H'.*ethanol.*CH3CH2OH"):
        xtb.load("CH3CH2O0H")
    with pytest.raises(ValueError, match="single atom"):
        xtb.load("H")


def test_dynamics_that_break_the_molecule_say_what_to_change(xtb, tmp_path):
    with pytest.raises(ValueError, match=r"shorter than 20\.0 fs"):
        XTB(frames=20, timestep=20.0, cache_dir=str(tmp_path)).load("ethanol")
    assert not list(tmp_path.iterdir())


def test_missing_tblite_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tblite.ase", None)
    with pytest.raises(ImportError, match=r"lie-attention\[md\]"):
        XTB(cache_dir=str(tmp_path)).load("ethanol")


# ---- the download ----------------------------------------------------------------------------


def packed(members):
    """A bzip2 archive of named files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve bytes at the second of two addresses, the first of which has nothing."""
    root = tmp_path / "server"
    root.mkdir()
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(download, "ADDRESSES", (f"{address}/none", f"{address}/rmd17.tar.bz2"))

    def serve(content, checksum=None):
        (root / "rmd17.tar.bz2").write_bytes(content)
        digest = checksum or hashlib.sha256(content).hexdigest()
        monkeypatch.setattr(download, "SHA256", digest)
        return requests

    yield serve
    server.shutdown()
    server.server_close()


def archive_bytes(**more):
    npz = io.BytesIO()
    np.savez_compressed(npz, **arrays())
    tables = {
        f"rmd17/splits/index_{name}.csv": "\n".join(map(str, rows)).encode()
        for name, rows in published().items()
    }
    return packed({"rmd17/npz_data/rmd17_ethanol.npz": npz.getvalue(), **tables, **more})


def test_the_archive_is_downloaded_once_and_checked(served, tmp_path):
    requests = served(archive_bytes())
    source = RMD17(cache_dir=str(tmp_path / "cache"))
    frames = source.load("ethanol")
    np.testing.assert_allclose(frames.energies, Springs(frames=40).load("ethanol").energies)
    assert set(frames.splits) == {1, 2, 3, 4, 5}
    assert len(requests) == 3  # The missing file is written to the log twice.
    source.load("ethanol")
    assert len(requests) == 3
    left = {path.name for path in (tmp_path / "cache/md17").iterdir()}
    assert left == {"rmd17"}


def test_a_download_of_something_else_is_refused(served, tmp_path):
    served(archive_bytes(), checksum="0" * 64)
    with pytest.raises(OSError, match=r"SHA-256 is another.*--data\.source\.folder"):
        RMD17(cache_dir=str(tmp_path / "cache")).load("ethanol")
    assert not list((tmp_path / "cache/md17").iterdir())


def test_no_member_of_the_archive_is_written_outside_of_its_folder(served, tmp_path):
    outside = tmp_path / "cache" / "rmd17_outside.npz"
    served(archive_bytes(**{"../../rmd17_outside.npz": b"1", str(outside): b"2", "x.sh": b"3"}))
    RMD17(cache_dir=str(tmp_path / "cache")).load("ethanol")
    files = {p.relative_to(tmp_path / "cache") for p in (tmp_path / "cache").rglob("*.*")}
    assert not outside.exists()
    folder = Path("md17/rmd17")
    assert {p.parent for p in files} == {folder / "npz_data", folder / "splits"}
    assert not [p for p in files if p.suffix == ".sh"]


def test_a_download_that_breaks_off_leaves_nothing_that_counts(served, tmp_path, monkeypatch):
    whole = archive_bytes()
    served(whole[:-50])
    with pytest.raises(ValueError, match="truncated or damaged"):
        RMD17(cache_dir=str(tmp_path / "cache")).load("ethanol")
    assert not (tmp_path / "cache/md17/rmd17").exists()
    (tmp_path / "cache/md17/rmd17.tar.bz2").unlink(missing_ok=True)
    served(whole)
    assert len(RMD17(cache_dir=str(tmp_path / "cache")).load("ethanol")) == 40


# ---- what is refused -------------------------------------------------------------------------


def test_a_folder_without_the_molecule_lists_what_it_has(archive, tmp_path):
    source = archive()
    with pytest.raises(ValueError, match=r"'aspirin'; it has ethanol"):
        source.load("aspirin")
    with pytest.raises(ValueError, match="no folder"):
        RMD17(str(tmp_path / "none")).load("ethanol")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match=r"no file rmd17_"):
        RMD17(str(empty)).load("ethanol")


@pytest.mark.parametrize("key", ["nuclear_charges", "coords", "energies", "forces"])
def test_a_missing_key_is_named(archive, key):
    with pytest.raises(ValueError, match=f"lacks {key}"):
        archive(**{key: None}).load("ethanol")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(archive, tmp_path, share):
    source = archive()
    path = tmp_path / "rmd17_ethanol.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="truncated or damaged"):
        source.load("ethanol")


def test_a_flipped_byte_and_a_pickle_are_refused(archive, tmp_path):
    source = archive()
    path = tmp_path / "rmd17_ethanol.npz"
    with zipfile.ZipFile(path) as file:
        start = file.getinfo("forces.npy").header_offset
    content = bytearray(path.read_bytes())
    content[start + 500] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match="truncated or damaged"):
        source.load("ethanol")
    with pytest.raises(ValueError, match="truncated or damaged"):
        archive(energies=np.array([Path()] * 40, dtype=object)).load("ethanol")


@pytest.mark.parametrize(
    ("name", "place", "value", "words"),
    [
        ("coords", (3, 1, 2), np.nan, ["positions of 1 of 40", "frame 3"]),
        ("energies", (5,), np.inf, ["energies of 1 of 40", "frame 5"]),
        ("forces", (0, 0, 0), np.nan, ["forces of 1 of 40", "frame 0"]),
        ("nuclear_charges", (2,), 92, ["unknown element Z = 92", "Cl"]),
        ("nuclear_charges", (2,), 0, ["unknown element Z = 0"]),
    ],
)
def test_impossible_values_are_named(archive, name, place, value, words):
    changed = arrays()[name]
    changed[place] = value
    with pytest.raises(ValueError) as caught:
        archive(**{name: changed}).load("ethanol")
    assert all(word in str(caught.value) for word in words)


def test_overlapping_atoms_are_named(archive):
    coords = arrays()["coords"]
    coords[7, 4] = coords[7, 2] + 0.01
    with pytest.raises(ValueError, match=r"atoms 2 and 4 of frame 7 overlap.*0\.0173 Å"):
        archive(coords=coords).load("ethanol")


def test_arrays_of_other_shapes_are_refused(archive):
    with pytest.raises(ValueError, match=r"forces of shape \(39, 9, 3\); expected \(40, 9, 3\)"):
        archive(forces=arrays()["forces"][1:]).load("ethanol")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MD17(split=6), ["split", "6", "1 to 5"]),
        (lambda: MD17(train_frames=1), ["train_frames", "1", "2 or more"]),
        (lambda: MD17(val_frames=0), ["val_frames", "1 or more"]),
        (lambda: MD17(batch_size=0), ["batch_size", "1 or more"]),
        (lambda: XTB(frames=0), ["frames", "0", "1 to"]),
        (lambda: XTB(temperature=0.0), ["temperature", "above 0"]),
        (lambda: RMD17("x", labels="new"), ["labels", "'new'", "revised, original"]),
        (lambda: Springs(deviation=1.0), ["deviation", "1.0"]),
        (lambda: Springs().load("water"), ["ethanol alone", "'water'"]),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(ValueError) as caught:
        make()
    assert all(word in str(caught.value) for word in words)


# ---- splits ----------------------------------------------------------------------------------


def test_published_splits_are_kept(archive):
    parts = published()
    frames = archive(**parts).load("ethanol")
    assert set(frames.splits) == {1, 2, 3, 4, 5}
    split = split_frames(frames, 2, train=12, val=5)
    assert split.name == "published 2"
    assert set(split.test) == set(parts["test_02"].tolist())
    together = [*split.train, *split.val]
    assert len(set(together)) == 17
    assert set(together) <= set(parts["train_02"].tolist())


def test_splits_in_csv_files_are_read(archive, tmp_path):
    source = archive()
    (tmp_path / "splits").mkdir()
    for name, rows in published().items():
        np.savetxt(tmp_path / "splits" / f"index_{name}.csv", rows, fmt="%d")
    from_tables = source.load("ethanol").splits
    from_arrays = archive(**published()).load("ethanol").splits
    for number in range(1, 6):
        for a, b in zip(from_tables[number], from_arrays[number], strict=True):
            np.testing.assert_array_equal(a, b)


def test_splits_of_other_files_are_refused(archive, tmp_path):
    with pytest.raises(ValueError, match=r"train_03.*40 frames"):
        archive(**{**published(), "train_03": np.arange(30, 50)}).load("ethanol")
    with pytest.raises(ValueError, match="split 4 has frames both"):
        archive(**{**published(), "train_04": np.arange(40)}).load("ethanol")
    source = archive()
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "index_train_01.csv").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match="not a column of frame numbers"):
        source.load("ethanol")


@pytest.mark.parametrize("with_published", [True, False])
def test_parts_are_disjoint_and_do_not_depend_on_the_training_frames(archive, with_published):
    frames = archive(**(published() if with_published else {})).load("ethanol")
    many, few = (split_frames(frames, 3, train=n, val=4, test=9) for n in (14, 6))
    assert many.name == few.name == ("published 3" if with_published else "drawn with seed 3")
    for split in (many, few):
        everything = np.concatenate([split.train, split.val, split.test])
        assert len(set(everything)) == len(everything) == len(split.train) + 13
    np.testing.assert_array_equal(many.val, few.val)
    np.testing.assert_array_equal(many.test, few.test)
    np.testing.assert_array_equal(many.train[:6], few.train)
    other = split_frames(frames, 4, train=14, val=4, test=9)
    assert set(other.train) != set(many.train)


def test_too_few_frames_are_refused(archive):
    with pytest.raises(ValueError, match=r"40 frames of ethanol.*950 \+ 50"):
        split_frames(archive().load("ethanol"), 1, train=950, val=50)
    with pytest.raises(ValueError, match=r"split 1 of ethanol has 20 frames"):
        split_frames(archive(**published()).load("ethanol"), 1, train=18, val=3)


# ---- batches ---------------------------------------------------------------------------------


def test_a_batch_holds_the_frames_it_says():
    data = MD17(source=Springs(), train_frames=50, val_frames=10, batch_size=16)
    data.setup()
    frames = Springs().load("ethanol")
    batch = next(iter(data.train_dataloader()))
    rows = batch.ids.numpy()
    assert batch.targets.dtype == torch.float64
    np.testing.assert_array_equal(batch.targets[:, 0], frames.energies[rows])
    np.testing.assert_allclose(batch.point_targets, frames.forces[rows], rtol=1e-6)
    centered = frames.positions[rows] - frames.positions[rows].mean(1, keepdims=True)
    np.testing.assert_allclose(batch.points, centered, atol=1e-6)
    assert batch.features.shape == (len(rows), 9, MD17.in_features)
    charges = torch.tensor(list(ELEMENTS.values()))[batch.features[0].argmax(-1)]
    assert charges.tolist() == frames.charges.tolist()


def test_statistics_are_of_the_training_frames():
    data = MD17(source=Springs(), train_frames=50, val_frames=10)
    data.setup()
    frames, rows = Springs().load("ethanol"), data.split.train
    known = EnergiesAndForces(Facts(MD17.in_features, 1))
    known.learn_from(data)
    assert known.energy_mean == frames.energies[rows].mean()
    assert known.energy_deviation == frames.energies[rows].std()
    assert known.force_rms == pytest.approx(frames.forces[rows].std(), rel=1e-2)


def test_elements_are_one_hot():
    features = one_hot(ELEMENTS)[list(ELEMENTS.values())]
    np.testing.assert_array_equal(features, np.eye(len(ELEMENTS)))


def test_frames_of_nothing_are_refused():
    with pytest.raises(ValueError, match="0 frames"):
        Frames("x", "y", np.array([1]), np.zeros((0, 1, 3)), np.zeros(0), np.zeros((0, 1, 3)))
