"""Laws of derivatives, at the special angles where closed forms break."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from liegroups.group import LieGroup
from liegroups.testing.inputs import ANGLES, spectral_angle, tangent
from liegroups.testing.laws.exponential import (
    condition_of_log,
    is_principal,
    rounding_of_log,
)
from liegroups.testing.laws.law import fail, law, require_close, require_finite
from liegroups.testing.tolerances import (
    FINITE_DIFFERENCE,
    NEAR_CUT,
    ROUNDINGS,
    Kind,
    size,
)


@law
def derivatives_of_log_of_exp_are_trivial(group: LieGroup) -> None:
    """The Jacobian of a ↦ log(exp(a)) is the identity and its second derivative zero.

    At every special angle below π, in float32 and float64.
    """
    if group.dim == 0:
        return
    for dtype in (torch.float64, torch.float32):
        a = special_tangents(group, dtype)
        a = a[is_principal(group, a)].requires_grad_()
        first, second = jacobian_and_hessian(lambda x: group.log(group.exp(x)), a)
        eye = torch.eye(group.dim, dtype=dtype).expand(first.shape)
        # Each derivative of log passes through the inverse of the differential once more.
        condition = condition_of_log(group, a)
        base = rounding_of_log(group, a) / ROUNDINGS[Kind.TRANSCENDENTAL] * condition
        allowed = ROUNDINGS[Kind.DERIVATIVE] * base * size(a, 1)
        require_close(first, eye, allowed, 2, "Jacobian", a=a)
        allowed = ROUNDINGS[Kind.SECOND_DERIVATIVE] * base * condition * size(a, 1) ** 2
        require_close(second, torch.zeros_like(second), allowed, 3, "second derivative", a=a)


@law
def derivatives_of_exp_match_finite_differences(group: LieGroup) -> None:
    """First and second derivatives of exp, in float64, at every special angle."""
    if group.dim == 0:
        return
    a = special_tangents(group, torch.float64)
    a = a[a.abs().amax(-1) <= 4].requires_grad_()
    check_derivatives(group.exp, (a,))


@law
def derivatives_of_log_match_finite_differences(group: LieGroup) -> None:
    """First and second derivatives of b ↦ log(g exp(b)) at b = 0, at special g below the cut."""
    if group.dim == 0:
        return
    a = special_tangents(group, torch.float64)
    a = a[(spectral_angle(group, a) < math.pi - NEAR_CUT) & (a.abs().amax(-1) <= 4)]
    g = LieGroup.exp(group, a)
    b = torch.zeros_like(a, requires_grad=True)
    check_derivatives(lambda b: group.log(g @ LieGroup.exp(group, b)), (b,))


@law
def derivatives_of_relative_log_match_finite_differences(group: LieGroup) -> None:
    """First and second derivatives of log((g exp b)⁻¹ h exp c) at b = c = 0, g = h included."""
    if group.dim == 0:
        return
    a = special_tangents(group, torch.float64)
    a = a[(spectral_angle(group, a) < math.pi - NEAR_CUT) & (a.abs().amax(-1) <= 4)]
    g = LieGroup.exp(group, tangent(group, 99, 1.0))
    h = g @ LieGroup.exp(group, a)
    b, c = (torch.zeros_like(a, requires_grad=True) for _ in range(2))
    check_derivatives(
        lambda b, c: group.relative_log(g @ LieGroup.exp(group, b), h @ LieGroup.exp(group, c)),
        (b, c),
    )


@law
def derivatives_are_finite(group: LieGroup) -> None:
    """First and second derivatives of exp, log, relative and relative_log are never NaN.

    With respect to all matrix entries, at every special angle and at π itself, in float32 and
    float64; g and h coincident, antipodal and farther apart.
    """
    if group.dim == 0:
        return
    for dtype in (torch.float64, torch.float32):
        a = special_tangents(group, dtype)
        g = LieGroup.exp(group, a)
        base = LieGroup.exp(group, tangent(group, 99, 1.0, (), dtype)).expand(g.shape)
        h = base @ g
        maps: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
            "exp": (group.exp, (a,)),
            "log": (group.log, (g,)),
            "inverse": (group.inverse, (g,)),
            "relative": (group.relative, (base, h)),
            "relative_log": (group.relative_log, (base, h)),
        }
        for name, (function, inputs) in maps.items():
            inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
            value = function(*inputs)
            require_finite(value.detach(), name, value.ndim - 1, a=a)
            weight = torch.randn(
                value.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
            ).to(dtype)
            first = gradients((value * weight).sum(), inputs)
            for x in first:
                require_finite(x.detach(), f"a derivative of {name}", x.ndim - 1, a=a)
            total = torch.stack([(x * x.detach().cos()).sum() for x in first]).sum()
            for x in gradients(total, inputs):
                require_finite(x.detach(), f"a second derivative of {name}", x.ndim - 1, a=a)


def special_tangents(group: LieGroup, dtype: torch.dtype) -> Tensor:
    """Tangents of every special angle along each basis direction and a random one."""
    seeds = (*range(group.dim), 99)
    rows = [tangent(group, seed, angle) for angle in ANGLES for seed in seeds]
    return torch.stack(rows).to(dtype)


def gradients(y: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gradients that can be differentiated again; zeros where ``y`` does not depend on an input."""
    if not y.requires_grad:
        return tuple(torch.zeros_like(x) for x in inputs)
    found: Sequence[Tensor | None] = torch.autograd.grad(
        y, inputs, create_graph=True, allow_unused=True
    )
    return tuple(
        torch.zeros_like(x) if grad is None else grad for x, grad in zip(inputs, found, strict=True)
    )


def jacobian_and_hessian(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of a batched map.

    Args:
        function: Takes ``(rows, n)`` to ``(rows, k)``, each row on its own.
        x: Inputs ``(rows, n)`` that require a gradient.

    Returns:
        First derivatives ``(rows, k, n)`` and second derivatives ``(rows, k, n, n)``.
    """
    y = function(x)
    first = torch.stack([gradients(y[:, i].sum(), (x,))[0] for i in range(y.shape[1])], 1)
    second = [
        [gradients(first[:, i, j].sum(), (x,))[0] for j in range(x.shape[1])]
        for i in range(y.shape[1])
    ]
    rows = [torch.stack(row, 1) for row in second]
    return first.detach(), torch.stack(rows, 1).detach()


def check_derivatives(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> None:
    """Compare first and second derivatives with central differences, or report."""
    step, atol, rtol = (FINITE_DIFFERENCE[key] for key in ("eps", "atol", "rtol"))
    checks: dict[str, Callable[..., bool]] = {
        "first": torch.autograd.gradcheck,
        "second": torch.autograd.gradgradcheck,
    }
    for name, check in checks.items():
        try:
            # The fast mode compares one random directional derivative of the whole batch.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                check(function, inputs, eps=step, atol=atol, rtol=rtol, fast_mode=True)
        except GradcheckError as error:
            told = " ".join(str(error).split("\n\n")[0].split())  # The rest is about its own modes.
            fail(f"{name} derivative: {told}")


CALCULUS_LAWS = (
    derivatives_of_log_of_exp_are_trivial,
    derivatives_of_exp_match_finite_differences,
    derivatives_of_log_match_finite_differences,
    derivatives_of_relative_log_match_finite_differences,
    derivatives_are_finite,
)
