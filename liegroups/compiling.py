"""Telling torch.compile about functions without loading the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable[..., object])


def constant_when_compiled(function: Function) -> Function:
    """Let torch.compile call a function once and treat its result as a constant.

    It sets the mark that ``torch.compiler.assume_constant_result`` sets; that one imports the
    whole compiler, which doubles the time that importing this package takes.

    Args:
        function: A function of constants alone.

    Returns:
        The same function.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
