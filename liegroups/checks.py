"""Checks of numbers that a class is given, which say what was given and what is accepted."""

from __future__ import annotations

from math import inf
from numbers import Integral, Real
from typing import Final

SIZE: Final = 65_536
"""Largest width, or number of lifts, neighbors or functions: more is a slip of the keyboard."""

DEPTH: Final = 1_000
"""Largest number of layers."""

DIMENSION: Final = 100
"""Largest dimension of the space that a group acts on."""

SEED: Final = 2**32 - 1
"""Largest seed: what numpy's and Lightning's generators take."""

_LENGTH: Final = 1e18  # Its square, and that of its inverse, are numbers of single precision.


def check_count(name: str, value: int, least: int = 1, most: int | None = SIZE) -> None:
    """Raise unless a value is a whole number within bounds.

    Args:
        name: The name to give it: the key, after the name of its class where that helps.
        value: The value to check.
        least: The smallest number that is accepted.
        most: The largest one; any when None.

    Raises:
        ValueError: If it is another number, or no whole number; True and False are none.

    Example:
        >>> check_count("Haar.count", 0)
        Traceback (most recent call last):
        ...
        ValueError: Haar.count: 0; accepted: 1 to 65,536.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        span = f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
        number = "" if whole else "a whole number, "
        raise ValueError(f"{name}: {_shown(value)}; accepted: {number}{span}.")


def check_seed(name: str, value: int) -> None:
    """Raise unless a value is the seed of a generator; see :func:`check_count`."""
    check_count(name, value, 0, SEED)


def check_number(
    name: str,
    value: float,
    *,
    least: float = -inf,
    above: float = -inf,
    most: float = inf,
    below: float = inf,
) -> None:
    """Raise unless a value is a finite number within bounds.

    Args:
        name: The name to give it: the key, after the name of its class where that helps.
        value: The value to check.
        least: The smallest number that is accepted.
        above: A number that it has to be larger than.
        most: The largest number that is accepted.
        below: A number that it has to be smaller than.

    Raises:
        ValueError: If it is another number, NaN, infinite, or no number.

    Example:
        >>> check_number("decay", float("nan"), above=0, below=1)
        Traceback (most recent call last):
        ...
        ValueError: decay: nan; accepted: a number above 0 and below 1.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if number and -inf < value < inf and least <= value <= most and above < value < below:
        return
    bounds = (("at least", least), ("above", above), ("at most", most), ("below", below))
    words = " and ".join(f"{word} {bound:g}" for word, bound in bounds if -inf < bound < inf)
    one_sided = most == inf and below == inf
    finite = "a finite number" if one_sided else "a number"
    raise ValueError(f"{name}: {_shown(value)}; accepted: {finite} {words}".rstrip() + ".")


def check_length(name: str, value: float) -> None:
    """Raise unless a value is a length that single precision can square and divide by.

    Args:
        name: The name to give it.
        value: The value to check.

    Raises:
        ValueError: If it is not a number from 1e-18 to 1e18.
    """
    check_number(name, value, least=1 / _LENGTH, most=_LENGTH)


def _shown(value: object) -> str:
    """A value as a configuration has it."""
    return "null" if value is None else f"{value:,}" if type(value) is int else repr(value)
