"""Facts and constants of groups: worked out once, and ordinary whatever comes first."""

import copy
import pickle
import sys
from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from liegroups import (
    SE,
    SE3,
    SO,
    SO2,
    SO3,
    AffineGroup,
    ConcentricSpheres,
    Coordinates,
    DirectProduct,
    EuclideanSpace,
    Grid,
    GroupItself,
    Heisenberg,
    LieGroup,
    PositionOrientation,
    RotationGroup,
    Trivial,
    lift,
)
from liegroups.facts import once


@dataclass(frozen=True)
class Motions(AffineGroup):
    """A group of one's own that names no space."""

    n: int = 3
    linear = SO3()


class Turns(RotationGroup):
    """Rotations of one's own that name no space."""

    matrix_size = 5

    def sample(self, *args, **options):
        return SO(5).sample(*args, **options)


class Still(Trivial):
    """A trivial group of one's own that names no space."""


class Elsewhere(Motions):
    """A group of one's own that names a space."""

    def default_space(self):
        return GroupItself(self)


OWN = {
    Motions(): EuclideanSpace,
    Turns(): ConcentricSpheres,
    Still(4): Coordinates,
    Elsewhere(): GroupItself,
}


@pytest.mark.parametrize("group", OWN, ids=lambda group: type(group).__name__)
def test_groups_of_ones_own_have_the_default_space_of_their_kind(group):
    space = group.default_space()
    assert type(space) is OWN[group]
    assert space.group is group

    def section(x):
        return group.default_space().section(x)

    torch.compiler.reset()
    x = torch.randn(2, space.point_dim)
    compiled = torch.compile(section, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(compiled, section(x))


def test_a_direct_product_names_no_default_space():
    group = DirectProduct(SO2(), Heisenberg())
    with pytest.raises(NotImplementedError, match=r"DirectProduct\(.*names no default space"):
        group.default_space()


def worked_out(action):
    """How often each fact of each object was worked out; a field or a number is free."""
    counted = Counter()

    def count(frame, event, _):
        self = frame.f_locals.get("self")
        if event == "call" and isinstance(self, LieGroup | EuclideanSpace):
            fact = getattr(type(self), frame.f_code.co_name, None)
            if isinstance(fact, property) and len(frame.f_code.co_names) > 1:
                counted[frame.f_code.co_qualname, repr(self)] += 1

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("group", [SE(3), SE(4)], ids=str)
def test_facts_are_worked_out_once(group):
    space = EuclideanSpace(copy.copy(group))
    x = torch.randn(2, 6, group.space_dim)

    def lifted():
        target = lift(space, x)
        assert space.stabilizer is space.stabilizer
        return space.act(target.element, target.point)

    assert max(worked_out(lifted).values()) == 1


def test_facts_are_no_part_of_the_value():
    fresh = PositionOrientation(SE(5))
    asked = PositionOrientation(SE(5))
    assert asked.stabilizer == SO(4)
    assert asked.group.dim == 15
    assert asked == fresh
    assert hash(asked) == hash(fresh)
    assert repr(asked) == repr(fresh)
    assert pickle.dumps(asked) == pickle.dumps(fresh)
    for copied in (copy.copy(asked), copy.deepcopy(asked), pickle.loads(pickle.dumps(asked))):
        assert copied == fresh
        assert vars(copied) == {"group": SE(5)}
        assert copied.stabilizer == SO(4)


def test_a_fact_may_ask_what_it_overrides():
    class More(Motions):
        @property
        @once
        def space_dim(self):
            return super().space_dim + 1

    group = More()
    assert [group.space_dim, group.space_dim] == [4, 4]


def test_a_fact_known_later_does_not_compile_again():
    space = EuclideanSpace(SE(4))
    torch.compiler.reset()
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(
        lambda x: space.section(x) * space.group.dim, fullgraph=True, backend=backend
    )
    x = torch.randn(3, 4)
    before = compiled(x)
    assert (space.point_dim, space.group.dim, space.group.linear.dim) == (4, 10, 6)
    torch.testing.assert_close(compiled(x), before)
    assert len(graphs) == 1


# A group that nobody has asked before, so that its constants are first made where a test says.
@dataclass(frozen=True)
class Fresh(RotationGroup):
    token: str
    matrix_size = 4

    def sample(self, *args, **options):
        return SO(4).sample(*args, **options)


def operations(group, a):
    g = LieGroup.exp(group, a)
    x = LieGroup.hat(group, a)
    return LieGroup.vee(group, x), LieGroup.log(group, g), group.adjoint(g)


@pytest.mark.parametrize("first", ["fake", "real"])
def test_fake_tensors_leave_the_constants_alone(first):
    group = Fresh(f"fake after {first}")
    a = torch.linspace(-1, 1, 30).reshape(5, 6)
    expected = operations(Fresh("of its own"), a)
    if first == "real":
        operations(group, a)
    with FakeTensorMode():
        fake = torch.randn(5, 6)
        for x in (group.hat(fake), group.vee(group.hat(fake)), group.adjoint(torch.eye(4))):
            assert isinstance(x, FakeTensor)
    for found, right in zip(operations(group, a), expected, strict=True):
        torch.testing.assert_close(found, right)
        assert type(found) is torch.Tensor


@pytest.mark.parametrize(
    "mode", [lambda: torch.device("meta"), torch.inference_mode], ids=["meta", "inference"]
)
def test_other_modes_leave_the_constants_alone(mode, request):
    group = Fresh(request.node.name)
    a = torch.linspace(-1, 1, 30).reshape(5, 6)
    with mode():
        group.vee(group.hat(a))
        group.adjoint(SO(4).identity(a))
    found = operations(group, a.requires_grad_())
    for value, right in zip(found, operations(Fresh("of its own"), a), strict=True):
        torch.testing.assert_close(value, right)
    found[0].sum().backward()


def test_fake_tensors_leave_the_constants_of_a_lift_alone():
    space = EuclideanSpace(SE3())
    sampler = Grid(7)
    with FakeTensorMode():
        x = torch.randn(5, 3)
        assert isinstance(sampler(space, x), FakeTensor)
    expected = sampler(space, torch.zeros(5, 3))
    assert not isinstance(expected, FakeTensor)
    with FakeTensorMode():
        assert isinstance(sampler(space, torch.randn(5, 3)), FakeTensor)
