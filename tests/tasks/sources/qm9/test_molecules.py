import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tasks.cache import CacheError, cache_directory, load_arrays, save_arrays, write_atomic
from tasks.sources.qm9 import molecules as source
from tasks.sources.qm9.molecules import CACHE_FILE, CACHE_VERSION, Molecules, load
from tasks.sources.qm9.splits import MOLECULES

ARRAYS = {"a": np.arange(5.0), "b": np.zeros((2, 3), dtype=np.uint8)}


@pytest.fixture
def cached(qm9_cache: Path, tmp_path: Path) -> Path:
    """A copy of the cache that a test may spoil."""
    shutil.copy(qm9_cache / CACHE_FILE, tmp_path)
    return tmp_path / CACHE_FILE


@pytest.fixture
def rebuilt(monkeypatch: pytest.MonkeyPatch, molecules: Molecules) -> list[Path]:
    """Stand in for the reading of the CSV files; lists the calls."""
    calls: list[Path] = []

    def read(folder: Path) -> Molecules:
        calls.append(folder)
        return molecules

    monkeypatch.setattr(source, "_from_csv", read)
    return calls


def arrays_of(molecules: Molecules) -> dict[str, np.ndarray]:
    return {name: getattr(molecules, name) for name in source._DTYPES}


# --- what is read ---------------------------------------------------------------------------


def test_the_molecules_are_those_of_qm9(molecules: Molecules) -> None:
    assert len(molecules) == MOLECULES
    assert molecules.sizes.min() == 3  # water
    assert molecules.sizes.max() == 29  # nonane
    assert molecules.sizes.sum() == len(molecules.charges) == 2_359_210
    assert (np.diff(molecules.index) > 0).all()
    assert molecules.index[[0, -1]].tolist() == [1, 133_885]
    assert arrays_of(molecules).keys() == source._DTYPES.keys()
    assert all(a.dtype == source._DTYPES[name] for name, a in arrays_of(molecules).items())


def test_the_first_molecule_is_methane(molecules: Molecules) -> None:
    assert molecules.charges[:5].tolist() == [6, 1, 1, 1, 1]
    assert molecules.element_counts()[0].tolist() == [4, 1, 0, 0, 0]
    bonds = np.linalg.norm(molecules.positions[1:5] - molecules.positions[0], axis=1)
    np.testing.assert_allclose(bonds, 1.0919, atol=2e-4)


def test_numbers_in_exponent_notation_are_read(molecules: Molecules) -> None:
    # 2.1997E-6 and its like are 0 to four digits; a lost exponent would put atoms far away
    assert np.abs(molecules.positions).max() < 15
    first = molecules.offsets[:-1]
    span = np.maximum.reduceat(molecules.positions, first) - np.minimum.reduceat(
        molecules.positions, first
    )
    assert span.max() < 13


def test_element_counts_add_up_to_the_sizes(molecules: Molecules) -> None:
    np.testing.assert_array_equal(molecules.element_counts().sum(axis=1), molecules.sizes)


# --- the cache ------------------------------------------------------------------------------


def test_a_ready_cache_is_read_in_well_under_a_second(cached: Path, rebuilt: list[Path]) -> None:
    start = time.perf_counter()
    load(cached.parent)
    assert time.perf_counter() - start < 1
    assert not rebuilt


@pytest.mark.parametrize("damage", ["flipped byte", "flipped digest", "truncated", "empty", "old"])
def test_a_cache_that_cannot_be_trusted_is_reported_and_built_again(
    damage: str,
    cached: Path,
    rebuilt: list[Path],
    molecules: Molecules,
    caplog: pytest.LogCaptureFixture,
) -> None:
    good = cached.read_bytes()
    data = bytearray(good)
    if damage == "flipped byte":
        data[len(data) // 2] ^= 1
    elif damage == "flipped digest":
        data[-1] ^= 1
    elif damage == "truncated":
        del data[-1000:]
    elif damage == "empty":
        data.clear()
    cached.write_bytes(data)
    if damage == "old":
        save_arrays(cached, arrays_of(molecules), version=CACHE_VERSION - 1)
    with caplog.at_level(logging.WARNING):
        load(cached.parent)
    assert len(rebuilt) == 1
    assert str(cached) in caplog.text
    assert ("version" if damage == "old" else "damaged") in caplog.text
    assert cached.read_bytes() == good


def test_coordinates_that_are_not_finite_are_an_error(cached: Path, molecules: Molecules) -> None:
    positions = molecules.positions.copy()
    positions[molecules.offsets[7], 1] = np.nan
    save_arrays(cached, arrays_of(molecules) | {"positions": positions}, version=CACHE_VERSION)
    with pytest.raises(ValueError, match=f"coordinates of molecule {molecules.index[7]} are not"):
        load(cached.parent)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("charges", lambda a: np.where(a == 9, 17, a).astype(np.uint8), "an element other than"),
        ("offsets", lambda a: a[::-1].copy(), "offsets"),
        ("index", lambda a: a[::-1].copy(), "order of the QM9 index"),
        ("values", lambda a: a[:-1], r"values has shape \(130830, 12\)"),
        ("values", lambda a: np.full_like(a, np.inf), "target values of molecule 1 are not"),
    ],
)
def test_a_whole_cache_with_foreign_content_is_an_error(
    cached: Path, molecules: Molecules, name: str, change: object, message: str
) -> None:
    assert callable(change)
    arrays = arrays_of(molecules)
    save_arrays(cached, arrays | {name: change(arrays[name])}, version=CACHE_VERSION)
    with pytest.raises(ValueError, match=message):
        load(cached.parent)


def test_a_folder_that_cannot_be_written_is_reported_and_does_not_stop(
    tmp_path: Path, rebuilt: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        assert len(load(tmp_path / "file")) == MOLECULES
    assert "LIE_ATTENTION_CACHE" in caplog.text
    assert str(tmp_path / "file") in caplog.text


def test_the_folder_is_the_argument_then_the_variable_then_the_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LIE_ATTENTION_CACHE", str(tmp_path / "variable"))
    assert cache_directory(tmp_path / "argument") == tmp_path / "argument"
    assert cache_directory() == tmp_path / "variable"
    monkeypatch.delenv("LIE_ATTENTION_CACHE")
    assert cache_directory().name == "lie-attention"


def test_arrays_come_back_and_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    for name in "first", "second":
        save_arrays(tmp_path / name, ARRAYS, version=3)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    for name, array in load_arrays(tmp_path / "first", version=3).items():
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert array.dtype == ARRAYS[name].dtype
    with np.load(tmp_path / "first", allow_pickle=False) as plain:
        assert set(plain.files) == set(ARRAYS)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    save_arrays(path, ARRAYS, version=1)
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1 << place % 8]) + good[place + 1 :])
        with pytest.raises(CacheError, match="damaged"):
            load_arrays(path, version=1)


def test_nothing_is_pickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        save_arrays(tmp_path / "arrays.npz", {"a": np.array([object()])}, version=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_while_writing_leaves_the_old_file(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, crash)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_at_the_same_time_leave_a_whole_file(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np; from pathlib import Path; from tasks.cache import *\n"
        "path, value = Path(sys.argv[1]), int(sys.argv[2])\n"
        "for _ in range(20):\n"
        "    save_arrays(path, {'a': np.full(200_000, value)}, version=1)\n"
        "    a = load_arrays(path, version=1)['a']\n"
        "    assert (a == a[0]).all()\n"
    )
    path = tmp_path / "arrays.npz"
    command = [sys.executable, "-c", program, str(path)]
    writers = [subprocess.Popen([*command, str(value)]) for value in (1, 2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert list(tmp_path.iterdir()) == [path]


# --- the package ----------------------------------------------------------------------------


def test_without_qm9pack_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'lie-attention\[qm9\]'"):
        load(tmp_path)


def test_a_ready_cache_needs_no_package(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert len(load(cached.parent)) == MOLECULES


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_damaged_package_is_an_error_that_names_the_file(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("qm9pack") is None:
        pytest.skip("qm9pack is not installed")
    good = source._data_folder()
    for name in source._FILES:
        (tmp_path / name).symlink_to(good / name)
    broken = tmp_path / "qm9_part2.csv"
    broken.unlink()
    if damage == "truncated":
        with (good / broken.name).open("rb") as file:
            broken.write_bytes(file.read(1_000_000))
    monkeypatch.setattr(source, "_data_folder", lambda: tmp_path)
    with pytest.raises((FileNotFoundError, ValueError), match=r"qm9_part2\.csv.*--force-reinstall"):
        load(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
