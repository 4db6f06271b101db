"""The testing kit as its users meet it."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from liegroups import SE2, SE3, SL2, SO2, SO3, T3, Aff3, GeneralLinear, LieGroup
from liegroups.testing import (
    GROUP_LAWS,
    INVARIANT_LAWS,
    SPACE_LAWS,
    LawViolation,
    check_group,
    check_invariant,
    check_space,
    commutation_error,
    equivariance_error,
    iterate_checks,
    lie_group_suite,
)
from liegroups.testing.inputs import spectral_angle
from liegroups.testing.laws.exponential import log_inverts_exp
from liegroups.testing.strategies import clouds, elements, points, tangents
from tests.meta.broken_groups import LogOffByFullTurn, TransposedHat

_SOME_LAWS = {
    "hat_agrees_with_its_default",
    "exp_inverts_log",
    "composition_is_associative",
    "operations_compile",
}


def test_a_law_is_a_plain_function():
    a = torch.tensor([[0.5], [-0.5]], dtype=torch.float64)
    log_inverts_exp(SO2(), a)
    with pytest.raises(LawViolation) as caught:
        log_inverts_exp(LogOffByFullTurn(), a)
    message = str(caught.value)
    assert message.startswith("log_inverts_exp does not hold for LogOffByFullTurn(): off by 6.28")
    assert "allowed" in message and "at a = [-0.5] (float64)" in message


def test_check_group_passes_and_keeps_the_order():
    results = check_group(T3(), examples=5)
    assert [r.name for r in results] == [law.__name__ for law in GROUP_LAWS]
    assert all(r.passed for r in results)
    assert all(r.formula and not r.message for r in results)


def test_check_group_finds_the_smallest_counterexample(capsys):
    group = TransposedHat()
    laws = [law for law in GROUP_LAWS if law.__name__ in _SOME_LAWS]
    skip = {"operations_compile": "it is slow"}
    results = iterate_checks(laws, (group,), group, None, examples=20, skip=skip)
    by_name = {r.name: r for r in results}
    failed = by_name["hat_agrees_with_its_default"]
    assert failed.passed is False
    assert "at a = [1, 0, 0] (float64)" in failed.message
    assert by_name["operations_compile"].passed is None
    assert by_name["operations_compile"].message == "it is slow"
    assert by_name["composition_is_associative"].passed is True
    assert capsys.readouterr() == ("", "")


def test_a_crash_is_a_failure_with_its_reason():
    @dataclass(frozen=True)
    class Crashes(SO3):
        def exp(self, a):
            raise RuntimeError("out of order")

    group = Crashes()
    laws = [law for law in GROUP_LAWS if law.__name__ in _SOME_LAWS]
    results = {r.name: r for r in iterate_checks(laws, (group,), group, None, examples=2)}
    assert results["exp_inverts_log"].message == "RuntimeError: out of order"
    assert results["composition_is_associative"].passed


def test_check_space_and_invariant():
    from liegroups import Distance

    space = T3().default_space()
    assert len(check_space(space, examples=2)) == len(SPACE_LAWS)
    results = check_invariant(Distance(), space, examples=2)
    assert [r.passed for r in results] == [True] * len(INVARIANT_LAWS)


def test_suites_are_fresh_classes():
    first, second = lie_group_suite(SO2()), lie_group_suite(SO2())
    assert first is not second
    assert first.test_log_inverts_exp is not second.test_log_inverts_exp
    assert {name for name in vars(first) if name.startswith("test_")} == {
        f"test_{law.__name__}" for law in GROUP_LAWS
    }


def test_a_skipped_law_shows_its_reason():
    suite = lie_group_suite(SO2(), skip={"log_inverts_exp": "no logarithm yet"})
    with pytest.raises(pytest.skip.Exception, match="no logarithm yet"):
        suite().test_log_inverts_exp()
    suite().test_exp_lands_in_the_group()


@settings(max_examples=20)
@given(st.data())
def test_strategies_compose(data):
    group = SE2()
    space = group.default_space()
    g, x = data.draw(st.tuples(elements(group, batch=(4,)), points(space, batch=(4,))))
    assert group.contains(g).all() and space.act(g, x).shape == (4, 2)
    cloud = data.draw(clouds(space, dtype=torch.float32).filter(lambda c: len(c) > 1))
    assert cloud.dtype == torch.float32 and cloud.shape[-1] == 2
    state = torch.get_rng_state()
    data.draw(tangents(group))
    assert torch.equal(state, torch.get_rng_state())


def test_strategies_shrink_to_something_readable():
    quick = settings(max_examples=200, database=None, suppress_health_check=list(HealthCheck))
    assert find(tangents(SE3()), lambda a: True, settings=quick).tolist() == [1, 0, 0, 0, 0, 0]
    assert torch.equal(
        find(clouds(SE3().default_space()), lambda x: (x == 0).all(), settings=quick),
        torch.zeros(2, 3, dtype=torch.float64),
    )


def test_strategies_reach_the_special_inputs():
    quick = settings(max_examples=500, database=None, suppress_health_check=list(HealthCheck))
    space = SO3().default_space()

    def rank(x):
        return int(torch.linalg.matrix_rank(x - x[:1], atol=1e-9))

    for wanted in (
        lambda x: len(x) == 1,
        lambda x: len(x) > 2 and (x == x[0]).all() and (x != 0).any(),
        lambda x: len(x) > 2 and rank(x) == 1,
        lambda x: len(x) > 3 and rank(x) == 2,
        lambda x: len(x) > 4 and rank(x) == 3,
    ):
        find(clouds(space), wanted, settings=quick)
    find(points(space), lambda x: (x == torch.tensor([-1, 0, 0])).all(), settings=quick)
    find(elements(SO3()), lambda g: torch.equal(g, torch.eye(3).double()), settings=quick)
    for group in (SO2(), SO3(), SE2(), SE3()):
        find(
            tangents(group),
            lambda a, group=group: abs(spectral_angle(group, a) - (math.pi - 1e-6)) < 1e-9,
            settings=quick,
        )


def test_equivariance_error_is_a_number_in_float64():
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))

    def centered(x):
        return x - x.mean(0)

    def rotate(g, y):
        return y @ g[:3, :3].T

    single = equivariance_error(centered, SE3(), x, on_output=rotate)
    double = equivariance_error(centered, SE3(), x.double(), on_output=rotate)
    assert 1e-9 < single.relative < 1e-6
    assert double.relative < 1e-14
    wrong = equivariance_error(centered, SE3(), x)
    assert wrong.relative > 0.1 and wrong.absolute == pytest.approx(wrong.relative * wrong.scale)
    given = SE3().exp(torch.tensor([[1.0, 2, 3, 0, 0, 0]]))
    assert equivariance_error(centered, SE3(), x, elements=given).relative < 1e-6


def test_commutation_with_maps_that_are_no_group():
    x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 1, 0, 5, 4, 2])

    def permute(x):
        return x[order]

    def flatten(x):
        return x * torch.tensor([1.0, 1, 0]).double()  # A projection has no inverse.

    assert commutation_error(torch.sin, permute, permute, x).relative == 0
    assert commutation_error(lambda x: x.norm(dim=-1), permute, permute, x).relative == 0
    assert commutation_error(torch.pdist, permute, lambda y: y, x).relative > 0.1
    assert commutation_error(torch.sin, flatten, flatten, x).relative == 0
    assert commutation_error(lambda x: 2 * x, lambda x: 3 * x, lambda y: 3 * y, x).relative < 1e-15
    assert commutation_error(lambda x: x**2, lambda x: 3 * x, lambda y: 9 * y, x).relative < 1e-15
    assert commutation_error(lambda x: 0 * x, permute, permute, x) == (0, 0, 0)


class SlightlyOff(SE3):
    """Operations with an error of ten thousand roundings, far below what a network would show."""

    def inverse(self, g):
        return super().inverse(g) * (1 + 1e-12)

    def relative(self, g, h):
        return super().relative(g, h) * (1 + 1e-12)


@pytest.mark.parametrize("name", ["inverse_is_the_inverse", "relative_is_the_pose"])
def test_laws_of_products_are_held_to_rounding(name):
    others = {law.__name__: "not looked at" for law in GROUP_LAWS if law.__name__ != name}
    (result,) = (r for r in check_group(SlightlyOff(), examples=20, skip=others) if r.name == name)
    assert result.passed is False
    assert "allowed" in result.message


def test_a_logarithm_is_held_to_what_rounding_becomes_near_its_end():
    """exp magnifies the rounding of a logarithm of SL(2) near the elements that have none."""
    trace = -2 + torch.tensor([1e-2, 1e-4, 1e-6], dtype=torch.float64)
    first, upper = torch.tensor(-2.5, dtype=torch.float64), torch.tensor(1.7, dtype=torch.float64)
    last = trace - first
    rows = first.expand(3), upper.expand(3), (first * last - 1) / upper, last
    g = torch.stack(rows, -1).unflatten(-1, (2, 2))
    group = SL2()
    assert group.in_range_of_exp(g).all() and (group.log(g).norm(dim=-1) > 20).all()
    (law,) = (law for law in GROUP_LAWS if law.__name__ == "log_is_right_where_defined")
    law(group, g=g)
    with pytest.raises(LawViolation, match="allowed"):
        law(SlightlyWrongLog(), g=g[:1])


class SlightlyWrongLog(SL2):
    """Off by far more than rounding makes of it."""

    def log(self, g):
        return super().log(g) * (1 + 1e-4)


class Lorentz(LieGroup):
    """SO⁺(2, 1), with the defaults that are computed from exp and log."""

    dim, matrix_size, basis_labels = 3, 3, ("x", "y", "turn")
    is_compact, is_abelian = False, False

    def algebra_basis(self):
        basis = torch.zeros(3, 3, 3, dtype=torch.float64)
        basis[0, 0, 1] = basis[0, 1, 0] = basis[1, 0, 2] = basis[1, 2, 0] = 1
        basis[2, 2, 1], basis[2, 1, 2] = 1, -1
        return basis

    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        return self.exp(torch.randn((*shape, 3), generator=generator, dtype=dtype, device=device))


def test_an_angle_that_rounds_to_the_other_side_of_a_half_turn_is_not_held_against_a_group():
    """Its angle is π - 1e-6, and the entries of its exponential are off by 3e-6."""
    a = torch.tensor([[-0.4202260077, -4.367795467, 5.396649361]])
    log_inverts_exp(Lorentz(), a=a)
    assert spectral_angle(Lorentz(), a).item() == pytest.approx(math.pi, abs=1e-5)


def test_a_matrix_whose_logarithm_rounding_hides_has_none():
    """Its small eigenvalues are negative, and its inverse is large: any residual is excused."""
    g = torch.tensor(
        [[92.7129, -94.7338, -40.7842], [-53.3610, 54.5252, 23.4346], [-44.0959, 45.0804, 19.0492]]
    )
    assert not GeneralLinear(3).in_range_of_exp(g)
    shifted = torch.cat((torch.cat((g, g[:, :1]), -1), torch.eye(4)[3:]))
    assert Aff3().log(shifted).isnan().all()
