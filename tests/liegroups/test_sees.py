"""The answer to what a piece of a network sees, and the booleans that it has replaced."""

import pytest

from liegroups import Concat, Distance, Invariant, PerHead, RelativePose, Sees


def test_parts_join():
    assert PerHead([Distance(), RelativePose()]).sees == Sees.POINTS | Sees.ELEMENTS
    assert Concat([Distance(), Distance()]).sees is Sees.POINTS


def test_the_old_booleans_are_read_from_it():
    with pytest.warns(DeprecationWarning, match=r"RelativePose\.sees_lift is deprecated; use"):
        assert RelativePose().sees_lift
    with pytest.warns(DeprecationWarning, match="sees_lift"):
        assert not Distance().sees_lift


@pytest.mark.parametrize("lift", [True, False])
def test_an_invariant_that_declares_the_old_boolean_works(lift):
    with pytest.warns(DeprecationWarning, match=r"Old\.sees_lift is deprecated; use Old\.sees"):

        class Old(Invariant):
            sees_lift = lift

            def dim(self, space):
                return 1

            def __call__(self, space, target, source):
                return target.point[..., :1]

    assert Old().sees is (Sees.ELEMENTS if lift else Sees.POINTS)
