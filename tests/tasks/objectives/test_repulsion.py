"""The repulsion of nuclei, and energies that are smooth, extensive, and finite everywhere."""

from functools import partial
from math import exp
from pathlib import Path

import pytest
import torch
import yaml

from attention import Radius
from attention.steerable import ChannelwiseTransformer
from liegroups import Bessel, RadialBasis
from tasks.data.clouds import one_hot
from tasks.objectives import EnergiesAndForces
from tasks.objectives.gradients import energy_and_forces, energy_of
from tasks.objectives.repulsion import repulsion_energy
from tasks.sources.md17 import ELEMENTS, MD17, Springs
from tasks.training import Model

ROOT = Path(__file__).resolve().parents[3]


def zbl(z1, z2, r):
    """The universal potential in meV, with constants in units of electronvolts and Ångström."""
    a = 0.46850 / (z1**0.23 + z2**0.23)
    terms = [(0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.02817, 0.20162)]
    return 1000 * 14.3996 * z1 * z2 / r * sum(c * exp(-d * r / a) for c, d in terms)


@pytest.mark.parametrize(("z1", "z2", "radii"), [(6, 8, 0.76 + 0.66), (1, 1, 0.62)])
def test_it_is_the_universal_potential_under_an_envelope(z1, z2, radii):
    charges = torch.tensor([[z1, z2]])
    for r in (0.4, 0.9, 1.3, 2.0):
        positions = torch.tensor([[[0.0, 0, 0], [0, 0, r]]], dtype=torch.float64)
        u = r / radii
        envelope = 1 - 28 * u**6 + 48 * u**7 - 21 * u**8 if u < 1 else 0
        found = float(repulsion_energy(charges, positions)[0])
        assert found == pytest.approx(envelope * zbl(z1, z2, r), rel=2e-3, abs=1e-9)


def test_it_is_smooth_at_its_end_and_finite_at_the_origin():
    charges = torch.tensor([[6, 1]])
    end = 0.76 + 0.31

    def energy(r):
        at = torch.stack((torch.zeros_like(r), torch.zeros_like(r), r), -1)
        return repulsion_energy(charges, torch.stack((torch.zeros(3).double(), at))[None])[0]

    for r in (end - 1e-6, end + 1e-6):
        value = torch.tensor(r, dtype=torch.float64)
        first = torch.func.grad(energy)(value)
        second = torch.func.grad(torch.func.grad(energy))(value)
        assert abs(float(first)) < 1e-2
        assert abs(float(second)) < 10
    positions = torch.zeros(1, 3, 3, dtype=torch.float64, requires_grad=True)
    value = repulsion_energy(torch.tensor([[6, 1, 1]]), positions).sum()
    (gradient,) = torch.autograd.grad(value, positions)
    assert value.isfinite() and gradient.isfinite().all()


def test_padding_repels_nothing():
    torch.manual_seed(0)
    positions, charges = 0.3 * torch.randn(2, 4, 3), torch.tensor([[6, 1, 8, 1], [1, 7, 1, 6]])
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    masked = repulsion_energy(charges, positions, mask)
    alone = repulsion_energy(charges[1:, :3], positions[1:, :3])
    torch.testing.assert_close(masked[1:], alone)
    torch.testing.assert_close(masked[:1], repulsion_energy(charges[:1], positions[:1]))


@pytest.fixture(scope="module")
def model():
    data = MD17(source=Springs(), train_frames=20, val_frames=4, test_frames=4)
    data.setup()
    torch.manual_seed(0)
    made = Model(
        partial(
            ChannelwiseTransformer,
            invariant=RadialBasis(5.0),
            channels=4,
            heads=2,
            layers=2,
            hidden=8,
            pooling="sum",
        ),
        partial(EnergiesAndForces, repulsion=True),
        in_features=MD17.in_features,
        kinds=list(MD17.kinds.values()),
        point_dim=3,
    )
    made.objective.learn_from(data)
    return made.eval(), data


def test_it_is_part_of_energies_and_forces(model):
    made, data = model
    batch = next(iter(data.val_dataloader()))
    energy, forces = made.objective.predict(made.network, batch)
    plain = energy_of(made.network, batch.features, batch.mask, scale=made.objective.scale)
    without, _ = energy_and_forces(plain, batch.points)
    numbers = list(ELEMENTS.values())
    charges = torch.tensor(
        [[numbers[int(row.argmax())] for row in cloud] for cloud in batch.features]
    )
    own = repulsion_energy(charges, batch.points, batch.mask)
    torch.testing.assert_close(energy, without * made.objective.force_rms + own)
    assert own.min() >= 0
    shifted = batch.points.clone()
    shifted[:, 0, 0] += 1e-3
    higher, _ = made.objective.predict(made.network, batch._replace(points=shifted))
    slope = (higher - energy) / 1e-3
    assert torch.allclose(slope, -forces[:, 0, 0], rtol=0.05, atol=0.02 * float(forces.abs().max()))


def test_energies_of_atoms_on_top_of_each_other_are_finite_and_forces_push_apart(model):
    made, _ = model
    features = torch.from_numpy(one_hot(ELEMENTS)[[6, 1]])[None]
    for distance in (0.0, 0.05, 0.3, 0.6):
        positions = torch.tensor([[[0.0, 0, 0], [0, 0, distance]]])
        function = made.objective.energy(made.network, features)
        energy, forces = energy_and_forces(function, positions)
        assert energy.isfinite().all() and forces.isfinite().all()
        if distance > 0.05:
            assert forces[0, 1, 2] > 0 > forces[0, 0, 2]


@pytest.fixture(scope="module")
def accurate():
    config = yaml.safe_load((ROOT / "tasks/configs/md17/accurate.yaml").read_text())
    settings = config["model"]["network"]["init_args"]
    torch.manual_seed(0)
    network = ChannelwiseTransformer(
        MD17.in_features,
        1,
        RadialBasis(settings["invariant"]["init_args"]["radius"], Bessel(8)),
        neighborhood=Radius(**settings["neighborhood"]["init_args"]),
        **{
            k: settings[k]
            for k in ("max_degree", "channels", "layers", "heads", "pooling", "bounded")
        },
    )
    return network.double().eval()


def test_the_accurate_network_is_extensive(accurate):
    torch.manual_seed(1)
    kinds = one_hot(ELEMENTS)
    features = [torch.from_numpy(kinds[z])[None].double() for z in ([8, 1, 1], [6, 1, 1, 1, 1])]
    points = [torch.randn(1, f.shape[1], 3, dtype=torch.float64) for f in features]
    alone = sum(accurate(f, x) for f, x in zip(features, points, strict=True))
    far = torch.cat((points[0], points[1] + 100.0), 1)
    torch.testing.assert_close(accurate(torch.cat(features, 1), far), alone)


def test_the_accurate_network_is_smooth_where_an_atom_leaves_the_radius(accurate):
    """Value, force and its derivative run on, as the envelope's do."""
    features = torch.from_numpy(one_hot(ELEMENTS)[[6, 1, 1, 8]])[None].double()
    begin = torch.tensor([[[0.0, 0, 0], [1.0, 0, 0], [0, 1.1, 0], [0, 0, 0]]]).double()
    axis = torch.zeros(1, 4, 3, dtype=torch.float64)
    axis[0, 3, 2] = 1

    def energy(z):
        return accurate(features, begin + z * axis)[0, 0]

    force = torch.func.grad(energy)
    before, after = (torch.tensor(5.0 + s, dtype=torch.float64) for s in (-1e-4, 1e-4))
    assert float((energy(before) - energy(after)).abs()) < 1e-6
    assert float((force(before) - force(after)).abs()) < 1e-5
    stiffness = torch.func.grad(force)
    assert float((stiffness(before) - stiffness(after)).abs()) < 1e-2
