"""Every invariant obeys every law on every space that has it, and is refused by the others."""

import pytest
import torch

from liegroups import (
    SE2,
    SE3,
    SO2,
    SO3,
    T3,
    Concat,
    ConcentricSpheres,
    Distance,
    EuclideanSpace,
    InverseDistance,
    Lifted,
    OrbitLabels,
    PerHead,
    RelativePose,
    lift,
)
from liegroups.testing import equivariance_error, invariant_suite
from liegroups.testing.probes import probe_spaces

SE3_SPACE = EuclideanSpace(SE3())
SO3_SPACE = ConcentricSpheres(SO3())

TestRelativePoseUnderT3 = invariant_suite(RelativePose(), EuclideanSpace(T3()))
TestRelativePoseUnderSE2 = invariant_suite(RelativePose(), EuclideanSpace(SE2()))
TestRelativePoseUnderSE3 = invariant_suite(RelativePose(), SE3_SPACE)
TestRelativePoseUnderSO2 = invariant_suite(RelativePose(), ConcentricSpheres(SO2()))
TestRelativePoseUnderSO3 = invariant_suite(RelativePose(), SO3_SPACE)
TestDistanceUnderT3 = invariant_suite(Distance(), EuclideanSpace(T3()))
TestDistanceUnderSE3 = invariant_suite(Distance(), SE3_SPACE)
TestDistanceUnderSO3 = invariant_suite(Distance(), SO3_SPACE)
TestInverseDistanceUnderSE3 = invariant_suite(InverseDistance(), SE3_SPACE)
TestInverseDistanceUnderSO3 = invariant_suite(InverseDistance(0.5), SO3_SPACE)
TestOrbitLabelsUnderSO2 = invariant_suite(OrbitLabels(), ConcentricSpheres(SO2()))
TestOrbitLabelsUnderSO3 = invariant_suite(OrbitLabels(), SO3_SPACE)
TestConcatUnderSO3 = invariant_suite(Concat([RelativePose(), OrbitLabels()]), SO3_SPACE)
TestPerHeadUnderSE3 = invariant_suite(PerHead([Distance(), InverseDistance()]), SE3_SPACE)
TestNestedUnderSO3 = invariant_suite(
    PerHead([Concat([Distance(), OrbitLabels()]), PerHead([RelativePose(), Distance()])]),
    SO3_SPACE,
)


@pytest.mark.parametrize("space", probe_spaces(), ids=str)
@pytest.mark.parametrize("invariant", [Distance(), InverseDistance()], ids=str)
def test_distances_are_refused_where_lengths_change(invariant, space):
    if space.is_isometric:
        assert invariant.dim(space) == 1
    else:
        with pytest.raises(ValueError, match=r"is not an invariant of .* Use RelativePose"):
            invariant.dim(space)


def test_orbit_labels_are_refused_on_one_orbit():
    with pytest.raises(ValueError, match=r"several orbits, but EuclideanSpace.* is one orbit"):
        OrbitLabels().dim(SE3_SPACE)
    with pytest.raises(ValueError, match="several orbits"):
        Concat([Distance(), OrbitLabels()]).dim(SE3_SPACE)


def test_per_head_divides_the_heads():
    mask = PerHead([Distance(), Concat([InverseDistance(), Distance()])]).head_mask(SE3_SPACE, 4)
    expected = [[1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert mask.int().tolist() == expected
    with pytest.raises(ValueError, match="3 heads are not divisible by 2"):
        PerHead([Distance(), InverseDistance()]).head_mask(SE3_SPACE, 3)


@pytest.mark.parametrize("make", [Concat, PerHead])
def test_an_empty_list_is_refused(make):
    with pytest.raises(ValueError, match=f"{make.__name__} takes at least one invariant"):
        make([])


@pytest.mark.parametrize("softening", [0.0, -1.0, float("nan")])
def test_softening_is_positive(softening):
    with pytest.raises(ValueError, match="softening above 0"):
        InverseDistance(softening)


def test_values():
    space = SE3_SPACE
    x = torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]], dtype=torch.float64)
    lifted = lift(space, x)
    target, source = (Lifted(lifted.element[i, 0], lifted.point[i, 0]) for i in (0, 1))
    assert Distance()(space, target, source).item() == 5
    expected = (25 + 0.01) ** -0.5
    assert InverseDistance(0.1)(space, target, source).item() == pytest.approx(expected, rel=1e-15)
    assert InverseDistance(0.1)(space, target, target).item() == pytest.approx(10, rel=1e-15)
    assert RelativePose()(space, target, source).tolist() == [3, 4, 0, 0, 0, 0]
    labels = OrbitLabels()(SO3_SPACE, target, source)
    assert labels.tolist() == [0, 5]


def test_invariance_in_numbers():
    def distances(x):
        lifted = Lifted(None, x)
        target, source = (Lifted(None, lifted.point[:, None]), Lifted(None, lifted.point[None]))
        return Distance()(SE3_SPACE, target, source)

    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    assert equivariance_error(distances, SE3(), x).relative < 1e-6
    assert equivariance_error(distances, SE3(), x.double()).relative < 1e-14
