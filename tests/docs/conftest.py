"""The extension of the site, docs/_ext, can be imported here, and commands can be run."""

import sys
from pathlib import Path

import pytest

from tests.tasks.conftest import lie_attention  # noqa: F401 (a fixture)

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))


@pytest.fixture
def command_cache(qm9_cache):
    return qm9_cache
