"""Test classes for pytest, one test method for each law.

A suite is made by a function, not inherited: Hypothesis' decorated methods belong to one class.

Example, in a test module::

    from liegroups.testing import lie_group_suite
    from my_package import MyGroup

    TestMyGroup = lie_group_suite(MyGroup())
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from liegroups.group import LieGroup
from liegroups.invariants import Invariant
from liegroups.spaces import HomogeneousSpace
from liegroups.testing.checks import bound, checked_reasons
from liegroups.testing.laws import GROUP_LAWS, INVARIANT_LAWS, SPACE_LAWS
from liegroups.testing.laws.law import Law


def lie_group_suite(group: LieGroup, *, skip: Mapping[str, str] | None = None) -> type:
    """Make a test class that holds a group to every law of groups.

    Args:
        group: The group.
        skip: Reasons for skipping laws, by their names; pytest shows them.

    Returns:
        A fresh class with a method ``test_<law>`` for each law, for a name that begins with
        ``Test`` in a test module.

    Raises:
        ValueError: If ``skip`` names an unknown law or gives no reason.

    Example:
        >>> from liegroups import SO3
        >>> TestSO3 = lie_group_suite(SO3())
        >>> hasattr(TestSO3, "test_log_inverts_exp")
        True
    """
    return _suite(GROUP_LAWS, (group,), group, None, skip)


def homogeneous_space_suite(
    space: HomogeneousSpace, *, skip: Mapping[str, str] | None = None
) -> type:
    """Make a test class that holds a space to every law of spaces and of lifts from them.

    Args:
        space: The space.
        skip: Reasons for skipping laws, by their names.

    Returns:
        A fresh class with a method ``test_<law>`` for each law.

    Raises:
        ValueError: If ``skip`` names an unknown law or gives no reason.
    """
    return _suite(SPACE_LAWS, (space,), space.group, space, skip)


def invariant_suite(
    invariant: Invariant, space: HomogeneousSpace, *, skip: Mapping[str, str] | None = None
) -> type:
    """Make a test class that holds an invariant, on one space, to every law of invariants.

    Args:
        invariant: The invariant.
        space: A space that has it.
        skip: Reasons for skipping laws, by their names.

    Returns:
        A fresh class with a method ``test_<law>`` for each law.

    Raises:
        ValueError: If ``skip`` names an unknown law or gives no reason.
    """
    return _suite(INVARIANT_LAWS, (invariant, space), space.group, space, skip)


def _suite(
    laws: Sequence[Law],
    about: tuple[object, ...],
    group: LieGroup,
    space: HomogeneousSpace | None,
    skip: Mapping[str, str] | None,
) -> type:
    reasons = checked_reasons(laws, skip)
    methods: dict[str, Any] = {"__doc__": f"The laws for {' on '.join(map(str, about))}."}
    for law in laws:
        name = law.__name__
        if name in reasons:
            methods[f"test_{name}"] = _skipped(reasons[name])
        else:
            methods[f"test_{name}"] = _method(bound(law, about, group, space))
        methods[f"test_{name}"].__name__ = f"test_{name}"
        methods[f"test_{name}"].__doc__ = law.__doc__
    return type("LawSuite", (), methods)


def _method(run: Callable[[], None]) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        run()

    return test


def _skipped(reason: str) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        pytest.skip(reason)

    return test
