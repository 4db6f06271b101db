"""The commit is that of the source that runs, marked where it was changed; never another's."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import provenance as ours

SOURCE = Path(ours.__file__)


def git(folder, *arguments):
    identity = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def load(folder):
    """The module as it is in another folder."""
    spec = importlib.util.spec_from_file_location("elsewhere", folder / "tasks/provenance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path):
    """A repository with the module, a file beside it, and a result."""
    for name in ("tasks/provenance.py", "README.md", "results/topic/figures.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SOURCE.read_bytes())
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    return tmp_path


def test_a_clean_tree_has_its_commit(checkout):
    assert load(checkout).commit() == git(checkout, "rev-parse", "--short", "HEAD")


def test_a_changed_tree_is_marked(checkout):
    (checkout / "README.md").write_text("other")
    assert load(checkout).commit() == git(checkout, "rev-parse", "--short", "HEAD") + "+"
    git(checkout, "add", "README.md")  # Staged is changed too.
    assert load(checkout).commit().endswith("+")


def test_results_and_files_that_are_not_tracked_are_no_change(checkout):
    (checkout / "results/topic/figures.json").write_text("more rows")
    (checkout / "runs.txt").touch()
    assert not load(checkout).commit().endswith("+")


def test_a_module_keeps_the_commit_that_it_began_with(checkout):
    module = load(checkout)
    before = module.commit()
    (checkout / "README.md").write_text("other")
    assert module.commit() == before


def test_the_repository_of_a_user_is_not_taken(checkout):
    packages = checkout / ".venv/site-packages"
    (packages / "tasks").mkdir(parents=True)
    (packages / "tasks/provenance.py").write_bytes(SOURCE.read_bytes())
    assert load(packages).commit() == ours.UNKNOWN


def test_where_the_user_stands_does_not_matter(checkout, tmp_path_factory, monkeypatch):
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    git(other, "commit", "-qm", "theirs", "--allow-empty")
    expected = git(checkout, "rev-parse", "--short", "HEAD")
    monkeypatch.chdir(other)
    # As in a hook of theirs.
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert load(checkout).commit() == expected


def test_without_a_repository_or_git_the_commit_is_unknown(tmp_path, monkeypatch):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/provenance.py").write_bytes(SOURCE.read_bytes())
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert load(tmp_path).commit() == ours.UNKNOWN
    monkeypatch.setenv("PATH", "")
    assert load(tmp_path).commit() == ours.UNKNOWN


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("--run=/home/me/runs/one", "--run=one"),
        ("/home/me/molecules.xyz", "molecules.xyz"),
        (str(SOURCE.parents[1] / "benchmarks/qm9.py"), "benchmarks/qm9.py"),
        ("--data.source={folder: /home/me/archive, frames: 3}", "{folder: archive, frames: 3}"),
        ("kcal/mol", "kcal/mol"),
        ("../here/too", "../here/too"),
        ("https://example.org/a", "https://example.org/a"),
    ],
)
def test_a_command_has_no_path_of_one_machine(argument, shown):
    command = ours.provenance(["fit", argument])["command"]
    assert shown in command
    assert "/home/me" not in command
    assert str(SOURCE.parents[1]) not in command


def test_all_is_said_but_the_cost():
    found = ours.provenance(["fit"])
    assert found.keys() == set(ours.FIELDS) - {"cpu_seconds"}
    assert re.fullmatch(r"[0-9a-f]{7,40}\+?|unknown", found["commit"])
    assert all(found.values())


def test_what_was_not_recorded_is_unknown():
    row = {"mae": 3.0, "commit": "", "date": None, "cpu_seconds": 0.0, "machine": "here"}
    assert ours.recorded(row) == {
        "command": "unknown",
        "commit": "unknown",
        "version": "unknown",
        "date": "unknown",
        "machine": "here",
        "cpu_seconds": 0.0,
    }


def test_the_processor_time_of_children_counts():
    before = ours.processor_seconds()
    code = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-S", "-c", code], check=True, env=dict(os.environ))
    assert ours.processor_seconds() - before > 0.25
