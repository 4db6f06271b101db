"""A training of a second, in a folder of its own."""

import signal
from pathlib import Path

import pytest
import yaml

from tasks.commands.main import main

CONFIG = {
    "task": "md17",
    "model": {
        "network": {
            "class_path": "LieTransformer",
            "init_args": {"group": "T3", "width": 8, "layers": 1, "heads": 2, "pooling": "sum"},
        },
        "objective": {"class_path": "EnergiesAndForces"},
    },
    "data": {
        "source": {"class_path": "tasks.sources.md17.Springs", "init_args": {"frames": 40}},
        "train_frames": 20,
        "val_frames": 4,
        "test_frames": 8,
        "batch_size": 5,
    },
    "trainer": {"max_epochs": 5, "check_val_every_n_epoch": 2, "enable_progress_bar": False},
}


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIE_ATTENTION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", ["lie-attention"])
    Path("config.yaml").write_text(yaml.safe_dump(CONFIG))
    # Where the tests run in the background of a shell, it has turned interrupts off.
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


@pytest.fixture
def go():
    """Give a command."""
    return lambda *args: main([str(arg) for arg in args])


@pytest.fixture
def fit(go):
    """Train."""
    return lambda *args: go("fit", "--config=config.yaml", *args)


@pytest.fixture
def refused(go, capsys):
    """Give a command that must be refused; its message."""

    def give(*args):
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            go(*args)
        assert left.value.code == 1
        return capsys.readouterr().err.strip().splitlines()[-1]

    return give
