"""Energies and forces of the model: that they belong together, and that they can be learned."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from attention import Radius
from liegroups import SE3, Distance, E, InverseDistance, RadialBasis
from tasks.md17 import (
    MD17,
    ChannelwiseEnergy,
    EnergyNetwork,
    LieEnergy,
    MD17Model,
    Springs,
    SteerableEnergy,
    WeightAverage,
    element_features,
)
from tasks.md17.forces import energy_and_forces, symmetry_errors

ROOT = Path(__file__).resolve().parents[3]
STEERABLE = partial(
    SteerableEnergy, types=[0, 1], channels=4, layers=2, heads=2, hidden=8,
    neighborhood=Radius(3.0, loops=False),
)  # fmt: skip
NETWORKS = {
    "steerable": partial(STEERABLE, invariant=Distance()),
    "steerable with parity": partial(STEERABLE, invariant=RadialBasis(3.0), group=E(3)),
    "mix by heads": partial(STEERABLE, invariant=[Distance(), InverseDistance()]),
    "channelwise": partial(
        ChannelwiseEnergy, invariant=RadialBasis(3.0), channels=4, heads=2, hidden=8,
        neighborhood=Radius(3.0, loops=False),
    ),
    "channelwise, mix by heads": partial(
        ChannelwiseEnergy, invariant=[Distance(), InverseDistance()], channels=4, layers=2,
        heads=2, hidden=8, max_degree=1, neighborhood=Radius(3.0, loops=False, layout="dense"),
    ),
    "lie": partial(LieEnergy, invariant=RadialBasis(3.0), width=16, layers=2, heads=4),
    "lie, mix by heads": partial(
        LieEnergy, invariant=[Distance(), InverseDistance()], width=16, layers=1, heads=4
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    made = MD17(source=Springs(), train_frames=60, val_frames=10, test_frames=20, batch_size=12)
    made.setup()
    return made


@pytest.fixture(scope="module")
def atoms(data):
    batch = next(iter(data.val_dataloader()))
    return batch.features[:3].double(), batch.positions[:3].double()


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return NETWORKS[request.param](MD17.in_features).double().eval()


# ---- symmetry and derivatives ----------------------------------------------------------------


def test_forces_are_minus_the_slope_of_the_energy(network, atoms):
    features, positions = atoms
    _, forces = energy_and_forces(network, features, positions)
    step = 1e-4
    found = torch.zeros_like(forces)
    for atom in range(positions.shape[1]):
        for axis in range(3):
            moved = positions.clone()
            moved[:, atom, axis] += step
            above = network(features, moved)
            moved[:, atom, axis] -= 2 * step
            found[:, atom, axis] = (network(features, moved) - above) / (2 * step)
    # The error of a central difference is of second order in the step.
    torch.testing.assert_close(found, forces, rtol=1e-5, atol=1e-5 * float(forces.abs().max()))


def test_energy_is_invariant_and_forces_are_equivariant(network, atoms):
    energy, forces = symmetry_errors(network, *atoms)
    assert energy < 1e-12
    assert forces < 1e-10


def test_the_order_of_the_atoms_does_not_matter(network, atoms):
    features, positions = atoms
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    energy, forces = energy_and_forces(network, features, positions)
    again, permuted = energy_and_forces(network, features[:, order], positions[:, order])
    torch.testing.assert_close(again, energy, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(permuted, forces[:, order], rtol=1e-10, atol=1e-10)


# Five different atoms about a carbon, no two at the same distance: a molecule with a mirror image.
CHIRAL = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
CHIRAL = CHIRAL * torch.tensor([1.0, 1.1, 0.9, 1.2, 0.8])[:, None]


@pytest.mark.parametrize(
    ("make", "parity"),
    [
        (partial(STEERABLE, layers=3, group=SE3()), False),
        (partial(STEERABLE, layers=3, group=E(3)), True),
        (partial(ChannelwiseEnergy, channels=4, heads=2, hidden=8), True),
    ],
    ids=["steerable", "steerable with parity", "channelwise"],
)
def test_mirror_images_differ_where_there_is_no_parity(make, parity):
    torch.manual_seed(0)
    network = make(MD17.in_features, RadialBasis(3.0)).double().eval()
    features = element_features(torch.tensor([6, 1, 9, 17, 35]))[None].double()
    positions = CHIRAL[None].double()
    mirror = torch.tensor([1.0, 1.0, -1.0]).double()
    energy, forces = energy_and_forces(network, features, positions)
    reflected, moved = energy_and_forces(network, features, positions * mirror)
    if parity:
        torch.testing.assert_close(reflected, energy, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(moved, forces * mirror, rtol=1e-10, atol=1e-10)
    else:
        assert (reflected - energy).abs() > 1e-4 * energy.abs()


@pytest.mark.parametrize("name", ["steerable", "channelwise"])
def test_two_derivatives_go_through_the_cutoff(name):
    """An atom comes to the edge of a triangle's reach from both sides."""
    torch.manual_seed(0)
    network = NETWORKS[name](MD17.in_features).double().eval()
    features = element_features(torch.tensor([6, 8, 1, 1]))[None].double()
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
    class Height(EnergyNetwork):
        group = SE3()

        def forward(self, features, positions, generator=None):
            return positions[..., 2].square().sum(1)

    energy, forces = symmetry_errors(Height(), *atoms)
    assert energy > 0.1
    assert forces > 0.1


def test_forces_are_the_same_without_gradients_and_in_inference_mode(network, atoms):
    expected = energy_and_forces(network, *atoms)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            copies = [part.clone() for part in atoms]
            for a, b in zip(energy_and_forces(network, *copies), expected, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_forces_of_an_isolated_atom_are_zero(data):
    torch.manual_seed(0)
    network = NETWORKS["steerable"](MD17.in_features).double()
    batch = next(iter(data.val_dataloader()))
    positions = batch.positions.double().clone()
    positions[:, 8] += 50.0
    energy, forces = energy_and_forces(network, batch.features.double(), positions)
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


def model(**settings):
    torch.manual_seed(0)
    network = partial(LieEnergy, width=32, layers=2, heads=8)
    return MD17Model(RadialBasis(4.0), network, learning_rate=5e-3, **settings)


def test_a_short_training_lowers_both_errors(data, tmp_path):
    learner, run = model(), trainer(tmp_path, 40)
    learner.statistics = data.statistics
    before = run.validate(learner, datamodule=data, verbose=False)[0]
    run.fit(learner, datamodule=data)
    after = run.test(learner, datamodule=data, verbose=False)[0]
    assert after["test/mae"] < 0.5 * before["val/mae"]
    assert after["test/mae"] < 0.5 * data.force_mae_constant
    assert after["test/energy_mae"] < 0.6 * data.energy_mae_constant


def test_the_loss_is_in_units_of_the_training_frames(data):
    learner = model(energy_weight=2.0, force_weight=3.0).eval()
    learner.statistics = known = data.statistics
    batch = next(iter(data.train_dataloader()))
    energy, forces = learner(batch)
    learner.step_generator = lambda: None
    learner.log_dict = lambda *_, **__: None
    of_energy = (energy.double() - (batch.energy - known.energy_mean)) / known.energy_deviation
    of_forces = (forces - batch.forces) / known.force_rms
    expected = 2 * of_energy.square().mean() + 3 * of_forces.square().mean()
    assert float(learner.training_step(batch)) == pytest.approx(float(expected), rel=1e-4)


def test_a_recorded_training_is_the_same(tmp_path, monkeypatch):
    """Compiling what was recorded takes minutes, see test_tracing."""
    monkeypatch.setattr(torch, "compile", lambda graph: graph)
    data = MD17(source=Springs(), train_frames=20, val_frames=5, test_frames=5, batch_size=7)
    data.setup()
    assert {len(batch.energy) for batch in data.train_dataloader()} == {6, 7}
    weights = []
    for compile in (False, True):
        torch.manual_seed(0)
        network = partial(ChannelwiseEnergy, max_degree=1, channels=4, layers=2, heads=2, hidden=8)
        learner = MD17Model(RadialBasis(5.0), network, compile=compile)
        trainer(tmp_path, 2, gradient_clip_val=1.0).fit(learner, datamodule=data)
        weights.append(learner.state_dict())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-3, atol=1e-5)
    assert not torch.equal(*(each["network.network.embedding.weight"] for each in weights))


def test_energies_keep_their_digits(data):
    learner = model().eval()
    learner.statistics = data.statistics
    batch = next(iter(data.test_dataloader()))
    centered = batch.energy - data.statistics.energy_mean
    assert (learner._centered(batch).double() - centered).abs().max() < 1e-4
    total = learner.predict_step(batch)[:, 1]
    assert total.dtype == torch.float64
    torch.testing.assert_close(
        total - data.statistics.energy_mean, learner(batch)[0].double(), rtol=1e-6, atol=1e-6
    )


def test_the_average_of_the_weights_is_what_is_tested_and_kept(data, tmp_path):
    checkpoint = pl.callbacks.ModelCheckpoint(tmp_path, filename="last")
    run = trainer(tmp_path, 3, callbacks=[WeightAverage(decay=0.5), checkpoint])
    learner = model()
    run.fit(learner, datamodule=data)
    average = {name: value.clone() for name, value in learner.state_dict().items()}
    saved = torch.load(tmp_path / "last.ckpt", weights_only=False)
    name = "network.network.embedding.weight"
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
    other["md17"]["theory"] = "GFN2-xTB"
    torch.save(other, "other.ckpt")
    message = refusal("test", "--config", folder / "config.yaml", "--ckpt_path", "other.ckpt")
    assert "trained on 'GFN2-xTB'" in message


def test_a_checkpoint_gives_the_model_back(data, tmp_path, lie_attention):
    folder = Path("runs/first")
    lie_attention("fit", "--config", QUICK, *SMALL, "--run", folder)
    path = folder / "checkpoints/best.ckpt"
    loaded = MD17Model.load_from_checkpoint(path, weights_only=True).eval()
    assert loaded.statistics is not None
    assert loaded.statistics.molecule == "ethanol"
    batch = next(iter(data.test_dataloader()))
    energy, forces = loaded(batch)
    again = MD17Model.load_from_checkpoint(path, weights_only=True).eval()(batch)
    assert torch.equal(energy, again[0])
    assert torch.equal(forces, again[1])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["--data.molecule=water"], ["ethanol alone", "'water'"]),
        (["--data.split=9"], ["split", "9", "1 to 5"]),
        (["--model.network.heads=3"], ["heads", "3"]),
        (["--model.force_weight=-1"], ["force_weight", "-1"]),
        (["--data.source=RMD17", "--data.source.folder=none"], ["no folder none"]),
        (["--data.source=RMD71"], ["'RMD71'", "accepted: RMD17, XTB, Springs", "MySource"]),
        (
            ["--model.network=Steerable"],
            ["'Steerable'", "accepted: ChannelwiseEnergy, LieEnergy, SteerableEnergy"],
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
        "one": ["--model.invariant=[Distance, InverseDistance]"],
        "two": ["--model.network=LieEnergy", "--model.network.width=16"],
    }.items():
        kept = SMALL if folder == "one" else SMALL[:-2]
        lie_attention(
            "fit", "--config", QUICK, *kept, *settings, "--trainer.max_epochs=1", "--run", folder
        )
        assert json.loads((Path(folder) / "metrics.json").read_text())["test/mae"] > 0


def test_an_untrained_model_does_not_predict(data):
    with pytest.raises(ValueError, match="has not been trained"):
        model()(next(iter(data.test_dataloader())))


def test_a_resumed_run_ends_like_an_uninterrupted_one(lie_attention, monkeypatch, capsys):
    settings = ["fit", "--config", QUICK, *SMALL, "--trainer.max_epochs=3"]
    lie_attention(*settings, "--run", "whole")
    steps, step = iter(range(1000)), MD17Model.training_step

    def interrupted(self, batch):
        if next(steps) == 6:  # Within the second of three epochs of four batches.
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(MD17Model, "training_step", interrupted)
        with pytest.raises(SystemExit):
            lie_attention(*settings, "--run", "part")
    lie_attention("fit", "--resume", "part")
    ends = [
        torch.load(Path(folder) / "checkpoints/last.ckpt", weights_only=True)
        for folder in ("whole", "part")
    ]
    for kept in ("state_dict", "current_model_state"):
        for name, expected in ends[0][kept].items():
            torch.testing.assert_close(ends[1][kept][name], expected, rtol=0, atol=0)
