"""The types of settings, as their classes mean them.

jsonargparse reads the annotations of a dataclass and of all that it inherits from by the names of
the module of the dataclass alone. Where a base says ``ClassVar`` or ``Tensor`` and that module does
not import it, no setting of the class has a type any more: nothing is checked, and a class that a
setting names is never built. Importing this module lets each base be read by its own.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import Any, get_type_hints

from jsonargparse import _postponed_annotations

_get_types = _postponed_annotations.get_types


def _types(obj: Any, logger: Any = None, parent: Any = None) -> dict[str, Any]:
    if inspect.isclass(obj):
        with suppress(Exception):  # A name that is imported for type checkers alone.
            return get_type_hints(obj)
    found: dict[str, Any] = _get_types(obj, logger, parent)
    return found


_postponed_annotations.get_types = _types
