"""Learned fields: forces of an energy, and what their symmetries conserve."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from attention import (
    Count,
    InvariantHead,
    LieTransformer,
    LinearLocation,
    LinearReadout,
    LocationOnly,
    Product,
    SharedLocationMLP,
)
from liegroups import (
    SE2,
    SO2,
    T2,
    AlgebraNorm,
    Distance,
    E,
    Frames,
    Haar,
    RelativeMatrix,
    Trivial,
)
from tasks.networks import GraphNetwork, Perceptron
from tasks.objectives import HamiltonianDynamics
from tasks.objectives.base import Facts
from tasks.systems import (
    RK4,
    Adaptive,
    DivergenceError,
    HamiltonianField,
    Leapfrog,
    PendulumChain,
    Planets,
    Quadrature,
    RollOut,
    Slope,
    Springs,
    drifts,
    roll_out,
    squared_error,
)
from tasks.training.model import make_network


class Learned(nn.Module):
    """A network with the objective that says what it gives."""

    def __init__(self, system, network, **objective):
        super().__init__()
        facts = Facts(
            system.in_features, 2 * system.dim, point_dim=system.dim, max_points=system.particles
        )
        self.objective = HamiltonianDynamics(facts, **objective)
        self.objective.system = system
        self.network = make_network(network, self.objective)
        self.objective.join(self.network)

    def of(self, parameters, seed=None):
        return self.objective.field(self.network, parameters, seed)

    def energy(self, state, parameters):
        return self.objective.energy(self.network).energy(state, parameters)


def lie(group=T2(), network=LieTransformer, objective=None, **settings):  # noqa: B008
    settings = {"normalizer": Count(), "head": LinearReadout, **settings}
    made = partial(network, group, width=16, layers=1, heads=4, **settings)
    return partial(Learned, network=made, **objective or {})


def baseline(kind, learns, **settings):
    settings = {"width": 16, "output": "point" if learns == "derivative" else "cloud", **settings}
    return partial(Learned, network=partial(kind, **settings), learns=learns)


FIELDS = {
    "T2": lie(),
    "T2, perceptron": lie(head=partial(InvariantHead, pooling="sum")),
    "SE2, frames": lie(SE2(), lift=Frames()),
    "SE2, Haar": lie(SE2(), lift=Haar(count=2)),
    "SE2, distances": lie(SE2(), invariant=Distance()),
    # The angle between two points, which RelativePose sees, jumps at half a turn.
    "SO2, frames": lie(SO2(), lift=Frames(), invariant=RelativeMatrix()),
    "SO2, Haar": lie(SO2(), lift=Haar(count=2), invariant=RelativeMatrix()),
    "E2": lie(E(2), invariant=Distance()),
    "trivial": lie(Trivial(2)),
    "LieConv": lie(kernel=partial(LocationOnly, location=SharedLocationMLP)),
    "product, linear": lie(
        invariant=AlgebraNorm(),
        kernel=partial(Product, location=LinearLocation),
        objective={"feature_scale": 0.1},
    ),
    "learned kinetic": lie(objective={"kinetic": "learned"}),
    "HFC": baseline(Perceptron, "potential", layers=2),
    "FC": baseline(Perceptron, "derivative", layers=2),
    "OGN": baseline(GraphNetwork, "derivative"),
    "HOGN": baseline(GraphNetwork, "hamiltonian"),
}
ENERGIES = [name for name in FIELDS if name not in ("FC", "OGN")]


def drawn(system, count=3, seed=0):
    return system.sample(count, np.random.default_rng(seed))


def built(name, system=None, scale=1.0):
    """A network in double precision with weights far from their start."""
    torch.manual_seed(0)
    field = FIELDS[name](system or Springs()).double().eval()
    with torch.no_grad():
        for parameter in field.parameters():
            parameter += 0.1 * torch.randn_like(parameter) * scale
    return field


@pytest.fixture(params=FIELDS)
def name(request):
    return request.param


# ---- fields and energies ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ENERGIES)
def test_the_field_is_that_of_the_energy(name):
    """Against differences of the energy, with the signs of Hamilton's equations."""
    system = Springs(particles=3)
    field = built(name, system)
    state, parameters = drawn(system, 2)
    found = field.of(parameters)(state).detach()
    step = 1e-5
    slope = torch.zeros_like(state)
    with torch.no_grad():
        for place in np.ndindex(*state.shape[1:]):
            shift = torch.zeros_like(state)
            shift[(slice(None), *place)] = step
            up, down = (field.energy(state + sign * shift, parameters) for sign in (1, -1))
            slope[(slice(None), *place)] = (up - down) / (2 * step)
    expected = torch.stack((slope[:, 1], -slope[:, 0]), 1)
    # The lifts of frames and the noise of a difference leave an error of second order.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ENERGIES)
def test_what_was_learned_is_conserved_to_the_accuracy_of_the_integrator(name):
    system = Springs(particles=3)
    field = built(name, system)
    state, parameters = drawn(system, 2)
    with torch.no_grad():
        states = roll_out(system, field.of(parameters), Adaptive(1e-10, 1e-10), state, 30)
        energies = torch.stack([field.energy(each, parameters) for each in states.unbind(1)])
    assert float((states[:, -1] - state).abs().max()) > 1e-2  # They do move.
    assert float((energies - energies[0]).abs().max()) < 1e-7


def test_fields_of_every_system_have_gradients(name):
    for system in (Springs(), Planets(), PendulumChain()):
        if name == "learned kinetic" and not system.separable:
            continue
        torch.manual_seed(0)
        field = FIELDS[name](system)
        state, parameters = (part.float() for part in drawn(system))
        states = system.trajectory(state, parameters, 5).float()
        for loss in (RollOut(), Slope()):
            field.zero_grad()
            loss(system, field.of(parameters, 3), states).backward()
            gradients = [p.grad for p in field.parameters() if p.grad is not None]
            assert gradients
            assert all(gradient.isfinite().all() for gradient in gradients)
            assert any(gradient.abs().max() > 0 for gradient in gradients)


def test_derivatives_of_a_roll_out_by_weights():
    """Through the forces, so second derivatives of the network, against differences."""
    system = Springs(particles=2)
    field = built("SE2, frames", system)
    state, parameters = drawn(system, 1)
    true = system.trajectory(state, parameters, 3)
    weights = field.network.blocks[0].attention.value.weight
    loss = RollOut()
    (gradient,) = torch.autograd.grad(loss(system, field.of(parameters), true), weights)
    step = 1e-6
    for place in [(0, 0), (3, 5), (7, 2)]:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weights[place] += sign * step
            values.append(float(loss(system, field.of(parameters), true).detach()))
            with torch.no_grad():
                weights[place] -= sign * step
        expected = (values[0] - values[1]) / (2 * step)
        assert float(gradient[place]) == pytest.approx(expected, rel=1e-4, abs=1e-11)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fields_work_without_gradients(name, mode):
    system = Springs()
    field = built(name)
    state, parameters = drawn(system)
    expected = RK4()(field.of(parameters), state, torch.tensor([0.0, 0.01])).detach()
    with mode():
        found = RK4()(field.of(parameters.clone()), state.clone(), torch.tensor([0.0, 0.01]))
        assert not found.requires_grad
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_graph_networks_do_not_see_the_order_of_particles():
    system = Springs()
    state, parameters = drawn(system)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    for name in ("OGN", "HOGN"):
        field = built(name)
        found = field.of(parameters[:, order])(state[:, :, order])
        torch.testing.assert_close(found, field.of(parameters)(state)[:, :, order])


def test_lifts_stay_along_a_trajectory_and_differ_between_seeds():
    state, parameters = drawn(Springs())
    field = built("SE2, Haar").train()
    first, again, other = (field.of(parameters, seed)(state) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, rtol=1e-3)
    field.eval()
    assert torch.equal(field.of(parameters)(state), field.of(parameters)(state))


# ---- Noether ---------------------------------------------------------------------------------

CONSERVES = {  # By group: momentum, angular momentum.
    "T2": (True, False),
    "SE2, frames": (True, True),
    "SE2, Haar": (True, False),
    "SE2, distances": (True, True),
    "SO2, frames": (False, True),
    "E2": (True, True),
    "trivial": (False, False),
    "HFC": (False, False),
    "OGN": (False, False),
}


@pytest.mark.parametrize("name", CONSERVES)
def test_each_symmetry_conserves_its_quantity(name):
    """By leapfrog, which conserves what the symmetries do to rounding."""
    system = Springs()
    state, parameters = drawn(system, 4)
    field = built(name, scale=3.0).of(parameters)
    integrator = Leapfrog() if isinstance(field, HamiltonianField) else RK4()
    with torch.no_grad():
        states = roll_out(system, field, integrator, state, 60)
    found = drifts(system, states, parameters)
    for quantity, conserved in zip(("momentum", "angular_momentum"), CONSERVES[name], strict=True):
        worst = float(found[quantity].max())
        assert (worst < 1e-12) == conserved, (quantity, worst)
        assert conserved or worst > 1e-6


@pytest.mark.slow
def test_frames_conserve_angular_momentum_over_a_thousand_steps():
    system = Springs(particles=4)
    state, parameters = drawn(system, 4)
    worst = {}
    for name in ("T2", "SE2, frames"):
        field = built(name, system, scale=3.0).of(parameters)
        with torch.no_grad():
            states = roll_out(system, field, Leapfrog(), state, 1001)
        found = drifts(system, states, parameters)
        worst[name] = {quantity: float(each.max()) for quantity, each in found.items()}
    # A thousand roundings, each of the size of the energy's terms.
    assert worst["SE2, frames"]["angular_momentum"] < 1e-11
    assert worst["T2"]["angular_momentum"] > 1e-3
    assert max(each["momentum"] for each in worst.values()) < 1e-11


# ---- degenerate clouds -----------------------------------------------------------------------


def test_coincident_particles_have_finite_forces_and_gradients(name):
    system = Springs()
    state, parameters = drawn(system)
    state[:, 0, 1:] = state[:, 0, :1]
    field = built(name)
    loss = RollOut()(system, field.of(parameters), torch.stack([state] * 4, 1))
    loss.backward()
    assert loss.isfinite()
    for parameter in field.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_one_particle_moves(name):
    system = Springs(particles=1)
    field = built(name, system)
    state, parameters = drawn(system)
    state[:, 1] = 1.0
    with torch.no_grad():
        states = roll_out(system, field.of(parameters), RK4(), state, 10)
    assert states.isfinite().all()
    if name in ("T2", "SE2, frames", "E2", "LieConv"):
        # Nothing to push against: a straight line.
        line = state[:, 0, 0] + 0.09 * state[:, 1, 0] / parameters[:, 0, :1]
        torch.testing.assert_close(states[:, -1, 0, 0], line)


def test_a_wild_field_is_reported_as_divergence():
    system = Springs()
    field = built("FC")
    with torch.no_grad():
        field.network.maps[-1].weight *= 1e6
    state, parameters = drawn(system)
    with torch.no_grad(), pytest.raises(DivergenceError, match=r"step \d+ of 99, before time"):
        roll_out(system, field.of(parameters), RK4(), state, 100)


# ---- losses and metrics ----------------------------------------------------------------------


def test_the_true_field_has_no_loss():
    system = Springs()
    state, parameters = drawn(system, 20)
    states = system.trajectory(state, parameters, 5)
    true = HamiltonianField(system, parameters)
    scale = true(state).square().mean()
    assert float(RollOut()(system, true, states)) < 1e-9
    assert float(Slope()(system, true, states)) < 1e-6 * float(scale)
    assert float(Quadrature()(system, true, states)) < 1e-6 * float(scale)


@pytest.mark.parametrize(
    ("loss", "points", "order"), [(Slope(), 5, 4), (Quadrature(), 5, 5), (Quadrature(), 3, 3)]
)
def test_the_error_of_a_loss_falls_with_its_order(loss, points, order):
    losses = []
    for spacing in (0.004, 0.002):
        system = Springs(spacing=spacing)
        state, parameters = drawn(system, 20)
        states = system.trajectory(state, parameters, points)
        losses.append(float(loss(system, HamiltonianField(system, parameters), states)))
    assert np.log2(losses[0] / losses[1]) / 2 == pytest.approx(order, abs=0.5)


def test_squared_error_is_a_mean_over_everything_but_systems_and_times():
    a, b = (torch.randn(3, 7, 2, 6, 2) for _ in range(2))
    expected = [[((a[i, j] - b[i, j]) ** 2).mean() for j in range(7)] for i in range(3)]
    torch.testing.assert_close(squared_error(a, b), torch.tensor(expected))


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lie(objective={"feature_scale": 0.0}), "feature_scale: 0.0"),
        (lie(objective={"kinetic": "learned", "learns": "hamiltonian"}), "kinetic: learned"),
        (lie(SE2(), objective={"learns": "hamiltonian"}), "momenta .* do not turn"),
        (lie(head=partial(InvariantHead), objective={"learns": "derivative"}), "one for each"),
        (baseline(Perceptron, "potential", width=0), "width: 0"),
        (baseline(Perceptron, "derivative", layers=0), "layers: 0"),
        (baseline(GraphNetwork, "hamiltonian", width=0), "width: 0"),
        (baseline(GraphNetwork, "potential", output="point"), "pooling"),
    ],
)
def test_a_setting_out_of_range_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make(Springs())


def test_slope_needs_five_points():
    system = Springs()
    state, parameters = drawn(system)
    states = system.trajectory(state, parameters, 4)
    with pytest.raises(ValueError, match="5 points in time; got 4"):
        Slope()(system, built("T2").of(parameters), states)
