"""Every law rejects what breaks it, by name, with the input and the size of the violation."""

import pytest

from liegroups.testing import GROUP_LAWS, INVARIANT_LAWS, SPACE_LAWS, LawViolation
from liegroups.testing.checks import bound
from tests.meta.broken_groups import BROKEN_GROUPS
from tests.meta.broken_spaces import BROKEN_INVARIANTS, BROKEN_SPACES

CASES = (
    [(GROUP_LAWS, (group,), group, None, name) for group, name in BROKEN_GROUPS]
    + [(SPACE_LAWS, (space,), space.group, space, name) for space, name in BROKEN_SPACES]
    + [
        (INVARIANT_LAWS, (invariant, space), space.group, space, name)
        for invariant, space, name in BROKEN_INVARIANTS
    ]
)


@pytest.mark.parametrize(
    ("laws", "about", "group", "space", "name"),
    [pytest.param(*case, id=f"{type(case[1][0]).__name__}-{case[4]}") for case in CASES],
)
def test_law_rejects(laws, about, group, space, name):
    (law,) = (law for law in laws if law.__name__ == name)
    with pytest.raises(LawViolation) as caught:
        bound(law, about, group, space, quiet=True, shrink=False)()
    assert caught.value.law == name
    assert str(about[0]) in str(caught.value)
    assert len(caught.value.finding) > 20


@pytest.mark.parametrize(
    "law", [*GROUP_LAWS, *SPACE_LAWS, *INVARIANT_LAWS], ids=lambda f: f.__name__
)
def test_every_law_has_something_to_reject(law):
    assert law.__name__ in {case[4] for case in CASES}
    assert (law.__doc__ or "").strip().endswith(".")
