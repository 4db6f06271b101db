"""A training step that is recorded and compiled, against autograd."""

import numpy as np
import pytest
import torch

from attention import LieTransformer, Network, Radius
from attention.steerable import ChannelwiseTransformer, SteerableTransformer
from liegroups import SE3, T2, Equivariance, Haar, RadialBasis, RelativePose
from tasks.data.clouds import Clouds
from tasks.objectives import EnergiesAndForces, HamiltonianDynamics
from tasks.objectives.base import Facts
from tasks.objectives.gradients import energy_and_forces, energy_of
from tasks.simulate.tracing import trace
from tasks.systems import Springs
from tasks.training.compiled import CompiledStep

FEATURES = 12


def energies_and_forces():
    made = EnergiesAndForces(
        Facts(FEATURES, 1), energy_weight=2.0, force_weight=3.0, late_energy_weight=9.0, late=0.3
    )
    made.energy_mean, made.energy_deviation, made.force_rms = 0.1, 0.5, 2.0
    return made


def network(frozen=True):
    torch.manual_seed(0)
    made = ChannelwiseTransformer(
        FEATURES,
        1,
        invariant=RadialBasis(2.0),
        pooling="sum",
        max_degree=1,
        channels=4,
        heads=2,
        layers=2,
        hidden=4,
        neighborhood=Radius(2.0, loops=False),
    ).double()
    made.embedding.requires_grad_(not frozen)
    return made


def molecules(count, seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    # Features that are one row seen by all frames, as those of a loader are.
    features = draw(5, FEATURES).expand(count, -1, -1)
    return Clouds.of(
        {
            "features": features,
            "points": draw(count, 5, 3),
            "targets": draw(count, 1),
            "point_targets": draw(count, 5, 3),
        }
    )


def check(step, made, objective, batch):
    """The step gives what autograd does, for the weights of the moment."""
    made.zero_grad()
    expected, outputs = objective.loss(made, batch)
    expected.backward()
    gradients = [w.grad for w in made.parameters()]
    made.zero_grad()
    found, given = step(batch)
    (7 * found).backward()
    torch.testing.assert_close([found, *given], [expected, *outputs])
    for weight, gradient in zip(made.parameters(), gradients, strict=True):
        assert weight.requires_grad == (weight.grad is not None)
        if weight.requires_grad:
            gradient = torch.zeros_like(weight) if gradient is None else gradient
            torch.testing.assert_close(weight.grad, 7 * gradient)


def steps(made, objective, draw):
    """Twice at one size, once at another, with other weights each time."""
    step = CompiledStep(made, objective)
    for seed, count in enumerate((3, 3, 2)):
        objective.at(seed / 3)  # The last two may belong to a second stage.
        check(step, made, objective, draw(count, seed))
        with torch.no_grad():
            for weight in made.parameters():
                weight += 0.1 * torch.randn_like(weight)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_recorded_step_has_the_gradients_of_autograd(monkeypatch, frozen):
    monkeypatch.setattr(torch, "compile", lambda graph: graph)
    steps(network(frozen), energies_and_forces(), molecules)


def stretches(count, seed):
    system = Springs(particles=3)
    state, parameters = system.sample(count, np.random.default_rng(seed))
    given = {
        "features": parameters,
        "points": state[:, 0],
        "targets": system.trajectory(state, parameters, 5),
    }
    return Clouds.of(given)


def test_a_recorded_step_of_a_roll_out_has_the_gradients_of_autograd(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda graph: graph)
    torch.manual_seed(0)
    made = LieTransformer(T2(), 2, 1, invariant=RelativePose(), width=8, layers=1, heads=2).double()
    objective = HamiltonianDynamics(Facts(2, 4, point_dim=2, max_points=3))
    objective.system = Springs(particles=3)
    steps(made, objective, stretches)


@pytest.mark.slow
def test_a_compiled_step_has_the_gradients_of_autograd():
    steps(network(), energies_and_forces(), molecules)


@pytest.mark.parametrize("kind", [SteerableTransformer, ChannelwiseTransformer])
def test_recorded_energies_and_forces_are_those_of_the_network(kind):
    """Also for positions with other neighbors than those that it was recorded with."""
    torch.manual_seed(0)
    made = kind(
        FEATURES, 1, invariant=RadialBasis(3.0), neighborhood=Radius(3.0, loops=False),
        pooling="sum",
    )  # fmt: skip
    made = made.double().eval()
    features, positions, _ = molecules(1, 0).inputs
    recorded = trace(made, features)
    for scale in (1, 0.5, 2, 10):
        expected = energy_and_forces(energy_of(made, features), scale * positions)
        torch.testing.assert_close(recorded(scale * positions), expected)


class Shaking(Network):
    """Draws a random number at every call."""

    equivariance = Equivariance.NONE
    in_features, out_features, is_per_point, pooling = FEATURES, 1, False, "sum"

    def __init__(self):
        super().__init__()
        self.space = SE3().default_space()
        self.weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, features, points, mask=None, *, edges=None, generator=None):
        shaken = points + torch.rand_like(points)
        return self.weight * shaken.square().sum((1, 2))[:, None]


def test_random_numbers_are_refused():
    with pytest.raises(ValueError, match="compile: Shaking draws random numbers"):
        CompiledStep(Shaking(), energies_and_forces())(molecules(2, 0))


def test_a_random_lift_is_refused():
    made = LieTransformer(SE3(), FEATURES, 1, lift=Haar(count=1), pooling="sum").double()
    with pytest.raises(ValueError, match="compile: LieTransformer draws random numbers"):
        CompiledStep(made, energies_and_forces())(molecules(2, 0))
