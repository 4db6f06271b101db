"""Energies and forces of the model: that they belong together, and that they can be learned."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from attention import LieTransformer, Network, Radius
from attention.steerable import ChannelwiseTransformer, SteerableTransformer
from liegroups import SE3, Distance, E, Equivariance, InverseDistance, RadialBasis
from tasks.data.clouds import one_hot
from tasks.objectives import EnergiesAndForces
from tasks.objectives.base import Facts
from tasks.objectives.gradients import energy_and_forces, energy_of, symmetry_errors
from tasks.sources.md17 import ELEMENTS, MD17, Springs
from tasks.training import Model, WeightAverage

ROOT = Path(__file__).resolve().parents[3]
STEERABLE = partial(
    SteerableTransformer, pooling="sum", types=[0, 1], channels=4, layers=2, heads=2, hidden=8,
    neighborhood=Radius(3.0, loops=False),
)  # fmt: skip
LIE = partial(LieTransformer, SE3(), width=16, heads=4, pooling="sum")
NETWORKS = {
    "steerable": partial(STEERABLE, invariant=Distance()),
    "steerable with parity": partial(STEERABLE, invariant=RadialBasis(3.0), group=E(3)),
    "mix by heads": partial(STEERABLE, invariant=[Distance(), InverseDistance()]),
    "channelwise": partial(
        ChannelwiseTransformer, invariant=RadialBasis(3.0), channels=4, heads=2, hidden=8,
        pooling="sum", neighborhood=Radius(3.0, loops=False),
    ),
    "channelwise, mix by heads": partial(
        ChannelwiseTransformer, invariant=[Distance(), InverseDistance()], channels=4, layers=2,
        heads=2, hidden=8, pooling="sum", max_degree=1,
        neighborhood=Radius(3.0, loops=False, layout="dense"),
    ),
    "lie": partial(LIE, invariant=RadialBasis(3.0), layers=2),
    "lie, mix by heads": partial(LIE, invariant=[Distance(), InverseDistance()], layers=1),
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    made = MD17(source=Springs(), train_frames=60, val_frames=10, test_frames=20, batch_size=12)
    made.setup()
    return made


@pytest.fixture(scope="module")
def atoms(data):
    batch = next(iter(data.val_dataloader()))
    return batch.features[:3].double(), batch.points[:3].double()


def make(name):
    return NETWORKS[name](in_features=MD17.in_features, out_features=1).double().eval()


def forces_of(network, features, positions):
    return energy_and_forces(energy_of(network, features), positions)


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return make(request.param)


# ---- symmetry and derivatives ----------------------------------------------------------------


def test_forces_are_minus_the_slope_of_the_energy(network, atoms):
    features, positions = atoms
    _, forces = forces_of(network, features, positions)
    step = 1e-4
    found = torch.zeros_like(forces)
    for atom in range(positions.shape[1]):
        for axis in range(3):
            moved = positions.clone()
            moved[:, atom, axis] += step
            above = network(features, moved)[:, 0]
            moved[:, atom, axis] -= 2 * step
            found[:, atom, axis] = (network(features, moved)[:, 0] - above) / (2 * step)
    # The error of a central difference is of second order in the step.
    torch.testing.assert_close(found, forces, rtol=1e-5, atol=1e-5 * float(forces.abs().max()))


def test_energy_is_invariant_and_forces_are_equivariant(network, atoms):
    energy, forces = symmetry_errors(network, *atoms)
    assert energy < 1e-12
    assert forces < 1e-10


def test_the_order_of_the_atoms_does_not_matter(network, atoms):
    features, positions = atoms
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    energy, forces = forces_of(network, features, positions)
    again, permuted = forces_of(network, features[:, order], positions[:, order])
    torch.testing.assert_close(again, energy, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(permuted, forces[:, order], rtol=1e-10, atol=1e-10)


# Five different atoms about a carbon, no two at the same distance: a molecule with a mirror image.
CHIRAL = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
CHIRAL = CHIRAL * torch.tensor([1.0, 1.1, 0.9, 1.2, 0.8])[:, None]


@pytest.mark.parametrize(
    ("kind", "parity"),
    [
        (partial(STEERABLE, layers=3, group=SE3()), False),
        (partial(STEERABLE, layers=3, group=E(3)), True),
        (partial(ChannelwiseTransformer, channels=4, heads=2, hidden=8, pooling="sum"), True),
    ],
    ids=["steerable", "steerable with parity", "channelwise"],
)
def test_mirror_images_differ_where_there_is_no_parity(kind, parity):
    torch.manual_seed(0)
    network = kind(
        in_features=MD17.in_features, out_features=1, invariant=RadialBasis(3.0)
    ).double().eval()  # fmt: skip
    features = torch.from_numpy(one_hot(ELEMENTS)[[6, 1, 9, 17, 35]])[None].double()
    positions = CHIRAL[None].double()
    mirror = torch.tensor([1.0, 1.0, -1.0]).double()
    energy, forces = forces_of(network, features, positions)
    reflected, moved = forces_of(network, features, positions * mirror)
    if parity:
        torch.testing.assert_close(reflected, energy, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(moved, forces * mirror, rtol=1e-10, atol=1e-10)
    else:
        assert (reflected - energy).abs() > 1e-4 * energy.abs()


@pytest.mark.parametrize("name", ["steerable", "channelwise"])
def test_two_derivatives_go_through_the_cutoff(name):
    """An atom comes to the edge of a triangle's reach from both sides."""
    torch.manual_seed(0)
    network = make(name)
    features = torch.from_numpy(one_hot(ELEMENTS)[[6, 8, 1, 1]])[None].double()
    triangle = torch.tensor([[0.0, 0, 0], [-1.2, 0, 0], [0, -1.0, 0.3]]).double()

    def jet(reach):
        """The energy and its first two derivatives."""
        distance = torch.tensor(reach, dtype=torch.float64, requires_grad=True)
        far = torch.stack((distance, 0 * distance, 0 * distance))
        energy = network(features, torch.cat((triangle, far[None]))[None]).sum()
        found = [energy]
        for _ in range(2):
            known = found[-1].requires_grad
            given = torch.autograd.grad(found[-1], distance, create_graph=True) if known else [0]
            found.append(torch.as_tensor(given[0]).double())
        return torch.stack(found).detach()

    near, inside, outside = jet(2.5), jet(3.0 - 1e-7), jet(3.0 + 1e-7)
    torch.testing.assert_close(inside, outside, rtol=0, atol=1e-3 * float(near.abs().max()))
    assert (near - outside).abs().max() > 1e-2


def test_broken_symmetry_is_measured(atoms):
    class Height(Network):
        space = SE3().default_space()
        equivariance = Equivariance.EXACT
        in_features, out_features, is_per_point, pooling = 12, 1, False, "sum"

        def forward(self, features, points, mask=None, *, edges=None, generator=None):
            return points[..., 2].square().sum(1)[:, None]

    energy, forces = symmetry_errors(Height(), *atoms)
    assert energy > 0.1
    assert forces > 0.1


def test_forces_are_the_same_without_gradients_and_in_inference_mode(network, atoms):
    expected = forces_of(network, *atoms)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            copies = [part.clone() for part in atoms]
            for a, b in zip(forces_of(network, *copies), expected, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_forces_of_an_isolated_atom_are_zero(data):
    torch.manual_seed(0)
    network = make("steerable")
    batch = next(iter(data.val_dataloader()))
    positions = batch.points.double().clone()
    positions[:, 8] += 50.0
    energy, forces = forces_of(network, batch.features.double(), positions)
    assert energy.isfinite().all()
    assert (forces[:, 8] == 0).all()


# ---- training --------------------------------------------------------------------------------


def trainer(folder, epochs, **settings):
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def model(network=None, **settings):
    torch.manual_seed(0)
    lie = partial(LIE, invariant=RadialBasis(4.0), width=32, layers=2, heads=8)
    made = Model(
        network or lie, partial(EnergiesAndForces, **settings), learning_rate=5e-3,
        in_features=MD17.in_features, point_dim=3,
    )  # fmt: skip
    return made


def trained(data, **settings):
    learner = model(**settings)
    learner.objective.learn_from(data)
    learner.is_trained = True
    return learner


def test_a_short_training_lowers_both_errors(data, tmp_path):
    learner, run = trained(data), trainer(tmp_path, 40)
    before = run.validate(learner, datamodule=data, verbose=False)[0]
    run.fit(learner, datamodule=data)
    run.test(learner, datamodule=data, verbose=False)
    after = learner.results()
    assert after["test/mae"] < 0.5 * before["val/mae"]
    assert after["test/mae"] < 0.5 * after["test/mae_constant"]
    assert after["test/energy_mae"] < 0.6 * after["test/energy_mae_constant"]
    forces = Springs().load("ethanol").forces[data.split.test]
    assert after["test/mae_constant"] == pytest.approx(np.abs(forces).mean())


@pytest.mark.parametrize("energies", ["atoms", "deviation"])
def test_the_loss_is_in_units_of_the_training_frames(data, energies):
    learner = trained(data, energy_weight=2.0, force_weight=3.0, energies=energies).eval()
    frames, rows = Springs().load("ethanol"), data.split.train
    batch = next(iter(data.train_dataloader()))
    energy, forces = learner(batch)
    size = np.sqrt(np.square(frames.forces[rows]).mean())
    atoms = len(frames.charges)
    unit = {"atoms": atoms * size, "deviation": frames.energies[rows].std()}[energies]
    of_energy = energy.double() - (batch.targets[:, 0] - frames.energies[rows].mean())
    of_forces = (forces - batch.point_targets) / size
    expected = 2 * (of_energy / unit).square().mean() + 3 * of_forces.square().mean()
    loss, _ = learner.objective.loss(learner.network, batch)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


def test_the_second_stage_has_another_weight_of_the_energy(data):
    learner = trained(data, energy_weight=2.0, late_energy_weight=5.0, late=0.5).eval()
    objective, batch = learner.objective, next(iter(data.train_dataloader()))

    def loss(progress):
        objective.at(progress)
        return float(objective.loss(learner.network, batch)[0])

    first, second = loss(0.49), loss(0.5)
    energy, _ = learner(batch)
    error = (energy.double() - objective._centered(batch)) / 9 / objective.force_rms
    assert second - first == pytest.approx(3 * float(error.square().mean()), rel=1e-3)
    assert loss(0.0) == first
    assert loss(0.99) == second


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"energies": "molecules"}, "energies: 'molecules'; accepted: atoms or deviation"),
        ({"late": 1.0}, "late: 1.0"),
        ({"late_energy_weight": -1.0}, "late_energy_weight: -1.0"),
    ],
)
def test_settings_of_the_loss_that_cannot_be(settings, words):
    with pytest.raises(ValueError, match=words):
        EnergiesAndForces(Facts(12, 1), **settings)


def test_a_mean_over_the_atoms_is_refused():
    with pytest.raises(ValueError, match=r"an energy is a sum.*pooling sum"):
        model(partial(LieTransformer, SE3(), pooling="mean"))


def test_a_recorded_training_is_the_same(tmp_path, monkeypatch):
    """Compiling what was recorded takes minutes, see training/test_compiled."""
    monkeypatch.setattr(torch, "compile", lambda graph: graph)
    data = MD17(source=Springs(), train_frames=20, val_frames=5, test_frames=5, batch_size=7)
    data.setup()
    assert {len(batch.ids) for batch in data.train_dataloader()} == {6, 7}
    weights = []
    for compile in (False, True):
        learner = model(NETWORKS["channelwise, mix by heads"])
        learner.compile_network = compile
        trainer(tmp_path, 2, gradient_clip_val=1.0).fit(learner, datamodule=data)
        weights.append(learner.state_dict())
        recorded = learner._step
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-5)
    assert len(recorded._made) == 2


def test_energies_keep_their_digits(data):
    learner = trained(data).eval()
    batch = next(iter(data.test_dataloader()))
    mean = learner.objective.energy_mean
    centered = batch.targets[:, 0] - mean
    kept = learner.objective.keep(learner(batch), batch)[0]
    assert (kept.double() - centered).abs().max() < 1e-4
    total = learner.predict_step(batch)[:, 1]
    assert total.dtype == torch.float64
    torch.testing.assert_close(total - mean, learner(batch)[0].double(), rtol=1e-6, atol=1e-6)


def test_the_average_of_the_weights_is_what_is_tested_and_kept(data, tmp_path):
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, filename="last")
    run = trainer(tmp_path, 3, callbacks=[WeightAverage(decay=0.5), checkpoint])
    learner = model()
    run.fit(learner, datamodule=data)
    average = {name: value.clone() for name, value in learner.state_dict().items()}
    saved = torch.load(tmp_path / "last.ckpt", weights_only=False)
    name = "network.embedding.weight"
    assert torch.equal(saved["state_dict"][name], average[name])
    assert not torch.equal(saved["current_model_state"][name], average[name])
    run.test(
        learner,
        datamodule=data,
        ckpt_path=str(tmp_path / "last.ckpt"),
        weights_only=False,
        verbose=False,
    )
    assert torch.equal(learner.state_dict()[name], average[name])


# ---- the command line ------------------------------------------------------------------------

SMALL = [
    "--data.source=Springs",
    "--data.source.frames=100",
    "--data.train_frames=32",
    "--data.val_frames=8",
    "--data.test_frames=20",
    "--trainer.max_epochs=2",
    "--trainer.enable_progress_bar=false",
    "--model.network.types=[0, 1]",
    "--model.network.channels=4",
]
QUICK = str(ROOT / "tasks/configs/md17/quick.yaml")


def test_a_run_is_trained_tested_and_taken_up_again(lie_attention, refusal, capsys):
    folder = Path("runs/first")
    lie_attention("fit", "--config", QUICK, *SMALL, "--run", folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["unit"], metrics["energy_unit"]) == ("meV/Å", "meV")
    assert metrics["test/frames"] == 20
    assert metrics["equivariance/energy_error"] < 1e-10
    assert metrics["equivariance/force_error"] < 1e-10
    for name in ("learning_curve.png", "parity_energy.png", "parity_forces.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert f"forces {metrics['test/mae']:.4g} meV/Å" in capsys.readouterr().out

    lie_attention("test", "--run", folder)
    again = json.loads((folder / "metrics.json").read_text())
    for name in ("test/mae", "test/energy_mae"):
        assert again[name] == pytest.approx(metrics[name], rel=1e-4)

    lie_attention("predict", "--run", folder)
    header, *lines = (folder / "predictions.csv").read_text().splitlines()
    assert header.startswith("frame,energy (meV),force x of atom 0 (meV/Å)")
    table = np.array([[float(x) for x in line.split(",")] for line in lines])
    assert table.shape == (20, 2 + 27)
    frames = Springs().load("ethanol")
    rows = table[:, 0].astype(int)
    error = np.abs(table[:, 2:] - frames.forces[rows].reshape(20, 27)).mean()
    assert error == pytest.approx(metrics["test/mae"], rel=1e-3)
    error = np.abs(table[:, 1] - frames.energies[rows]).mean()
    assert error == pytest.approx(metrics["test/energy_mae"], rel=1e-3)

    other = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    other["objective"]["extra"]["molecule"]["theory"] = "GFN2-xTB"
    torch.save(other, "other.ckpt")
    message = refusal("test", "--config", folder / "config.yaml", "--ckpt_path", "other.ckpt")
    assert "trained on 'GFN2-xTB'" in message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["--data.molecule=water"], ["ethanol alone", "'water'"]),
        (["--data.split=9"], ["split", "9", "1 to 5"]),
        (["--model.network.heads=3"], ["heads", "3"]),
        (["--model.objective.force_weight=-1"], ["force_weight", "-1"]),
        (["--data.source=RMD17", "--data.source.folder=none"], ["no folder none"]),
        (["--data.source=RMD71"], ["'RMD71'", "accepted: RMD17, XTB, Springs", "MySource"]),
        (
            ["--model.network=Steerabel"],
            ["'Steerabel'", "LieTransformer, ChannelwiseTransformer"],
        ),
    ],
    ids=lambda value: value[-1],
)
def test_a_wrong_setting_is_named(refusal, settings, words):
    message = refusal("fit", "--config", QUICK, *SMALL, *settings)
    for word in words:
        assert word in message
    assert not Path("runs").exists()


def test_the_invariant_and_the_network_are_named_on_the_command_line(lie_attention):
    for folder, settings in {
        "one": ["--model.network.invariant=[Distance, InverseDistance]"],
        "two": [
            "--model.network=LieTransformer",
            "--model.network.group=SE3",
            "--model.network.pooling=sum",
        ],
    }.items():
        kept = SMALL if folder == "one" else SMALL[:-2]
        lie_attention(
            "fit", "--config", QUICK, *kept, *settings, "--trainer.max_epochs=1", "--run", folder
        )
        assert json.loads((Path(folder) / "metrics.json").read_text())["test/mae"] > 0
