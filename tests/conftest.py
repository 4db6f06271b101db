"""Profiles of hypothesis, by HYPOTHESIS_PROFILE; one torch thread; shapes are watched; QM9."""

import importlib.util
import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from attention.testing.laws import TRACES_ALL
from tasks.cache import CacheError, cache_directory, load_arrays
from tasks.sources.qm9.molecules import CACHE_FILE, CACHE_VERSION, Molecules, load
from tests.shapes import watch_shapes

# No deadline: a first call may compile or allocate, and the machine may be busy.
_COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("quick", max_examples=10, **_COMMON)
settings.register_profile("default", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("deep", max_examples=2000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

torch.set_num_threads(1)
watch_shapes()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of compiling and exporting are for a torch that traces all that networks do."""
    if tuple(map(int, torch.__version__.split(".")[:2])) >= TRACES_ALL:
        return
    untraced = pytest.mark.skip(reason=f"torch {torch.__version__} cannot trace all of it")
    for item in items:
        if any(word in item.name for word in ("compil", "export")):
            item.add_marker(untraced)


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
