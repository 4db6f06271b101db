"""Every group obeys every law."""

from liegroups import SE2, SE3, SO2, SO3, T2, T3, Translation, Trivial
from liegroups.testing import lie_group_suite

TestT2 = lie_group_suite(T2())
TestT3 = lie_group_suite(T3())
TestT5 = lie_group_suite(Translation(5))
TestSO2 = lie_group_suite(SO2())
TestSO3 = lie_group_suite(SO3())
TestSE2 = lie_group_suite(SE2())
TestSE3 = lie_group_suite(SE3())
TestTrivial = lie_group_suite(Trivial(3))


def test_short_names_are_equal_to_the_long_ones():
    assert T3() == Translation(3) and hash(T3()) == hash(Translation(3))
    assert T2() != T3()
    assert len({T2(), Translation(2), T3()}) == 2


def test_elements_far_from_the_origin_keep_their_pose():
    import torch

    group = SE3()
    generator = torch.Generator().manual_seed(0)
    g, h = group.sample((2, 100), generator=generator, dtype=torch.float64)
    # Translations by multiples of 1/8 are exact, so only the computation of the pose can err.
    g[..., :3, 3], h[..., :3, 3] = (8 * g[..., :3, 3]).round() / 8, (8 * h[..., :3, 3]).round() / 8
    far = torch.eye(4, dtype=torch.float64)
    far[:3, 3] = 4096.0
    near = group.relative_log(g.float(), h.float())
    away = group.relative_log((far @ g).float(), (far @ h).float())
    torch.testing.assert_close(away, near, rtol=0, atol=0)
