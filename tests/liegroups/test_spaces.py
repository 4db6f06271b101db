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
    Translation,
)
from liegroups.testing import homogeneous_space_suite

TestPlaneUnderT2 = homogeneous_space_suite(EuclideanSpace(T2()))
TestSpaceUnderT3 = homogeneous_space_suite(EuclideanSpace(T3()))
TestPlaneUnderSE2 = homogeneous_space_suite(EuclideanSpace(SE2()))
TestSpaceUnderSE3 = homogeneous_space_suite(EuclideanSpace(SE3()))
TestPlaneUnderSO2 = homogeneous_space_suite(ConcentricSpheres(SO2()))
TestSpaceUnderSO3 = homogeneous_space_suite(ConcentricSpheres(SO3()))


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
