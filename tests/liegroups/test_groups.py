"""Every group obeys every law."""

import warnings

import pytest
import torch

from liegroups import (
    SE,
    SE2,
    SE3,
    SL2,
    SO,
    SO2,
    SO3,
    T2,
    T3,
    Aff2,
    Aff3,
    Affine,
    CyclicGroup,
    DihedralGroup,
    DirectProduct,
    E,
    GeneralLinear,
    Heisenberg,
    IcosahedralGroup,
    LieGroup,
    O,
    OctahedralGroup,
    PositiveScaling,
    RotationScaling,
    SemidirectProduct,
    Sim,
    TetrahedralGroup,
    Translation,
    Trivial,
    finite_subgroup,
)
from liegroups.testing import lie_group_suite


def dilation(h):
    """The scalings (x, y, z) ↦ (λx, λy, λ²z) of the Heisenberg group, as a conjugation."""
    scale = h[..., 0]
    return torch.cat((scale**2, scale, torch.ones_like(scale)), -1).diag_embed()


def beside_one(h):
    """diag(h, 1), through which the linear maps h act on the translations."""
    one = torch.ones_like(h[..., :1, :1])
    h, one = torch.nn.functional.pad(h, (0, 1, 0, 1)), torch.nn.functional.pad(one, (3, 0, 3, 0))
    return h + one


CRYSTAL = finite_subgroup([torch.tensor([[0.0, -1], [1, -1]]), torch.tensor([[0.0, 1], [1, 0]])])
DILATIONS = SemidirectProduct(Heisenberg(), PositiveScaling(1), dilation)

# Marked slow, for `make test-deep`: what others stand for in the tests of every day.
TestT2 = lie_group_suite(T2())
TestT3 = lie_group_suite(T3())
TestT5 = lie_group_suite(Translation(5))
TestSO2 = lie_group_suite(SO2())
TestSO3 = lie_group_suite(SO3())
TestSO4 = pytest.mark.slow(lie_group_suite(SO(4)))
TestSO5 = pytest.mark.slow(lie_group_suite(SO(5)))
TestSE2 = lie_group_suite(SE2())
TestSE3 = lie_group_suite(SE3())
TestSE4 = pytest.mark.slow(lie_group_suite(SE(4)))
TestTrivial = lie_group_suite(Trivial(3))
TestO1 = pytest.mark.slow(lie_group_suite(O(1)))
TestO2 = lie_group_suite(O(2))
TestO3 = pytest.mark.slow(lie_group_suite(O(3)))
TestE2 = pytest.mark.slow(lie_group_suite(E(2)))
TestE3 = pytest.mark.slow(lie_group_suite(E(3)))
TestPositiveScaling = pytest.mark.slow(lie_group_suite(PositiveScaling(2)))
TestRotationScaling = pytest.mark.slow(lie_group_suite(RotationScaling()))
TestSim2 = pytest.mark.slow(lie_group_suite(Sim(2)))
TestSim3 = pytest.mark.slow(lie_group_suite(Sim(3)))
TestSL2 = lie_group_suite(SL2())
TestHeisenberg = lie_group_suite(Heisenberg())
TestAff2 = pytest.mark.slow(lie_group_suite(Aff2()))
TestGL3 = pytest.mark.slow(lie_group_suite(GeneralLinear(3)))
TestAff3 = lie_group_suite(
    Aff3(),
    skip={
        "derivatives_of_log_of_exp_are_trivial": "1,728 second derivatives take a minute; "
        "GL(3), where the logarithm comes from, and Aff(2) keep this law.",
        "operations_compile": "The graph is that of GL(3), which compiles.",
    },
)
TestCyclicGroup = lie_group_suite(CyclicGroup(5))
TestDihedralGroup = pytest.mark.slow(lie_group_suite(DihedralGroup(4)))
TestTetrahedralGroup = pytest.mark.slow(lie_group_suite(TetrahedralGroup()))
TestOctahedralGroup = pytest.mark.slow(lie_group_suite(OctahedralGroup()))
TestIcosahedralGroup = pytest.mark.slow(lie_group_suite(IcosahedralGroup()))
TestFiniteSubgroup = pytest.mark.slow(lie_group_suite(CRYSTAL))
TestDirectProduct = pytest.mark.slow(lie_group_suite(DirectProduct(SO3(), DihedralGroup(3))))
TestWallpaper = pytest.mark.slow(lie_group_suite(Affine(CyclicGroup(4))))
TestSemidirectProduct = pytest.mark.slow(lie_group_suite(DILATIONS))


def test_short_names_are_equal_to_the_long_ones():
    assert T3() == Translation(3) and hash(T3()) == hash(Translation(3))
    assert T2() != T3()
    assert len({T2(), Translation(2), T3()}) == 2


def test_the_families_begin_with_the_closed_forms():
    assert [SO(n) for n in (1, 2, 3)] == [Trivial(1), SO2(), SO3()]
    assert [SE(n) for n in (1, 2, 3)] == [Translation(1), SE2(), SE3()]
    for n in range(1, 7):
        assert SO(n).matrix_size == O(n).matrix_size == n
        assert SE(n).dim == E(n).dim == n + SO(n).dim


@pytest.mark.parametrize("family", [SO, SE, O, E, Sim, RotationScaling, GeneralLinear, CyclicGroup])
def test_dimensions_below_the_least_are_refused(family):
    with pytest.raises(ValueError, match=r"\.n: 0; accepted: [12] to"):
        family(0)


def test_elements_far_from_the_origin_keep_their_pose():
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


# ---- constants of a group --------------------------------------------------------------------


def test_a_first_call_in_inference_mode_does_not_spoil_later_gradients():
    group = RotationScaling(5)
    with torch.inference_mode():
        group.vee(group.sample((2,)))
        group.bracket(*torch.ones(2, group.dim))
    a = torch.ones(group.dim, requires_grad=True)
    group.vee(group.hat(a) @ group.hat(a)).sum().backward()
    assert a.grad.isfinite().all()


def test_compiling_the_derived_operations_warns_of_nothing():
    group = SL2()

    def operations(a, g):
        return group.hat(a), group.vee(g), group.adjoint(g), group.log(g)

    g = group.sample((2,), generator=torch.Generator().manual_seed(0))
    torch.compiler.reset()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Dynamo")
        found = torch.compile(operations, fullgraph=True, backend="eager")(torch.ones(2, 3), g)
    torch.testing.assert_close(found, operations(torch.ones(2, 3), g), equal_nan=True)


def test_trivial_groups_say_so():
    trivial = (Trivial(3), SO(1), CyclicGroup(1), DirectProduct(Trivial(1), CyclicGroup(1)))
    assert all(group.is_trivial for group in trivial)
    others = (O(1), CyclicGroup(2), T2(), DirectProduct(Trivial(1), O(1)))
    assert not any(group.is_trivial for group in others)


# ---- where exp is not onto -------------------------------------------------------------------


def diagonal(*entries):
    return torch.diag(torch.tensor(entries, dtype=torch.float64))


@pytest.mark.parametrize(
    ("group", "inside", "outside"),
    [
        (O(2), [-torch.eye(2)], [diagonal(1, -1)]),
        (O(3), [diagonal(-1, -1, 1)], [diagonal(-1, -1, -1)]),
        (
            SL2(),
            [-torch.eye(2), diagonal(2, 0.5), torch.tensor([[1.0, 9], [0, 1]])],
            [diagonal(-2, -0.5), torch.tensor([[-1.0, 1], [0, -1]])],
        ),
        (
            GeneralLinear(2),
            [-2 * torch.eye(2), torch.tensor([[2.0, 9], [0, 3]])],
            [diagonal(-1, -2), torch.tensor([[-1.0, 1], [0, -1]]), diagonal(1, -1)],
        ),
        (
            GeneralLinear(3),
            [diagonal(-2, -2, 3), torch.tensor([[2.0, 9, 1], [0, 2, 5], [0, 0, 2]])],
            [diagonal(-1, -2, 3), torch.tensor([[-1.0, 1, 0], [0, -1, 0], [0, 0, 1]])],
        ),
    ],
    ids=str,
)
def test_range_of_exp(group, inside, outside):
    for dtype in (torch.float32, torch.float64):
        g = torch.stack([x.double() for x in inside]).to(dtype)
        torch.testing.assert_close(group.exp(group.log(g)), g)
        h = torch.stack([x.double() for x in outside]).to(dtype)
        assert group.log(h).isnan().all()
        both = torch.cat((g, h))
        assert group.in_range_of_exp(both).tolist() == [True] * len(g) + [False] * len(h)
        both.requires_grad_()
        group.log(both).nansum().backward()
        assert both.grad[: len(g)].isfinite().all()


@pytest.mark.parametrize("group", [O(3), E(2), Aff2(), Aff3(), SL2()], ids=str)
def test_samples_reach_beyond_the_range_of_exp(group):
    g = group.sample((500,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    inside = group.in_range_of_exp(g)
    assert 50 < inside.sum() < 490
    assert group.contains(g).all()


# ---- the default logarithm -------------------------------------------------------------------


@pytest.mark.parametrize("group", [SO3(), SE3(), SO(4), Heisenberg(), Sim(2)], ids=str)
def test_default_log_agrees_with_the_closed_form(group):
    generator = torch.Generator().manual_seed(0)
    g = group.sample((200,), generator=generator, dtype=torch.float64).requires_grad_()
    found, expected = LieGroup.log(group, g), group.log(g)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    e = torch.eye(group.matrix_size, dtype=torch.float64, requires_grad=True)
    for x in (g, e):
        slopes = []
        for log in (lambda y: LieGroup.log(group, y), group.log):
            b = torch.zeros(group.dim, dtype=torch.float64, requires_grad=True)
            slopes.append(
                torch.autograd.functional.hessian(
                    lambda b, x=x, log=log: (log(x.detach() @ group.exp(b)) ** 2).sum(), b
                )
            )
        torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-8)


# ---- finite groups and products ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "order"),
    [
        (CyclicGroup(1), 1),
        (CyclicGroup(7), 7),
        (DihedralGroup(1), 2),
        (DihedralGroup(6), 12),
        (TetrahedralGroup(), 12),
        (OctahedralGroup(), 24),
        (IcosahedralGroup(), 60),
        (CRYSTAL, 6),
    ],
    ids=str,
)
def test_finite_groups_are_closed(group, order):
    g = group.elements()
    eye = torch.eye(group.matrix_size, dtype=torch.float64)
    assert group.order == order == len(g) and torch.equal(g[0], eye)
    products = g[:, None] @ g[None]
    torch.testing.assert_close(group.project(products), products, rtol=0, atol=4e-16)
    table = group.index(products)
    everything = torch.arange(order).expand(order, order)
    assert torch.equal(table.sort(0).values, everything.T)
    assert torch.equal(table.sort(1).values, everything)
    drawn = group.index(group.sample((100 * order,), generator=torch.Generator().manual_seed(0)))
    assert (drawn.bincount(minlength=order) > 50).all()


@pytest.mark.parametrize("smaller", [CyclicGroup(3), DihedralGroup(3)], ids=str)
def test_finite_groups_in_the_plane_are_nested(smaller):
    assert O(2).contains(smaller.elements()).all()
    assert DihedralGroup(6).contains(smaller.elements()).all()


def test_generators_of_the_polyhedral_groups():
    cycle = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    for group, count in ((TetrahedralGroup(), 12), (OctahedralGroup(), 24)):
        found = finite_subgroup([cycle, group.elements()[-1], group.elements()[1]])
        assert found.order <= count and group.contains(found.elements()).all()
    five = IcosahedralGroup().elements()
    five = five[(five.diagonal(dim1=1, dim2=2).sum(-1) - (1 + 5**0.5) / 2).abs() < 1e-9]
    assert finite_subgroup([cycle, five[0]]).order == 60


@pytest.mark.parametrize(
    ("generators", "message"),
    [
        ([torch.tensor([[0.0, -1], [1, 0]]) * 1.01], "do not close within 50 elements"),
        ([torch.tensor([[1.0, 1], [0, 1]])], "do not close within 50 elements"),
        ([SO2().exp(torch.ones(1))], "do not close within 50 elements"),
        ([torch.eye(2), torch.eye(3)], "square matrices of one size"),
        ([torch.eye(2)[:1]], "square matrices of one size"),
        ([], "square matrices of one size"),
        ([torch.zeros(2, 2)], "invertible"),
        ([torch.full((2, 2), torch.nan)], "finite and invertible"),
    ],
)
def test_generators_that_give_no_finite_group_are_refused(generators, message):
    with pytest.raises(ValueError, match=message):
        finite_subgroup(generators, max_order=50)


def test_semidirect_products_with_rotations_are_rigid_motions():
    group = SemidirectProduct(T3(), SO3(), beside_one)
    generator = torch.Generator().manual_seed(0)
    g, h = SE3().sample((2, 50), generator=generator, dtype=torch.float64)

    def pair(g):
        a, b = SE3().split(g)
        return group.join(T3().exp(b), a)

    torch.testing.assert_close(pair(g) @ pair(h), pair(g @ h))
    torch.testing.assert_close(group.log(pair(g)), SE3().log(g), rtol=0, atol=1e-12)


def doubled(h):
    return 2 * h


def to_upper(h):
    return torch.eye(3, dtype=h.dtype).flip(0).expand(*h.shape[:-2], 3, 3)


def trivially(h):
    return torch.eye(2, dtype=h.dtype).expand(*h.shape[:-2], 2, 2)


@pytest.mark.parametrize(
    ("normal", "acting", "action", "message"),
    [
        (T2(), PositiveScaling(3), doubled, "is no homomorphism"),
        (Heisenberg(), CyclicGroup(2), to_upper, "is no homomorphism"),
        (Heisenberg(), SO3(), lambda h: h, "does not take"),
        (T2(), SO2(), trivially, r"gave \(8, 2, 2\)"),
    ],
)
def test_actions_that_are_none_are_refused(normal, acting, action, message):
    with pytest.raises(ValueError, match=message):
        SemidirectProduct(normal, acting, action)
