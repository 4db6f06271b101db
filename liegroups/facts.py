"""Facts of groups and spaces: worked out once, since the objects never change."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

R = TypeVar("R")


class HasFacts:
    """An object that never changes and keeps the facts that ``once`` has worked out.

    They are no part of its value: equality, hash and text go by the fields of its dataclass, and
    copies and pickles leave the facts behind.
    """

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_facts"}


def once(fact: Callable[[Any], R]) -> Callable[[Any], R]:
    """Work out a fact of an object at the first question; for use below ``@property``.

    torch.compile works it out anew, when it traces, so that it has no need to watch the memory:
    ``functools.cached_property`` would make it compile again once a fact is there, and cannot be
    traced at all before Python 3.12. A fact is no tensor; ``liegroups.compiling.cached`` is for
    those.

    Args:
        fact: A method without arguments.

    Returns:
        The method with a memory in the object.
    """
    # Of a subclass and of what it inherits from, both may be asked.
    name = f"{fact.__module__}.{fact.__qualname__}"

    @wraps(fact)
    def remembered(self: Any) -> R:
        if torch.compiler.is_compiling():
            return fact(self)
        facts = self.__dict__.get("_facts")
        if facts is None:  # A frozen dataclass forbids to set an attribute.
            facts = self.__dict__["_facts"] = {}
        if name not in facts:
            facts[name] = fact(self)
        known: R = facts[name]
        return known

    return remembered
