"""What is taken where nothing is named: it goes with the space, and is exact where it can be."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import liegroups as lg
from attention import LieTransformer
from attention.measure import invariance_error
from liegroups import Equivariance, recommended
from liegroups.defaults import Recommended

NOT_EXACT = {"Aff2", "Aff3"}
"""Groups whose orbits of clouds have no frame that is known here."""


def groups():
    named = {name: getattr(lg, name) for name in lg.__all__}
    sized = ("Trivial", "Translation", "SO", "SE", "O", "E", "Sim")
    found = {name: named[name](3) for name in sized}
    for name in ("T2", "T3", "SO2", "SO3", "SE2", "SE3", "Aff2", "Aff3"):
        found[name] = named[name]()
    spaces = {name: group.default_space() for name, group in found.items()}
    spaces["Sphere"] = lg.Sphere(lg.SO3())
    spaces["PositionOrientation"] = lg.PositionOrientation(lg.SE3())
    spaces["GroupItself"] = lg.GroupItself(lg.SE3())
    return spaces


@pytest.mark.parametrize(("name", "space"), groups().items())
def test_a_network_of_a_group_alone_is_as_exact_as_it_says(name, space):
    torch.manual_seed(0)
    network = LieTransformer(space.group, 2, 1, space=space, width=8, layers=1, heads=2).eval()
    if name in NOT_EXACT:
        assert network.equivariance is not Equivariance.EXACT
        return
    assert network.equivariance is Equivariance.EXACT
    points = space.nearest_point(torch.randn(4, 6, space.point_dim, dtype=torch.float64))
    features = torch.randn(4, 6, 2, dtype=torch.float64)
    assert invariance_error(network, features, points) < 1e-8


def test_a_lift_that_is_named_is_seen():
    network = LieTransformer(lg.SE3(), 2, 1, lift=lg.Haar(2), width=8, layers=1, heads=2)
    assert network.invariant == lg.RelativePose()
    assert network.equivariance is Equivariance.IN_DISTRIBUTION
    mirrored = LieTransformer(lg.E(3), 2, 1, lift=lg.Haar(2), width=8, layers=1, heads=2)
    assert mirrored.invariant == lg.RelativeMatrix()


def test_a_space_of_ones_own_may_say_it():
    @dataclass(frozen=True)
    class Own(lg.EuclideanSpace):
        recommended: ClassVar[Recommended] = Recommended(lg.InverseDistance(), lg.Haar(1))

    space = Own(lg.SE3())
    assert recommended(space).invariant == lg.InverseDistance()
    assert LieTransformer(lg.SE3(), 2, 1, space=space).invariant == lg.InverseDistance()


def test_an_invariant_that_a_space_does_not_have_is_answered_with_one_that_it_has():
    with pytest.raises(ValueError, match=r"Recommended on .*Sim.*RelativePose\(\) with .*Frames"):
        LieTransformer(lg.Sim(3), 2, 1, invariant=lg.Distance())
