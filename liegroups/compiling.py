"""Telling torch.compile about functions without loading the compiler."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

P = ParamSpec("P")
R = TypeVar("R")


def constant_when_compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Let torch.compile call a function once and treat its result as a constant.

    It sets the mark that ``torch.compiler.assume_constant_result`` sets; that one imports the
    whole compiler, which doubles the time that importing this package takes. ``torch.export``
    knows no such mark, but finds the results of earlier calls.

    Args:
        function: A function of hashable constants alone.

    Returns:
        The function with a memory of its results.
    """
    memory: dict[tuple[object, ...], R] = {}

    @wraps(function)
    def constant(*args: P.args, **kwargs: P.kwargs) -> R:
        compiling = torch.compiler.is_compiling()
        watched = not compiling and in_a_mode()
        known = memory.get(args)
        # What is no tensor holds in every mode.
        if known is not None and not (watched and _tensors(known)):
            return known
        if watched:
            return function(*args, **kwargs)
        with torch.inference_mode(False), torch.device("cpu"):
            result = function(*args, **kwargs)
        _fix_sizes(result)
        if not compiling:
            memory[args] = result
        return result

    constant._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return constant


def _fix_sizes(result: object) -> None:
    """Let torch.compile take the sizes of tensors as numbers when it compiles for all sizes.

    These are the marks that ``torch._dynamo.mark_static`` sets, which cannot be called while
    something is compiled. A symbol for the size of a constant would belong to no input.
    """
    for tensor in _tensors(result):
        tensor._dynamo_static_indices = set(range(tensor.ndim))  # type: ignore[attr-defined]
        tensor._has_dynamo_dim_marking = True  # type: ignore[attr-defined]


def _tensors(result: object) -> list[Tensor]:
    parts = result if isinstance(result, tuple) else (result,)
    return [part for part in parts if isinstance(part, Tensor)]


def in_a_mode() -> bool:
    """Whether a mode such as FakeTensorMode replaces or watches the tensors that are made now.

    Its tensors are of no use outside of it, nor ordinary ones within.
    """
    return _get_current_dispatch_mode() is not None


def has_no_values() -> bool:
    """Whether something is compiled or recorded, whose tensors have no values to look at."""
    return torch.compiler.is_compiling() or in_a_mode()


def cached(function: Callable[..., R]) -> Callable[..., R]:
    """Remember the tensors that a function gives; torch.compile traces the function instead.

    They are ordinary tensors even if the first call comes under ``torch.inference_mode``, whose
    tensors no later call could differentiate through, or under another default device. In a mode
    that makes tensors of its own, such as FakeTensorMode, nothing is remembered.

    Args:
        function: A function of hashable constants alone.

    Returns:
        The function with a memory of its last 256 results.
    """

    @lru_cache(maxsize=256)
    def remembered(*constants: Hashable) -> R:
        with torch.inference_mode(False), torch.device("cpu"):
            return function(*constants)

    @wraps(function)
    def cached_function(*constants: Hashable) -> R:
        if has_no_values():
            return function(*constants)
        return remembered(*constants)

    return cached_function
