"""A training step that is recorded and compiled, against autograd."""

import pytest
import torch
from torch.nn.functional import mse_loss

from attention import Radius
from liegroups import SE3, Haar, RadialBasis
from tasks.md17 import ChannelwiseEnergy, EnergyNetwork, LieEnergy, SteerableEnergy
from tasks.md17.forces import energy_and_forces
from tasks.md17.tracing import CompiledStep, trace

FEATURES = 12


def loss(energy, forces, energies, target):
    return 2 * mse_loss(energy, energies) + 3 * mse_loss(forces, target)


def network(frozen=True):
    torch.manual_seed(0)
    made = ChannelwiseEnergy(
        FEATURES,
        RadialBasis(2.0),
        max_degree=1,
        channels=4,
        heads=2,
        layers=2,
        hidden=4,
        neighborhood=Radius(2.0, loops=False),
    ).double()
    made.network.embedding.requires_grad_(not frozen)
    return made


def batch(count, seed):
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    # Features that are one row seen by all frames, as those of a loader are.
    return (
        draw(5, FEATURES).expand(count, -1, -1),
        draw(count, 5, 3),
        draw(count),
        draw(count, 5, 3),
    )


def check(step, made, count, seed):
    """The step gives what autograd does, for the weights of the moment."""
    made.zero_grad()
    features, positions, *targets = batch(count, seed)
    energy, forces = energy_and_forces(made, features, positions, create_graph=True)
    expected = loss(energy, forces, *targets)
    expected.backward()
    gradients = [w.grad for w in made.parameters()]
    made.zero_grad()
    found, *outputs = step(features, positions, *targets)
    (7 * found).backward()
    torch.testing.assert_close([found, *outputs], [expected, energy, forces])
    for weight, gradient in zip(made.parameters(), gradients, strict=True):
        assert weight.requires_grad == (weight.grad is not None)
        if weight.requires_grad:
            gradient = torch.zeros_like(weight) if gradient is None else gradient
            torch.testing.assert_close(weight.grad, 7 * gradient)


def steps(made):
    """Twice at one size, once at another, with other weights each time."""
    step = CompiledStep(made, loss)
    for seed, count in enumerate((3, 3, 2)):
        check(step, made, count, seed)
        with torch.no_grad():
            for weight in made.parameters():
                weight += 0.1 * torch.randn_like(weight)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_recorded_step_has_the_gradients_of_autograd(monkeypatch, frozen):
    monkeypatch.setattr(torch, "compile", lambda graph: graph)
    steps(network(frozen))


@pytest.mark.slow
def test_a_compiled_step_has_the_gradients_of_autograd():
    steps(network())


@pytest.mark.parametrize("kind", [SteerableEnergy, ChannelwiseEnergy])
def test_recorded_energies_and_forces_are_those_of_the_network(kind):
    """Also for positions with other neighbors than those that it was recorded with."""
    torch.manual_seed(0)
    made = kind(FEATURES, RadialBasis(3.0), neighborhood=Radius(3.0, loops=False)).double().eval()
    features, positions, *_ = batch(1, 0)
    recorded = trace(made, features)
    for scale in (1, 0.5, 2, 10):
        expected = energy_and_forces(made, features, scale * positions)
        torch.testing.assert_close(recorded(scale * positions), expected)


class Shaking(EnergyNetwork):
    """Draws a random number at every call."""

    group = SE3()

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, features, positions, generator=None):
        return self.weight * (positions + torch.rand_like(positions)).square().sum((1, 2))


def test_random_numbers_are_refused():
    with pytest.raises(ValueError, match="compile: Shaking draws random numbers"):
        CompiledStep(Shaking(), loss)(*batch(2, 0))


def test_a_lift_that_looks_at_values_is_refused():
    made = LieEnergy(FEATURES, RadialBasis(2.0), lift=Haar(count=1)).double()
    with pytest.raises(ValueError, match="compile: LieEnergy cannot be recorded"):
        CompiledStep(made, loss)(*batch(2, 0))
