"""Hypothesis profiles, chosen by the environment variable HYPOTHESIS_PROFILE; one torch thread."""

import os

import torch
from hypothesis import HealthCheck, settings

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
