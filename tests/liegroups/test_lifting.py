"""Lifting: shapes, the fixed table, what each sampler promises, and bad input."""

from dataclasses import dataclass

import pytest
import torch

from liegroups import (
    SE2,
    SE3,
    SO2,
    SO3,
    T3,
    ConcentricSpheres,
    Equivariance,
    EuclideanSpace,
    Haar,
    lift,
)
from liegroups.testing import lift_z_score
from liegroups.testing.probes import probe_spaces
from liegroups.testing.tolerances import Z_LIMIT

T3_SPACE = EuclideanSpace(T3())
SE3_SPACE = EuclideanSpace(SE3())
SO3_SPACE = ConcentricSpheres(SO3())
SO2_SPACE = ConcentricSpheres(SO2())


@pytest.mark.parametrize(
    ("space", "sampler", "kind"),
    [
        (T3_SPACE, Haar(), Equivariance.EXACT),
        (SE3_SPACE, Haar(), Equivariance.IN_DISTRIBUTION),
        (SE3_SPACE, Haar(shared=True), Equivariance.IN_DISTRIBUTION),
        (SO3_SPACE, Haar(), Equivariance.IN_DISTRIBUTION),
        (SO3_SPACE, Haar(shared=True), Equivariance.NONE),
        (SO2_SPACE, Haar(), Equivariance.IN_DISTRIBUTION),
    ],
    ids=str,
)
def test_declared_equivariance(space, sampler, kind):
    assert sampler.equivariance(space) is kind


def test_shared_draws_under_so3_are_rightly_declared_to_promise_nothing():
    @dataclass(frozen=True)
    class Bold(Haar):
        def equivariance(self, space):
            return Equivariance.IN_DISTRIBUTION

    assert lift_z_score(SO3_SPACE, Bold(count=1, shared=True)) > 10
    assert lift_z_score(SO3_SPACE, Bold(count=1)) < Z_LIMIT


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("batch", [(), (2,), (2, 0), (2, 3)])
@pytest.mark.parametrize("size", [0, 1, 70])
@pytest.mark.parametrize("space", [T3_SPACE, SE3_SPACE, SO3_SPACE], ids=str)
def test_shapes(space, batch, size, fixed):
    x = torch.randn(*batch, size, 3, dtype=torch.float64)
    for shared in (False, True):
        sampler = Haar(count=4, shared=shared)
        count, m = sampler.count_on(space), space.group.matrix_size
        lifted = lift(space, x, sampler, fixed=fixed)
        assert lifted.element.shape == (*batch, size, count, m, m)
        assert lifted.point.shape == (*batch, size, count, 3)
        assert lifted.element.dtype == lifted.point.dtype == torch.float64


def test_draws_follow_the_generator():
    x = torch.randn(5, 3)
    first, again, other = (
        lift(SE3_SPACE, x, Haar(), generator=torch.Generator().manual_seed(seed)).element
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_seed_of_the_fixed_table():
    x = torch.randn(5, 3)
    first, again, other = (
        lift(SE3_SPACE, x, Haar(seed=seed), fixed=True).element for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_rows_of_the_fixed_table_differ():
    """No two points and no two seeds of a long cloud get the same draws."""
    x = torch.zeros(300, 3)
    h = lift(SE3_SPACE, x, Haar(count=2), fixed=True).element.reshape(600, -1)
    assert len(torch.unique(h, dim=0)) == 600


def test_fixed_table_is_the_same_in_both_precisions():
    x = torch.randn(5, 3, dtype=torch.float64)
    double = lift(SE3_SPACE, x, Haar(), fixed=True).element
    single = lift(SE3_SPACE, x.float(), Haar(), fixed=True).element
    torch.testing.assert_close(single, double.float(), rtol=0, atol=1e-6)


def test_the_origin_under_rotations_is_lifted_to_the_whole_group():
    x = torch.zeros(20_000, 1, 3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    g = lift(SO3_SPACE, x, Haar(count=1), generator=generator).element[:, 0, 0]
    assert g.mean(0).abs().amax() < 4 * (1 / 3 / 20_000) ** 0.5
    first_axis = lift(SO3_SPACE, x + torch.tensor([1.0, 0, 0]), Haar(count=1)).element[
        :, 0, 0, :, 0
    ]
    assert (first_axis - torch.tensor([1.0, 0, 0])).abs().amax() < 1e-12


def test_stabilizer_angle_has_mean_cosine_zero():
    x = torch.randn(3, dtype=torch.float64).expand(100_000, 1, 3)
    generator = torch.Generator().manual_seed(0)
    g = lift(SO3_SPACE, x, Haar(count=1), generator=generator).element[:, 0, 0]
    s = SO3_SPACE.section(x[0, 0])
    cosine = (s.mT @ g)[:, 1, 1]
    assert abs(cosine.mean()) < 4 * (0.5 / 100_000) ** 0.5


@pytest.mark.parametrize("count", [0, -1])
def test_count_is_at_least_one(count):
    with pytest.raises(ValueError, match=f"Haar.count: {count}; accepted: 1 to"):
        Haar(count=count)


def test_stabilizers_without_haar_probability_are_refused():
    space = probe_spaces()[-1]
    with pytest.raises(ValueError, match="is not compact"):
        lift(space, torch.zeros(1, 2), Haar())
    assert lift(space, torch.zeros(1, 2)).element.shape == (1, 1, 3, 3)


def test_bad_points_are_refused():
    with pytest.raises(ValueError, match=r"points of shape \(\*batch, 3\); got \(5, 2\)"):
        lift(SE3_SPACE, torch.zeros(5, 2))
    with pytest.raises(ValueError, match=r"clouds of shape \(\*batch, points, 3\); got \(3,\)"):
        lift(SE3_SPACE, torch.zeros(3))
    with pytest.raises(ValueError, match=r"floating type; got torch.int64"):
        lift(SE3_SPACE, torch.zeros(5, 3, dtype=torch.int64))
    x = torch.zeros(2, 5, 3)
    x[1, 3, 0] = torch.nan
    with pytest.raises(ValueError, match=r"finite points; the point at index \[1, 3\] is \[nan"):
        lift(SE3_SPACE, x)
    x[1, 3, 0] = torch.inf
    with pytest.raises(ValueError, match=r"index \[1, 3\] is \[inf"):
        lift(SE2().default_space(), x[..., :2])
