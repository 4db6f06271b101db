"""A testing kit for implementers of groups, spaces and invariants.

Three ways to use it. With pytest, ``TestMyGroup = lie_group_suite(MyGroup())`` in a test module
makes a class with one test for each law. Without pytest, ``check_group(MyGroup())`` returns a
list of results with the smallest counterexamples. And each law is a plain function that takes
the object and concrete tensors, and raises `LawViolation`.

It needs hypothesis and pytest, the extra ``testing`` of this distribution.
"""

from liegroups.testing.checks import (
    LawResult,
    check_group,
    check_invariant,
    check_space,
    iterate_checks,
)
from liegroups.testing.equivariance import Discrepancy, commutation_error, equivariance_error
from liegroups.testing.laws import (
    GROUP_LAWS,
    INVARIANT_LAWS,
    SPACE_LAWS,
    Law,
    LawViolation,
    formula,
)
from liegroups.testing.laws.lifts import lift_z_score
from liegroups.testing.suites import homogeneous_space_suite, invariant_suite, lie_group_suite

__all__ = [
    "GROUP_LAWS",
    "INVARIANT_LAWS",
    "SPACE_LAWS",
    "Discrepancy",
    "Law",
    "LawResult",
    "LawViolation",
    "check_group",
    "check_invariant",
    "check_space",
    "commutation_error",
    "equivariance_error",
    "formula",
    "homogeneous_space_suite",
    "invariant_suite",
    "iterate_checks",
    "lie_group_suite",
    "lift_z_score",
]
