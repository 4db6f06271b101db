from pathlib import Path

import pytest

from tasks.cache import CACHE_VARIABLE
from tasks.commands.main import main


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
