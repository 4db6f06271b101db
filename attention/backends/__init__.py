"""Backends: the same attention, computed in different ways."""

from attention.backends.base import Backend
from attention.backends.choice import BACKENDS, BackendName, choose_backend
from attention.backends.fused import Fused
from attention.backends.linear import LinearTime
from attention.backends.reference import Reference
from attention.backends.streaming import Streaming
from attention.backends.triton import Triton

__all__ = [
    "BACKENDS",
    "Backend",
    "BackendName",
    "Fused",
    "LinearTime",
    "Reference",
    "Streaming",
    "Triton",
    "choose_backend",
]
