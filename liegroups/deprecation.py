"""Old names that work for one more release, with a warning that names the new ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar


def warn_renamed(old: str, new: str, stacklevel: int) -> None:
    """Warn that a name is an old one.

    Args:
        old: The old name.
        new: The new name.
        stacklevel: Frames up to the one that the warning is about; 1 is the caller of this.
    """
    warnings.warn(f"{old} is now called {new}.", DeprecationWarning, stacklevel=stacklevel + 1)


def renamed(module: str, names: dict[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for a module some of whose members have new names.

    Args:
        module: The name of the module.
        names: New names by old ones.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", f"{module}.{names[name]}", 2)
        return getattr(import_module(module), names[name])

    return find


def old_attribute(old: str, new: str) -> Any:
    """An attribute under its old name, which warns and gives that of the new name."""

    def get(self: Any) -> Any:
        owner = type(self).__name__
        warn_renamed(f"{owner}.{old}", f"{owner}.{new}", 2)
        return getattr(self, new)

    return property(get)


class RenamedMethods:
    """A base class some of whose methods have new names.

    The old names can be called, and a subclass that defines one of them defines the new one.

    Attributes:
        renamed_methods: New names by old ones.
    """

    renamed_methods: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "renamed_methods" in cls.__dict__:
            for old, new in cls.renamed_methods.items():
                setattr(cls, old, old_attribute(old, new))
            return
        for old, new in cls.renamed_methods.items():
            if old in cls.__dict__ and new not in cls.__dict__:
                warn_renamed(f"{cls.__name__}.{old}", f"{cls.__name__}.{new}", 3)
                setattr(cls, new, cls.__dict__[old])
