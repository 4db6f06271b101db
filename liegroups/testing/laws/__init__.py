"""Laws as plain functions, in one tuple for each kind of object."""

from liegroups.testing.laws.algebra import ALGEBRA_LAWS
from liegroups.testing.laws.calculus import CALCULUS_LAWS
from liegroups.testing.laws.contract import CONTRACT_LAWS
from liegroups.testing.laws.exponential import EXPONENTIAL_LAWS
from liegroups.testing.laws.facts import FACT_LAWS
from liegroups.testing.laws.invariants import INVARIANT_LAWS
from liegroups.testing.laws.law import Law, LawViolation, formula
from liegroups.testing.laws.spaces import SPACE_LAWS
from liegroups.testing.laws.structure import STRUCTURE_LAWS

GROUP_LAWS: tuple[Law, ...] = (
    *ALGEBRA_LAWS,
    *EXPONENTIAL_LAWS,
    *STRUCTURE_LAWS,
    *FACT_LAWS,
    *CALCULUS_LAWS,
    *CONTRACT_LAWS,
)
"""Laws of a Lie group."""

__all__ = [
    "GROUP_LAWS",
    "INVARIANT_LAWS",
    "SPACE_LAWS",
    "Law",
    "LawViolation",
    "formula",
]
