"""Every space obeys every law."""

import pytest
import torch

from liegroups import (
    SE2,
    SE3,
    SO2,
    SO3,
    T2,
    T3,
    ConcentricSpheres,
    EuclideanSpace,
    GroupItself,
    PositionOrientation,
    Sphere,
    Translation,
)
from liegroups.general_linear import Aff2, Aff3
from liegroups.orthogonal import E, O
from liegroups.scaling import Sim
from liegroups.special_euclidean import SE
from liegroups.special_orthogonal import SO
from liegroups.testing import homogeneous_space_suite

# Marked slow, for `make test-deep`: what others stand for in the tests of every day.
TestPlaneUnderT2 = homogeneous_space_suite(EuclideanSpace(T2()))
TestSpaceUnderT3 = homogeneous_space_suite(EuclideanSpace(T3()))
TestPlaneUnderSE2 = homogeneous_space_suite(EuclideanSpace(SE2()))
TestSpaceUnderSE3 = homogeneous_space_suite(EuclideanSpace(SE3()))
TestPlaneUnderSO2 = homogeneous_space_suite(ConcentricSpheres(SO2()))
TestSpaceUnderSO3 = homogeneous_space_suite(ConcentricSpheres(SO3()))
TestSpaceOfFourUnderSO4 = pytest.mark.slow(homogeneous_space_suite(ConcentricSpheres(SO(4))))
TestCircle = homogeneous_space_suite(Sphere(SO2()))
TestSphere = homogeneous_space_suite(Sphere(SO3()))
TestSphereInFive = pytest.mark.slow(homogeneous_space_suite(Sphere(SO(5))))
TestPosesOfThePlane = homogeneous_space_suite(PositionOrientation(SE2()))
TestPositionOrientation = homogeneous_space_suite(PositionOrientation(SE3()))
TestPlaneUnderE2 = homogeneous_space_suite(EuclideanSpace(E(2)))
TestSpaceUnderE3 = homogeneous_space_suite(EuclideanSpace(E(3)))
TestPlaneUnderO2 = homogeneous_space_suite(ConcentricSpheres(O(2)))
TestSpaceUnderO3 = homogeneous_space_suite(ConcentricSpheres(O(3)))
TestSphereUnderO3 = pytest.mark.slow(homogeneous_space_suite(Sphere(O(3))))
TestPositionOrientationUnderE2 = pytest.mark.slow(
    homogeneous_space_suite(PositionOrientation(E(2)))
)
TestPositionOrientationUnderE3 = pytest.mark.slow(
    homogeneous_space_suite(PositionOrientation(E(3)))
)
TestSpaceOfFourUnderSE4 = pytest.mark.slow(homogeneous_space_suite(EuclideanSpace(SE(4))))
TestPlaneUnderSim2 = homogeneous_space_suite(EuclideanSpace(Sim(2)))
TestSpaceUnderSim3 = pytest.mark.slow(homogeneous_space_suite(EuclideanSpace(Sim(3))))
TestPlaneUnderAff2 = homogeneous_space_suite(EuclideanSpace(Aff2()))
TestSpaceUnderAff3 = pytest.mark.slow(homogeneous_space_suite(EuclideanSpace(Aff3())))
TestSE2Itself = homogeneous_space_suite(GroupItself(SE2()))
TestSO3Itself = pytest.mark.slow(homogeneous_space_suite(GroupItself(SO3())))
TestT2Itself = pytest.mark.slow(homogeneous_space_suite(GroupItself(T2())))


@pytest.mark.parametrize(
    ("group", "space"),
    [
        (T3(), EuclideanSpace(T3())),
        (Translation(5), EuclideanSpace(Translation(5))),
        (SE2(), EuclideanSpace(SE2())),
        (SE3(), EuclideanSpace(SE3())),
        (SO2(), ConcentricSpheres(SO2())),
        (SO3(), ConcentricSpheres(SO3())),
    ],
    ids=str,
)
def test_default_space(group, space):
    assert group.default_space() == space


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0, 1e-30, 1e-20, 1e-12, 1e-7, 1e-3])
def test_section_near_the_opposite_half_axis(dtype, offset):
    space = ConcentricSpheres(SO3())
    x = torch.tensor([[-1, offset, 0], [-1, 0, -offset], [-2, offset, -offset]], dtype=dtype)
    s = space.section(x)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(
        s.mT @ s, torch.eye(3, dtype=dtype).expand(3, 3, 3), atol=8 * eps, rtol=0
    )
    torch.testing.assert_close(
        torch.linalg.det(s), torch.ones(3, dtype=dtype), atol=8 * eps, rtol=0
    )
    torch.testing.assert_close(space.act(s, space.representative(x)), x, atol=8 * eps, rtol=0)


@pytest.mark.parametrize("length", [1e-30, 1e-20, 1e20])
def test_section_of_points_whose_square_is_out_of_range(length):
    space = ConcentricSpheres(SO3())
    x = torch.tensor([1.0, 2.0, -2.0])
    torch.testing.assert_close(space.section(length * x), space.section(x))


@pytest.mark.parametrize("make", [ConcentricSpheres, Sphere])
@pytest.mark.parametrize("group", [T3(), SE2()], ids=str)
def test_spheres_need_rotations(make, group):
    with pytest.raises(ValueError, match=r"SO\(n\) or O\(n\); got"):
        make(group)


def test_positions_and_orientations_need_rotations():
    with pytest.raises(ValueError, match=r"SO\(n\) or O\(n\); got Trivial\(n=3\)"):
        PositionOrientation(T3())


def test_points_that_are_not_all_of_space():
    x = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    nearest = Sphere(SO3()).nearest_point(x)
    torch.testing.assert_close(nearest, torch.tensor([[0.6, 0.8, 0.0], [1.0, 0.0, 0.0]]))
    space = PositionOrientation(SE2())
    torch.testing.assert_close(
        space.nearest_point(torch.tensor([5.0, 6.0, 0.0, -2.0])),
        torch.tensor([5.0, 6.0, 0.0, -1.0]),
    )
    x = torch.randn(4, 3)
    assert EuclideanSpace(T3()).nearest_point(x) is x
    space = GroupItself(SO3())
    assert space.group.contains(space.section(space.nearest_point(torch.randn(4, 9)))).all()


def test_the_opposite_pole_does_not_hang_on_rounding():
    """Around -e₁ the section varies slowly, though not on the border of the cap."""
    space = Sphere(SO3())
    x = torch.tensor([[-1, 1e-16, 0], [-1, 0, -1e-16], [-1, -1e-17, 1e-17]], dtype=torch.float64)
    s = space.section(x)
    torch.testing.assert_close(s[1:], s[:1].expand(2, 3, 3), rtol=0, atol=1e-15)
