import importlib.util
import os
from pathlib import Path

import pytest

from tasks.cache import CACHE_VARIABLE, CacheError, cache_directory, load_arrays
from tasks.cli import main
from tasks.qm9.source import CACHE_FILE, CACHE_VERSION, Molecules, load


@pytest.fixture(scope="session")
def qm9_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compact copy of QM9: the user's own if it is good, else built once."""
    user = cache_directory()
    try:
        load_arrays(user / CACHE_FILE, version=CACHE_VERSION)
        return user
    except (FileNotFoundError, CacheError):
        pass
    if importlib.util.find_spec("qm9pack") is None:
        pytest.skip("qm9pack is not installed")
    base = tmp_path_factory.getbasetemp()
    # the workers of one session share a parent
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "qm9"
    load(folder)
    return folder


@pytest.fixture(scope="session")
def molecules(qm9_cache: Path) -> Molecules:
    return load(qm9_cache)


@pytest.fixture
def command_cache(tmp_path: Path) -> Path:
    """The cache that commands see: an empty one, unless a module says otherwise."""
    return tmp_path / "cache"


@pytest.fixture
def lie_attention(monkeypatch, tmp_path, command_cache):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(command_cache))

    def run(*args):
        monkeypatch.setattr("sys.argv", ["lie-attention"])
        main([str(arg) for arg in args])

    return run


@pytest.fixture
def refusal(lie_attention, capsys):
    """Run a command that must fail; give its message."""

    def run(*args):
        with pytest.raises(SystemExit) as left:
            lie_attention(*args)
        assert left.value.code not in (0, None)
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("lie-attention: error: ")
        return message

    return run
