"""Where files may be written, and what a cached file is of."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from tasks.cache import (
    check_name,
    keep_arrays,
    make_folder,
    save_arrays,
    source_digest,
    write_atomic,
    writing_only_below,
)


def test_files_are_written_below_the_folders_only(tmp_path, monkeypatch):
    run, cache = tmp_path / "run", tmp_path / "cache"
    monkeypatch.chdir(tmp_path)
    with writing_only_below(run, cache):
        write_atomic(run / "a/b.txt", b"1")
        write_atomic(Path("run/c.txt"), b"2")
        save_arrays(cache / "d.npz", {"a": np.zeros(2)}, version=1)
        for path in (tmp_path / "x/y.txt", run / "../x/y.txt", Path("y.txt"), Path("/y.txt")):
            with pytest.raises(PermissionError, match=r"y\.txt is not written.*run and .*cache"):
                write_atomic(path, b"3")
        with pytest.raises(PermissionError):
            make_folder(tmp_path / "x")
        with writing_only_below(tmp_path), pytest.raises(PermissionError):  # Both hold.
            write_atomic(tmp_path / "z.txt", b"4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "run"]
    write_atomic(tmp_path / "z.txt", b"5")


def test_links_are_not_followed_out_of_the_folder(tmp_path):
    run, outside = tmp_path / "run", tmp_path / "outside"
    for folder in (run / "real", outside):
        folder.mkdir(parents=True)
    (outside / "kept.txt").write_text("kept")
    (run / "away").symlink_to(outside)
    (run / "near").symlink_to(run / "real")
    (run / "back").symlink_to(run)
    (run / "round").symlink_to(run / "round")
    (run / "file.txt").symlink_to(outside / "kept.txt")
    (tmp_path / "way").symlink_to(tmp_path)
    with writing_only_below(run):
        for name in ("away", "near", "back", "back/real", "round"):
            with pytest.raises(PermissionError):
                write_atomic(run / name / "x.txt", b"1")
            with pytest.raises(PermissionError):
                make_folder(run / name / "folder")
        write_atomic(run / "file.txt", b"new")
        write_atomic(tmp_path / "way/run/real/x.txt", b"2")  # The way to the folder may have one.
    assert not (run / "file.txt").is_symlink()
    assert (outside / "kept.txt").read_text() == "kept"
    assert [path.name for path in outside.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", ".x", "../x", "a/b", "/a", "a\\b", "a\nb", "a\0", "\x1b[2J"]
)
def test_what_could_lead_elsewhere_is_no_name(name):
    with pytest.raises(ValueError, match=r"molecule: .* is no name"):
        check_name("molecule", name)


def test_names_of_molecules_are_names():
    for name in ("ethanol", "CH3CH2OH", "my water", "trans-butane", "2-butyne", "azo.1", "Äther"):
        check_name("molecule", name)


def test_a_cache_that_cannot_be_written_is_a_warning_with_a_way_out(tmp_path, caplog):
    (tmp_path / "file").touch()
    arrays = {"a": np.zeros(2)}
    with caplog.at_level(logging.WARNING):
        keep_arrays(
            *(tmp_path / "file/a.npz", arrays),
            **{"version": 1, "otherwise": "it is made anew", "setting": "data.folder"},
        )
    assert str(tmp_path / "file/a.npz") in caplog.text
    assert "it is made anew" in caplog.text and "data.folder" in caplog.text
    assert "LIE_ATTENTION_CACHE" in caplog.text


def test_the_digest_of_a_class_changes_with_its_source_and_that_of_its_base(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = []
    for base, law, module in ((1, 1, "law_a"), (1, 2, "law_a"), (2, 1, "law_a"), (1, 1, "law_b")):
        (tmp_path / "law_base.py").write_text(f"class Base:\n    law = {base}\n")
        (tmp_path / f"{module}.py").write_text(
            f"from law_base import Base\nclass Law(Base):\n    law = {law}\n"
        )
        for name in ("law_base", module):
            monkeypatch.delitem(sys.modules, name, raising=False)
        found.append(source_digest(__import__(module).Law))
    assert None not in found and len(set(found)) == 4


def test_what_was_typed_in_has_no_digest():
    typed = {"__name__": "__typed__"}
    exec("class Law: pass", typed)
    assert source_digest(typed["Law"]) is None
