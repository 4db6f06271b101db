import importlib.util
import os
from pathlib import Path

import pytest

from tasks.cache import CacheError, cache_directory, load_arrays
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
