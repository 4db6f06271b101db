"""Laws, plain functions that raise `LawViolation`, and the functions that they are made of."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Annotated, Any, NoReturn, TypeAlias, get_type_hints

import torch
from torch import Tensor

Law: TypeAlias = Callable[..., None]
"""A law takes what it is about, then concrete inputs, and returns nothing or raises."""


class Role(Enum):
    """The role of an input of a law, by which a strategy is found for it."""

    TANGENT = "tangent"
    ELEMENT = "element"
    STABILIZER = "stabilizer element"
    POINT = "point"
    CLOUD = "cloud"
    NUMBER = "number"


Tangents: TypeAlias = Annotated[Tensor, Role.TANGENT]
"""Algebra coordinates ``(*batch, dim)``."""
Elements: TypeAlias = Annotated[Tensor, Role.ELEMENT]
"""Elements ``(*batch, m, m)`` of the group."""
StabilizerElements: TypeAlias = Annotated[Tensor, Role.STABILIZER]
"""Elements of the stabilizer, in its own matrices."""
Points: TypeAlias = Annotated[Tensor, Role.POINT]
"""Points ``(*batch, point_dim)``."""
Clouds: TypeAlias = Annotated[Tensor, Role.CLOUD]
"""Clouds ``(*batch, points, point_dim)``."""
Number: TypeAlias = Annotated[float, Role.NUMBER]
"""A real number between -2 and 2."""


class LawViolation(AssertionError):
    """A law does not hold.

    Attributes:
        law: Name of the law.
        subject: The object that it was checked on.
        finding: The violation, with the input and its size.
    """

    def __init__(self, law: str, subject: str, finding: str) -> None:
        super().__init__(law, subject, finding)
        self.law, self.subject, self.finding = law, subject, finding

    def __str__(self) -> str:
        return f"{self.law} does not hold for {self.subject}: {self.finding}"


class _Finding(Exception):
    """Raised inside a law; `law` turns it into a `LawViolation` with names."""


def law(function: Law | None = None, *, once: bool = False) -> Any:
    """Make a law of a function: what it finds becomes a `LawViolation` that names the law.

    Args:
        function: The law. Its docstring begins with the formula.
        once: The law costs too much for many examples, and is run on one generic input.

    Returns:
        The law, or a decorator.
    """
    if function is None:
        return functools.partial(law, once=once)

    @functools.wraps(function)
    def checked(*args: Any, **inputs: Any) -> None:
        try:
            function(*args, **inputs)
        except _Finding as finding:
            names = list(roles(checked))
            about = [str(a) for a in args[: len(_parameters(checked)) - len(names)]]
            raise LawViolation(
                function.__name__, " on ".join(about), f"{finding} (law: {formula(checked)})"
            ) from None

    setattr(checked, "_once", once)  # noqa: B010  (a plain function has no such attribute)
    return checked


def formula(law: Law) -> str:
    """The formula that a law states: the first line of its docstring."""
    return (law.__doc__ or "").strip().split("\n")[0].rstrip(".")


@functools.cache
def roles(law: Law) -> Mapping[str, Role]:
    """The inputs that a law takes besides what it is about, by name."""
    found: dict[str, Role] = {}
    for name, hint in get_type_hints(law, include_extras=True).items():
        for mark in getattr(hint, "__metadata__", ()):
            if isinstance(mark, Role):
                found[name] = mark
    return found


def runs_once(law: Law) -> bool:
    """Whether a law is run on one input only: it takes none, or it costs too much."""
    return bool(getattr(law, "_once", False)) or not roles(law)


def _parameters(law: Law) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(law).parameters


# ---- what laws are written with --------------------------------------------------------------


def fail(finding: str, **inputs: object) -> NoReturn:
    """Report that the law does not hold."""
    raise _Finding(finding + _at(inputs))


def require(condition: bool, finding: str, **inputs: object) -> None:
    """Report ``finding`` unless the condition holds."""
    if not condition:
        fail(finding, **inputs)


def require_all(condition: Tensor, finding: str, **inputs: Tensor) -> None:
    """Report ``finding`` with the first row of the batch where the condition fails."""
    if not condition.all():
        index = tuple((~condition).nonzero()[0].tolist())
        fail(finding, **_rows(inputs, condition.shape, index))


def require_close(
    actual: Tensor,
    expected: Tensor,
    allowed: Tensor | float,
    axes: int,
    what: str = "",
    **inputs: Tensor | float,
) -> None:
    """Report the worst row of a batch, unless all entries agree.

    Args:
        actual: Values ``(*batch, *event)``.
        expected: Values of the same shape.
        allowed: Largest accepted error, broadcastable to the batch shape.
        axes: Number of event axes.
        what: A name for the values that are compared.
        **inputs: Inputs of the law, to be reported at the worst row.
    """
    prefix = f"{what}: " if what else ""
    if actual.shape != expected.shape:
        fail(
            f"{prefix}shape {tuple(actual.shape)}, expected {tuple(expected.shape)}",
            **inputs,
        )
    batch = actual.shape[: actual.ndim - axes]
    if actual.numel() == 0:
        return
    error = (actual.detach().double() - expected.detach().double()).abs().reshape(*batch, -1)
    worst = error.nan_to_num(nan=torch.inf).amax(-1)
    limit = torch.as_tensor(allowed).double().expand(batch)
    excess = worst - limit
    if bool((excess > 0).any()):
        flat = int((worst / limit.clamp(min=1e-300)).flatten().argmax())
        index = tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), batch))
        fail(
            f"{prefix}off by {worst[index].item():.3g}, allowed {limit[index].item():.3g}",
            **_rows(inputs, batch, index),
        )


def require_finite(value: Tensor, what: str, axes: int, **inputs: Tensor) -> None:
    """Report the first row of a batch with an entry that is NaN or infinite."""
    batch = value.shape[: value.ndim - axes]
    if value.numel():
        require_all(value.isfinite().reshape(*batch, -1).all(-1), f"{what} is not finite", **inputs)


def _rows(
    inputs: Mapping[str, Tensor | float], batch: torch.Size, index: tuple[int, ...]
) -> dict[str, object]:
    """The row of each input that belongs to a row of the batch."""
    return {
        name: value[index]
        if isinstance(value, Tensor) and value.shape[: len(batch)] == batch
        else value
        for name, value in inputs.items()
    }


def _at(inputs: Mapping[str, object]) -> str:
    if not inputs:
        return ""
    shown = []
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            dtype = str(value.dtype).removeprefix("torch.")
            shown.append(f"{name} = {_digits(value.detach().tolist())} ({dtype})")
        else:
            shown.append(f"{name} = {value}")
    return ", at " + ", ".join(shown)


def _digits(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_digits(v) for v in value) + "]"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
