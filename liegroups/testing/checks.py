"""Run laws without pytest, and report each with its smallest counterexample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, settings

from liegroups.group import LieGroup
from liegroups.invariants import Invariant
from liegroups.spaces import HomogeneousSpace
from liegroups.testing.laws import GROUP_LAWS, INVARIANT_LAWS, SPACE_LAWS
from liegroups.testing.laws.law import Law, LawViolation, formula, runs_once
from liegroups.testing.strategies import generic_inputs, law_inputs


@dataclass(frozen=True)
class LawResult:
    """The outcome of one law.

    Attributes:
        name: Name of the law.
        formula: The statement.
        passed: Whether it holds; None where it was skipped.
        message: The smallest counterexample, or the reason for skipping; else empty.
    """

    name: str
    formula: str
    passed: bool | None
    message: str = ""


def check_group(
    group: LieGroup, *, examples: int | None = None, skip: Mapping[str, str] | None = None
) -> list[LawResult]:
    """Run all laws of a group.

    Args:
        group: The group.
        examples: Number of examples to try each law on; by default, that of the current Hypothesis
            profile.
        skip: Reasons for not running laws, by their names.

    Returns:
        One result a law, in the order of `GROUP_LAWS`.

    Raises:
        ValueError: If ``skip`` names an unknown law or gives no reason.

    Example:
        >>> from liegroups import T2
        >>> results = check_group(T2(), examples=5)
        >>> all(result.passed for result in results)
        True
    """
    return list(iterate_checks(GROUP_LAWS, (group,), group, None, examples=examples, skip=skip))


def check_space(
    space: HomogeneousSpace,
    *,
    examples: int | None = None,
    skip: Mapping[str, str] | None = None,
) -> list[LawResult]:
    """Run all laws of a homogeneous space; see `check_group`."""
    return list(
        iterate_checks(SPACE_LAWS, (space,), space.group, space, examples=examples, skip=skip)
    )


def check_invariant(
    invariant: Invariant,
    space: HomogeneousSpace,
    *,
    examples: int | None = None,
    skip: Mapping[str, str] | None = None,
) -> list[LawResult]:
    """Run all laws of an invariant on a space; see `check_group`."""
    about = (invariant, space)
    return list(
        iterate_checks(INVARIANT_LAWS, about, space.group, space, examples=examples, skip=skip)
    )


def iterate_checks(
    laws: Sequence[Law],
    about: tuple[object, ...],
    group: LieGroup,
    space: HomogeneousSpace | None,
    *,
    examples: int | None = None,
    skip: Mapping[str, str] | None = None,
) -> Iterator[LawResult]:
    """Run laws one after the other, so that results can be shown as they come.

    Args:
        laws: The laws.
        about: The objects that they are about, their first arguments.
        group: Where elements and tangents come from.
        space: Where points come from.
        examples: Number of examples to try each law on.
        skip: Reasons for not running laws, by their names.

    Yields:
        One result a law.
    """
    reasons = checked_reasons(laws, skip)
    for law in laws:
        if law.__name__ in reasons:
            yield LawResult(law.__name__, formula(law), None, reasons[law.__name__])
            continue
        try:
            run = bound(law, about, group, space, examples=examples, quiet=True)
            run()
        except LawViolation as violation:
            yield LawResult(law.__name__, formula(law), False, violation.finding)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            yield LawResult(law.__name__, formula(law), False, message)
        else:
            yield LawResult(law.__name__, formula(law), True)


def bound(
    law: Law,
    about: tuple[object, ...],
    group: LieGroup,
    space: HomogeneousSpace | None,
    *,
    examples: int | None = None,
    quiet: bool = False,
    shrink: bool = True,
) -> Callable[[], None]:
    """A fresh function without arguments that tries a law on many examples, or on its one.

    Args:
        law: The law.
        about: The objects that it is about, its first arguments.
        group: Where elements and tangents come from.
        space: Where points come from.
        examples: Number of examples; by default, that of the current Hypothesis profile.
        quiet: Print nothing and keep no database of failures.
        shrink: Look for the smallest counterexample, rather than report the first.

    Returns:
        The function; it raises what the law raises on the smallest counterexample.
    """
    if runs_once(law):
        return lambda: law(*about, **generic_inputs(law, group, space))

    # No deadline: a first call may compile or allocate. The inputs are large by nature.
    options: dict[str, Any] = {
        "deadline": None,
        "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    }
    if examples is not None:
        options["max_examples"] = examples
    if quiet:
        options |= {
            "verbosity": Verbosity.quiet,
            "print_blob": False,
            "database": None,
            "report_multiple_bugs": False,
        }
    if not shrink:
        options["phases"] = [Phase.generate]

    @settings(**options)
    @given(inputs=law_inputs(law, group, space))
    def run(inputs: dict[str, Any]) -> None:
        law(*about, **inputs)

    run.__name__ = law.__name__
    return run


def checked_reasons(laws: Sequence[Law], skip: Mapping[str, str] | None) -> dict[str, str]:
    """The reasons for skipping laws, once all their names are known and all have a reason.

    Raises:
        ValueError: If a law is unknown or a reason is empty.
    """
    names = [law.__name__ for law in laws]
    for name, reason in (skip or {}).items():
        if name not in names:
            raise ValueError(f"there is no law {name!r} to skip; the laws are {', '.join(names)}.")
        if not reason.strip():
            raise ValueError(f"skipping the law {name!r} needs a reason; got an empty one.")
    return dict(skip or {})
