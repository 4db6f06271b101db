"""Integrators: their order, what they conserve, their gradients, and how they fail."""

import numpy as np
import pytest
import torch

from tasks.systems import (
    RK4,
    Adaptive,
    DivergenceError,
    HamiltonianField,
    Leapfrog,
    PendulumChain,
    Planets,
    Springs,
)

TIMES = torch.linspace(0, 1, 21, dtype=torch.float64)


def planets(count=4, seed=0):
    system = Planets()
    state, parameters = system.sample(count, np.random.default_rng(seed))
    return system, state, HamiltonianField(system, parameters), parameters


def oscillator(state):
    return torch.stack((state[:, 1], -state[:, 0]), 1)


@pytest.mark.parametrize(("integrator", "order"), [(RK4, 4), (Leapfrog, 2)])
def test_the_error_falls_with_the_order(integrator, order):
    _, state, field, _ = planets()
    with torch.no_grad():
        exact = Adaptive(1e-12, 1e-12)(field, state, TIMES)
        errors = [
            float((integrator(substeps)(field, state, TIMES) - exact).abs().max())
            for substeps in (2, 4)
        ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_adaptive_follows_a_circle():
    state = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 2, 1, 1)
    found = Adaptive()(oscillator, state, TIMES)[0, :, :, 0, 0]
    expected = torch.stack((TIMES.cos(), -TIMES.sin()), -1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_leapfrog_conserves_momenta_to_rounding_and_its_energy_does_not_drift():
    system = Springs()
    state, parameters = system.sample(4, np.random.default_rng(0))
    field = HamiltonianField(system, parameters)
    times = 0.01 * torch.arange(801, dtype=torch.float64)  # Many periods of the fast ones.
    with torch.no_grad():
        states = Leapfrog()(field, state, times)
    start = system.conserved(state, parameters)
    worst = {name: 0.0 for name in start}
    for each in states.unbind(1):
        for name, quantity in system.conserved(each, parameters).items():
            worst[name] = max(worst[name], float(quantity.drift(start[name]).max()))
    assert worst["momentum"] < 1e-12
    assert worst["angular_momentum"] < 1e-12
    energies = torch.stack([system.energy(each, parameters) for each in states.unbind(1)])
    early, late = energies[:200].mean(0), energies[-200:].mean(0)
    assert float(((late - early) / energies[0]).abs().max()) < 1e-3


def test_leapfrog_can_be_reversed():
    _, state, field, _ = planets()
    flip = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    with torch.no_grad():
        end = Leapfrog(3)(field, state, TIMES)[:, -1]
        back = Leapfrog(3)(field, end * flip, TIMES)[:, -1] * flip
    torch.testing.assert_close(back, state, rtol=0, atol=1e-12)


@pytest.mark.parametrize("integrator", [RK4(2), Leapfrog(2), Adaptive(1e-10, 1e-10)], ids=repr)
def test_a_batch_is_integrated_like_its_systems_alone(integrator):
    system, state, field, parameters = planets(3)
    with torch.no_grad():
        together = integrator(field, state, TIMES)
        assert together.shape == (3, 21, 2, 6, 2)
        for n in range(3):
            own = HamiltonianField(system, parameters[n : n + 1])
            alone = integrator(own, state[n : n + 1], TIMES)
            torch.testing.assert_close(together[n : n + 1], alone, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("integrator", [RK4(), Leapfrog(), Adaptive(1e-10, 1e-10)], ids=repr)
def test_gradients_with_respect_to_the_start_and_the_parameters(integrator):
    """Against differences, through the derivatives of the energy: second derivatives."""
    system = Springs(particles=2)
    state, parameters = system.sample(1, np.random.default_rng(0))
    state.requires_grad_()
    parameters.requires_grad_()
    times = torch.tensor([0.0, 0.05, 0.1], dtype=torch.float64)

    def end(state, parameters):
        return integrator(HamiltonianField(system, parameters), state, times)[:, -1]

    assert torch.autograd.gradcheck(end, (state, parameters), atol=1e-5)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fields_work_without_gradients(mode):
    system, state, field, parameters = planets()
    expected = RK4()(field, state, TIMES).detach()
    with mode():
        own = HamiltonianField(system, parameters.clone())
        found = RK4()(own, state.clone(), TIMES)
    assert not found.requires_grad
    assert torch.equal(found, expected)


# ---- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize("integrator", [RK4(), Leapfrog()], ids=repr)
def test_a_step_too_large_is_reported_with_its_step_and_time(integrator):
    system = Springs()
    state, parameters = system.sample(4, np.random.default_rng(0))
    times = 3.0 * torch.arange(40, dtype=torch.float64)
    with pytest.raises(DivergenceError, match=r"step \d+ of 39, before time") as caught:
        integrator(HamiltonianField(system, parameters), state, times)
    assert 1 <= caught.value.step <= 39
    assert caught.value.time == 3.0 * caught.value.step


def test_only_the_systems_that_diverged_are_counted():
    def field(state):
        return state * torch.tensor([0.0, 0.0, 50.0]).view(3, 1, 1, 1)

    times = torch.arange(20, dtype=torch.float64)
    with pytest.raises(DivergenceError, match="above 1e8 in 1 of 3 systems, first 2"):
        RK4()(field, torch.ones(3, 2, 1, 1), times)


def test_a_field_that_is_not_finite_is_reported():
    def field(state):
        return torch.where(state > 1.5, torch.nan, 1.0) * torch.ones_like(state)

    times = torch.arange(5, dtype=torch.float64)
    with pytest.raises(DivergenceError, match="step 1 of 4, before time 1: a value is not finite"):
        RK4()(field, torch.ones(1, 2, 1, 1), times)


def test_adaptive_reports_a_singularity_with_its_time():
    # dz/dt = z² from 1 is infinite at time 1.
    times = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    with pytest.raises(DivergenceError, match="step 2 of 2, before time 2"):
        Adaptive()(torch.square, torch.ones(1, 2, 1, 1, dtype=torch.float64), times)


def test_leapfrog_refuses_what_is_not_separable():
    system = PendulumChain()
    state, parameters = system.sample(1, np.random.default_rng(0))
    for field in (HamiltonianField(system, parameters), oscillator):
        with pytest.raises(ValueError, match="kinetic energy does not depend on the positions"):
            Leapfrog()(field, state, TIMES)


@pytest.mark.parametrize(
    "times", [torch.zeros(3), torch.tensor([0.0, 1.0, 0.5]), torch.zeros(2, 2)], ids=str
)
def test_times_must_increase(times):
    with pytest.raises(ValueError, match="increasing"):
        RK4()(oscillator, torch.ones(1, 2, 1, 1), times)


@pytest.mark.parametrize("make", [lambda: RK4(0), lambda: Leapfrog(-1), lambda: Adaptive(0.0)])
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="accepted"):
        make()
