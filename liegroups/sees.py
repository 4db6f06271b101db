"""The parts of a pair of lifted points that a piece of a network depends on."""

from __future__ import annotations

import warnings
from enum import Flag, auto
from typing import Any

from liegroups.compiling import constant_when_compiled


class Sees(Flag):
    """The parts of a pair of lifted points that a value depends on; ``|`` joins them.

    A network sees what its parts see together. Where no part sees the elements over the points,
    the lift does not matter, and equivariance is exact.

    Attributes:
        NOTHING: No part: the value is the same wherever the points are.
        POINTS: The points themselves.
        INVARIANTS: The invariants of the pair, which see points or elements in turn.
        ELEMENTS: The group elements over the points.

    Example:
        >>> from liegroups import Distance, RelativePose
        >>> Distance().sees | RelativePose().sees
        <Sees.POINTS|ELEMENTS: 5>
        >>> Sees.ELEMENTS in Distance().sees
        False
    """

    NOTHING = 0
    POINTS = auto()
    INVARIANTS = auto()
    ELEMENTS = auto()


_BOOLEANS = {  # The attributes that ``sees`` has replaced, where they are True and where not.
    "sees_lift": (Sees.ELEMENTS, Sees.POINTS),
    "sees_elements": (Sees.ELEMENTS, Sees.NOTHING),
    "sees_invariants": (Sees.INVARIANTS, Sees.NOTHING),
}


@constant_when_compiled  # Not every torch that we support can trace a flag.
def includes(sees: Sees, part: Sees) -> bool:
    """Whether what is seen has a part, for code that is compiled: ``part in sees``."""
    return part in sees


class Seeing:
    """A piece of a network that says what it sees of the pairs.

    Until the next release a class may declare one of the booleans ``sees_lift``,
    ``sees_elements`` and ``sees_invariants`` in place of ``sees``, and they can be read.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        declared = [name for name in _BOOLEANS if name in cls.__dict__]
        if not declared or "sees" in cls.__dict__:
            return
        _warn(declared[0], cls.__name__, 4)
        inherited = getattr(cls, "sees", Sees.NOTHING)

        def sees(self: Any) -> Sees:
            found = inherited if isinstance(inherited, Sees) else Sees.NOTHING
            for name in declared:
                if_true, if_false = _BOOLEANS[name]
                found = found & ~(if_true | if_false)
                found |= if_true if getattr(self, name) else if_false
            return found

        setattr(cls, "sees", property(sees))  # noqa: B010  (a string, for the type checker)

    @property
    def sees(self) -> Sees:
        """The parts of a pair that its value depends on; a class attribute will do."""
        return Sees.NOTHING

    @property
    def sees_lift(self) -> bool:
        """The old name of ``Sees.ELEMENTS in sees``."""
        _warn("sees_lift", type(self).__name__, 3)
        return Sees.ELEMENTS in self.sees

    @property
    def sees_elements(self) -> bool:
        """The old name of ``Sees.ELEMENTS in sees``."""
        _warn("sees_elements", type(self).__name__, 3)
        return Sees.ELEMENTS in self.sees

    @property
    def sees_invariants(self) -> bool:
        """The old name of ``Sees.INVARIANTS in sees``."""
        _warn("sees_invariants", type(self).__name__, 3)
        return Sees.INVARIANTS in self.sees


def _warn(name: str, owner: str, stacklevel: int) -> None:
    warnings.warn(
        f"{owner}.{name} is deprecated; use {owner}.sees, a liegroups.Sees.",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
