"""Every invariant obeys every law on every space that has it, and is refused by the others."""

import math

import pytest
import torch

from liegroups import (
    SE2,
    SE3,
    SO2,
    SO3,
    T3,
    AlgebraNorm,
    Bessel,
    BumpEnvelope,
    Concat,
    ConcentricSpheres,
    Distance,
    EuclideanSpace,
    FrameBasis,
    Gaussian,
    GroupItself,
    InverseDistance,
    Lifted,
    OrbitLabels,
    PerHead,
    PolynomialEnvelope,
    PositionOrientation,
    RadialBasis,
    RelativeMatrix,
    RelativePose,
    RelativePositionOrientation,
    Sphere,
    Trivial,
    lift,
)
from liegroups.general_linear import Aff2
from liegroups.orthogonal import E, O
from liegroups.scaling import Sim
from liegroups.testing import equivariance_error, invariant_suite
from liegroups.testing.laws.calculus import check_derivatives
from liegroups.testing.probes import probe_spaces

SE3_SPACE = EuclideanSpace(SE3())
SO3_SPACE = ConcentricSpheres(SO3())
ORIENTED = PositionOrientation(SE3())

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
TestRelativeMatrixUnderSE2 = invariant_suite(RelativeMatrix(), EuclideanSpace(SE2()))
TestRelativeMatrixUnderSE3 = invariant_suite(RelativeMatrix(), SE3_SPACE)
TestRelativeMatrixUnderSO3 = invariant_suite(RelativeMatrix(), SO3_SPACE)
TestRelativeMatrixOnPoses = invariant_suite(RelativeMatrix(), GroupItself(SE3()))
TestRelativeMatrixUnderE3 = invariant_suite(RelativeMatrix(), EuclideanSpace(E(3)))
TestRelativeMatrixUnderO3 = invariant_suite(RelativeMatrix(), ConcentricSpheres(O(3)))
TestRelativePoseUnderSim2 = invariant_suite(RelativePose(), EuclideanSpace(Sim(2)))
TestDistanceUnderE3 = invariant_suite(Distance(), EuclideanSpace(E(3)))
TestAlgebraNormUnderT3 = invariant_suite(AlgebraNorm(), EuclideanSpace(T3()))
TestAlgebraNormUnderSE2 = invariant_suite(AlgebraNorm(), EuclideanSpace(SE2()))
TestAlgebraNormUnderSE3 = invariant_suite(AlgebraNorm(), SE3_SPACE)
TestAlgebraNormUnderSO3 = invariant_suite(AlgebraNorm(), SO3_SPACE)
TestRelativePoseOnPositionsAndOrientations = invariant_suite(RelativePose(), ORIENTED)
TestRelativePositionOrientation = invariant_suite(RelativePositionOrientation(), ORIENTED)
TestRelativePositionOrientationOfThePlane = invariant_suite(
    RelativePositionOrientation(), PositionOrientation(SE2())
)
TestDistanceOnTheSphere = invariant_suite(Distance(), Sphere(SO3()))
TestBesselUnderSE3 = invariant_suite(RadialBasis(3.0, Bessel(4)), SE3_SPACE)
TestBesselUnderSO3 = invariant_suite(
    RadialBasis(3.0, Bessel(4), envelope=BumpEnvelope()), SO3_SPACE
)
TestFrameBasisUnderSE3 = invariant_suite(FrameBasis(3.0, Bessel(2)), SE3_SPACE)
TestFrameBasisUnderSE2 = invariant_suite(
    FrameBasis(3.0, Gaussian(2), max_degree=3, envelope=None), EuclideanSpace(SE2())
)
TestFrameBasisUnderE3 = invariant_suite(FrameBasis(3.0, Bessel(2), 2), E(3).default_space())
TestGaussianUnderSE3 = invariant_suite(RadialBasis(3.0, Gaussian(5)), SE3_SPACE)
TestGaussianWithoutCutOff = invariant_suite(
    RadialBasis(3.0, Gaussian(5), envelope=None), EuclideanSpace(SE2())
)


@pytest.mark.parametrize("space", probe_spaces(), ids=str)
@pytest.mark.parametrize(
    "invariant", [Distance(), InverseDistance(), RadialBasis(1.0, functions=Bessel(1))], ids=str
)
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
    with pytest.raises(ValueError, match=r"InverseDistance\.softening: "):
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


# ---- poses -----------------------------------------------------------------------------------


def ends(space, x, y):
    return tuple(Lifted(space.section(z), z) for z in (x, y))


def test_relative_matrix_determines_the_pose_and_has_no_cut():
    g, h = SE3().sample((2, 50), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    point = torch.zeros(50, 3).double()
    value = RelativeMatrix()(SE3_SPACE, Lifted(g, point), Lifted(h, point))
    torch.testing.assert_close(value.unflatten(-1, (3, 4)), (torch.linalg.inv(g) @ h)[:, :3])
    half = SO3().exp(
        torch.tensor([[0, 0, torch.pi - 1e-9], [0, 0, torch.pi + 1e-9]], dtype=torch.float64)
    )
    one = Lifted(torch.eye(3).double(), torch.zeros(3).double())
    two = Lifted(half, torch.zeros(2, 3).double())
    before, after = RelativeMatrix()(SO3_SPACE, one, two)
    assert (before - after).abs().max() < 1e-8
    before, after = AlgebraNorm()(SO3_SPACE, one, two)
    assert (before - after).abs().max() < 1e-7
    before, after = RelativePose()(SO3_SPACE, one, two)
    assert (before - after).abs().max() > 6


@pytest.mark.parametrize("invariant", [RelativePose(), AlgebraNorm()], ids=str)
@pytest.mark.parametrize("group", [E(3), O(2), Aff2()], ids=str)
def test_logarithms_are_refused_where_elements_have_none(invariant, group):
    with pytest.raises(ValueError, match=r"exponential map is not onto. Use RelativeMatrix"):
        invariant.dim(group.default_space())
    RelativeMatrix().dim(group.default_space())


def test_algebra_norm_is_by_blocks():
    a = torch.tensor([1.0, -2.0, 2.0, 0.3, 0.0, 0.4]).double()
    one, two = Lifted(torch.eye(4).double(), None), Lifted(SE3().exp(a), None)
    torch.testing.assert_close(
        AlgebraNorm()(SE3_SPACE, one, two), torch.tensor([-9.0, -0.25]).double()
    )
    assert AlgebraNorm().dim(EuclideanSpace(T3())) == 1
    assert AlgebraNorm().dim(SO3_SPACE) == 1
    with pytest.raises(ValueError, match="has dimension 0; use RelativeMatrix"):
        AlgebraNorm().dim(GroupItself(Trivial(3)))


@pytest.mark.parametrize("space", [SE3_SPACE, SO3_SPACE, EuclideanSpace(SE2())], ids=str)
@pytest.mark.parametrize("invariant", [RelativeMatrix(), AlgebraNorm(), RelativePose()], ids=str)
def test_derivatives_at_coincident_elements(invariant, space):
    """Second derivatives too: of two elements that are the same, moved apart in the algebra."""
    group = space.group
    g = group.sample(generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def value(a, b):
        return invariant(space, Lifted(g @ group.exp(a), None), Lifted(g @ group.exp(b), None))

    zero = [torch.zeros(group.dim, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(value, zero)
    assert torch.autograd.gradgradcheck(value, zero)


# ---- positions and orientations --------------------------------------------------------------


@pytest.mark.parametrize("angle", [0, 1e-12, 1e-7, 1e-3, 1, math.pi - 1e-3])
@pytest.mark.parametrize(
    ("invariant", "space"),
    [
        (RelativePose(), SE3_SPACE),
        (RelativePose(), SO3_SPACE),
        (RelativeMatrix(), SE3_SPACE),
        (AlgebraNorm(), SE3_SPACE),
        (AlgebraNorm(), SO3_SPACE),
        (Distance(), SE3_SPACE),
        (Distance(), SO3_SPACE),
        (InverseDistance(), SE3_SPACE),
        (OrbitLabels(), SO3_SPACE),
        (RadialBasis(9.0, Gaussian(4)), SE3_SPACE),
        (Concat([RelativePose(), OrbitLabels()]), SO3_SPACE),
        (PerHead([Distance(), InverseDistance()]), SE3_SPACE),
    ],
    ids=str,
)
def test_derivatives_at_special_angles(invariant, space, angle):
    """By both ends of pairs that are turned by the angle and lie at distances of about one."""
    group = space.group
    first = group.sample((4,), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = torch.randn(4, group.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a[:, -3:] *= angle / a[:, -3:].norm(dim=-1, keepdim=True)
    second = first @ group.exp(a)

    def ends(g, b, radius):
        g = g @ group.exp(b)
        return Lifted(g, space.act(g, torch.full((4, 3), radius, dtype=g.dtype)))

    def value(b, c):
        return invariant(space, ends(first, b, 0.5), ends(second, c, 1.0))

    zero = tuple(torch.zeros(4, group.dim, dtype=torch.float64, requires_grad=True) for _ in "bc")
    check_derivatives(value, zero)


def test_a_wrong_derivative_is_told_with_both_values():
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    with pytest.raises(Exception, match=r"first derivative: .* numerical:2\.0.* analytical:1"):
        check_derivatives(lambda x: x.detach() * x, (x,))


def test_three_invariants_of_positions_and_orientations():
    x = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 1.0]).double()
    y = torch.tensor([4.0, 5.0, 3.0, 0.6, 0.0, 0.8]).double()
    invariant = RelativePositionOrientation()
    assert invariant(ORIENTED, *ends(ORIENTED, x, y)).tolist() == pytest.approx([2, 5, 0.8])
    assert invariant(ORIENTED, *ends(ORIENTED, x, x)).tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match=r"EuclideanSpace.* has none"):
        invariant.dim(SE3_SPACE)


# ---- radial bases ----------------------------------------------------------------------------


def radial(basis, r):
    x = torch.zeros(*r.shape, 3, dtype=r.dtype)
    y = torch.cat((r[..., None], x[..., 1:]), -1)
    return basis(SE3_SPACE, *ends(SE3_SPACE, x, y))


def test_bessel_functions_by_their_formula_and_orthonormal():
    r = torch.linspace(0, 5, 20_001, dtype=torch.float64)
    values = radial(RadialBasis(5.0, Bessel(6), envelope=None), r)
    u = r[1:, None] / 5
    formula = 2**0.5 * torch.sin(torch.arange(1, 7).double() * torch.pi * u) / u
    torch.testing.assert_close(values[1:], formula, rtol=1e-10, atol=1e-10)
    u = r / 5
    gram = torch.trapezoid(values[:, :, None] * values[:, None] * u[:, None, None] ** 2, u, dim=0)
    torch.testing.assert_close(gram, torch.eye(6).double(), rtol=0, atol=1e-6)


def test_gaussians_have_their_maxima_at_even_steps():
    r = torch.linspace(0, 4, 401, dtype=torch.float64)
    values = radial(RadialBasis(4.0, Gaussian(5), envelope=None), r)
    assert r[values.argmax(0)].tolist() == pytest.approx([0, 1, 2, 3, 4])
    assert values[100, 2].item() == pytest.approx(math.exp(-0.5))


@pytest.mark.parametrize(
    "envelope", [*(PolynomialEnvelope(p) for p in (3, 4, 6, 9)), BumpEnvelope()], ids=str
)
def test_envelopes_end_smoothly(envelope):
    u = torch.tensor([0.0, 0.3, 1 - 1e-3, 1 - 1e-5, 1.0, 1.5]).double().requires_grad_()
    value = envelope(u * u)
    assert value[0] == 1 and (value[4:] == 0).all() and 0 < value[1] < 1
    (first,) = torch.autograd.grad(value.sum(), u, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), u)
    assert (value[2:].detach() <= 1e-6).all()
    for derivative, limit in ((first, 1e-3), (second, 1.0)):
        assert derivative[0] == 0 or envelope == BumpEnvelope()
        assert (derivative[4:] == 0).all()
        assert derivative[2].abs() < limit and derivative[3].abs() < limit / 50


@pytest.mark.parametrize("power", [3, 6, 7])
def test_polynomial_envelope_by_its_formula(power):
    p, u = power, torch.linspace(0, 1, 101, dtype=torch.float64)
    formula = (
        1
        - (p + 1) * (p + 2) / 2 * u**p
        + p * (p + 2) * u ** (p + 1)
        - p * (p + 1) / 2 * u ** (p + 2)
    )
    torch.testing.assert_close(PolynomialEnvelope(p)(u * u), formula, rtol=0, atol=1e-13)


@pytest.mark.parametrize("envelope", [PolynomialEnvelope(), PolynomialEnvelope(3), BumpEnvelope()])
def test_derivatives_of_radial_bases(envelope):
    """Where points coincide, inside, at the switch of formulas, at the radius and beyond."""
    directions = torch.tensor([0.6, 0.0, 0.8]).double()
    lengths = torch.tensor([0.0, 0.4, 1.0, 1.9, 2.0, 3.0]).double()
    x = (lengths[:, None] * directions).requires_grad_()
    basis = RadialBasis(2.0, Bessel(3), envelope)

    def value(x):
        return basis(SE3_SPACE, Lifted(None, torch.zeros_like(x)), Lifted(None, x))

    assert torch.autograd.gradcheck(value, x)
    # The third derivative of the polynomial jumps at the radius: central differences see it.
    assert torch.autograd.gradgradcheck(value, x, atol=1e-3 if envelope != BumpEnvelope() else 1e-5)


def test_radial_settings():
    for radius in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"RadialBasis\.radius: "):
            RadialBasis(radius)
    with pytest.raises(ValueError, match=r"Gaussian\.count: 1; accepted: 2 to"):
        Gaussian(1)
    with pytest.raises(ValueError, match=r"Bessel\.count: 0; accepted: 1 to"):
        Bessel(0)
    with pytest.raises(ValueError, match=r"PolynomialEnvelope\.power: 2; accepted: 3 to"):
        PolynomialEnvelope(2)


@pytest.mark.parametrize(("n", "dim"), [(2, 7), (3, 16)])
def test_directions_of_a_frame_span_the_harmonics(n, dim):
    """As many independent functions on the sphere as there are harmonics up to that degree."""
    space = EuclideanSpace(SE3() if n == 3 else SE2())
    directions = torch.nn.functional.normalize(torch.randn(100, n, dtype=torch.float64), dim=-1)
    ends = (Lifted(torch.eye(n + 1).double(), x) for x in (torch.zeros(n).double(), directions))
    basis = FrameBasis(5.0, Bessel(1), max_degree=3)
    features = basis(space, *ends)
    assert features.shape[-1] == basis.dim(space) == dim
    assert torch.linalg.matrix_rank(features) == dim


def test_a_frame_basis_of_degree_0_is_a_radial_basis():
    ends = [Lifted(SE3_SPACE.section(x), x) for x in torch.randn(2, 20, 3)]
    radial, framed = RadialBasis(2.0, Bessel(4)), FrameBasis(2.0, Bessel(4), max_degree=0)
    torch.testing.assert_close(framed(SE3_SPACE, *ends), radial(SE3_SPACE, *ends))
    assert framed.sees == radial.sees
