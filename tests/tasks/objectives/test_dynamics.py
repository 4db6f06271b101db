"""Training on trajectories, and the commands."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from attention import Count, LieTransformer, LinearLocation, LinearReadout, Network, Product
from liegroups import T2, AlgebraNorm, Equivariance, Trivial
from tasks.objectives import HamiltonianDynamics
from tasks.sources.trajectories import DynamicsData
from tasks.systems import Planets, RollOut, Slope, Springs
from tasks.training import Model

ROOT = Path(__file__).resolve().parents[3]
QUICK = str(ROOT / "tasks/configs/dynamics/quick.yaml")
SMALL = [
    "--model.optimizer=adamw",
    "--trainer.precision=32-true",
    "--data.train_systems=24",
    "--data.val_systems=8",
    "--data.test_systems=6",
    "--data.batch_size=8",
    "--data.repeats=1",
    "--trainer.max_epochs=2",
    "--trainer.enable_progress_bar=false",
    "--model.network.width=16",
    "--model.network.heads=4",
]
NETWORK = partial(
    LieTransformer,
    T2(),
    invariant=AlgebraNorm(),
    kernel=partial(Product, location=LinearLocation),
    normalizer=Count(),
    head=LinearReadout,
    width=16,
    layers=1,
    heads=4,
)


def model(network=NETWORK, optimizer="adamw", learning_rate=3e-3, **objective):
    torch.manual_seed(0)
    made = partial(HamiltonianDynamics, **{"feature_scale": 0.1, **objective})
    return Model(
        network, made, optimizer, learning_rate, in_features=2, outputs=4, point_dim=2, max_points=6
    )


def results_of(learner, parts, run):
    run.test(learner, datamodule=parts, verbose=False)
    return learner.results()


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("dynamics")


def data(cache, **settings):
    counts = {"train_systems": 20, "val_systems": 10, "test_systems": 20, "batch_size": 10}
    return DynamicsData(**(counts | settings), folder=str(cache))


def trainer(folder, epochs, **settings):
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **settings,
    )


# ---- training --------------------------------------------------------------------------------


def test_a_short_training_lowers_both_errors(cache, tmp_path):
    learner = model(loss=Slope(), optimizer="lbfgs")
    parts = data(cache, train_systems=10, test_systems=10)
    run = trainer(tmp_path, 5, precision="64-true")
    run.fit(learner, datamodule=parts)
    found = results_of(learner, parts, run)
    short, long = parts.still_error
    assert found["test/mse_5"] < 1e-3 * short
    assert found["test/mse_100"] < 0.1 * long


@pytest.mark.slow
def test_roll_outs_train_too(cache, tmp_path):
    learner = model(loss=RollOut(), learning_rate=1e-2)
    parts = data(cache, repeats=20, test_systems=10)
    run = trainer(tmp_path, 4, gradient_clip_val=10.0)
    run.fit(learner, datamodule=parts)
    found = results_of(learner, parts, run)
    assert found["test/mse_5"] < 0.5 * parts.still_error[0]


def test_a_perfect_model_has_the_error_of_the_integrator_alone(cache, tmp_path):
    class Exact(Network):
        """The potential of the springs."""

        equivariance = Equivariance.NONE
        in_features, out_features, is_per_point, pooling = 2, 1, False, "sum"

        def __init__(self, **sizes):
            super().__init__()
            self.space = Trivial(2).default_space()
            self.unused = torch.nn.Linear(1, 1)

        def forward(self, features, points, mask=None, *, edges=None, generator=None):
            return Springs().potential(points, features)[:, None]

    parts, learner = data(cache), model(Exact, feature_scale=1.0).double()
    learner.objective.learn_from(parts)
    learner.is_trained = True
    found = results_of(learner, parts, trainer(tmp_path, 1))
    # In single precision; Runge-Kutta steps of 0.01 leave 4e-11 and 2e-8.
    assert found["test/mse_5"] < 1e-9
    assert found["test/mse_100"] < 1e-6
    drifts = {k: v for k, v in found.items() if k.startswith("drift/")}
    assert set(drifts) == {
        "drift/energy",
        "drift/momentum",
        "drift/angular_momentum",
        "drift/learned_energy",
    }
    assert max(drifts.values()) < 1e-4


def test_errors_are_means_over_systems_and_points(cache, tmp_path):
    parts, learner = data(cache), model()
    learner.objective.learn_from(parts)
    learner.is_trained = True
    found = results_of(learner, parts, trainer(tmp_path, 1))
    test = parts.part("test")
    batch = next(iter(parts.test_dataloader()))
    (predicted,) = learner.eval()(learner.cast(batch))
    predicted = predicted.detach()
    error = (predicted.double() - test.states).square()
    assert found["test/mse_100"] == pytest.approx(float(error.mean()), rel=1e-3)
    assert found["test/mse_5"] == pytest.approx(float(error[:, :5].mean()), rel=1e-3)


# ---- data ------------------------------------------------------------------------------------


def test_batches_go_through_all_systems_in_an_order_of_their_own(cache):
    parts = data(cache, train_systems=23, repeats=2)
    parts.setup("fit")
    loader = parts.train_dataloader()
    assert len(loader) == 6
    epochs = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        rows = torch.cat([batch.ids for batch in loader])
        assert sorted(rows.tolist()) == sorted([*range(23)] * 2)
        epochs.append(rows)
    assert not torch.equal(*epochs)
    assert not torch.equal(epochs[0][:23], epochs[0][23:])


def test_test_systems_do_not_depend_on_the_seed(cache):
    first, second = data(cache, seed=0), data(cache, seed=5)
    for part, same in (("train", False), ("val", False), ("test", True)):
        for each in (first, second):
            each.setup()
        assert torch.equal(first.part(part).states, second.part(part).states) == same


def test_a_stage_makes_what_it_needs(tmp_path):
    parts = data(tmp_path)
    parts.setup("test")
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    with pytest.raises(RuntimeError, match="setup"):
        parts.part("train")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train_systems": 0}, "train_systems: 0"),
        ({"chunk": 1}, "chunk: 1"),
        ({"seed": -1}, "seed: -1"),
        ({"system": Springs(points=60)}, "system.points: 60"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        DynamicsData(**settings)


def test_data_of_another_system_and_stretches_too_short_are_refused(cache, tmp_path):
    learner = model()
    learner.objective.learn_from(data(cache))
    learner.is_trained = True
    with pytest.raises(ValueError, match=r"data.system is Planets.*trained on Springs"):
        trainer(tmp_path, 1).fit(learner, datamodule=data(cache, system=Planets()))
    with pytest.raises(ValueError, match=r"data.chunk: 4 points; Slope needs 5"):
        model(loss=Slope()).check_points(data(cache, chunk=4))
    with pytest.raises(ValueError, match=r"batch_size: 10; lbfgs needs all 20"):
        trainer(tmp_path, 1).fit(model(optimizer="lbfgs"), datamodule=data(cache))


# ---- the command line ------------------------------------------------------------------------


@pytest.fixture
def command_cache(cache):
    return cache


def test_a_run_is_trained_tested_and_taken_up_again(lie_attention, refusal, capsys):
    folder = Path("runs/first")
    lie_attention("fit", "--config", QUICK, *SMALL, "--run", folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["system"] == "Springs"
    assert (metrics["train/systems"], metrics["test/systems"]) == (24, 6)
    assert 0 < metrics["test/mse_5"] < metrics["test/mse_100"]
    assert metrics["reference/energy_drift"] < 1e-11
    assert metrics["drift/momentum"] < 1e-5
    for name in ("learning_curve", "trajectories", "error", "conserved"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "Roll-out error on 6 systems of Springs" in capsys.readouterr().out

    lie_attention("test", "--run", folder)
    again = json.loads((folder / "metrics.json").read_text())
    for name in ("test/mse_5", "test/mse_100"):
        assert again[name] == pytest.approx(metrics[name], rel=1e-4)

    lie_attention("predict", "--run", folder)
    header, *lines = (folder / "predictions.csv").read_text().splitlines()
    assert header.startswith("system,position x of particle 0,position y of particle 0")
    table = np.array([[float(x) for x in line.split(",")] for line in lines])
    assert table.shape == (6, 1 + 24)
    assert np.isfinite(table).all()

    message = refusal("test", "--run", folder, "--data.system.particles=5")
    assert "particles=5" in message
    assert "trained on" in message


BASELINES = {
    "fc": ("derivative", False),
    "hfc": ("potential", True),
    "ogn": ("derivative", False),
    "hogn": ("hamiltonian", True),
}


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_configurations(lie_attention, name):
    learns, has_energy = BASELINES[name]
    lie_attention(
        "fit", "--config", f"dynamics/{name}", *SMALL[:-2], "--model.network.width=16",
        "--trainer.max_epochs=1", "--run", "one",
    )  # fmt: skip
    metrics = json.loads(Path("one/metrics.json").read_text())
    assert metrics["learns"] == learns
    assert metrics["test/mse_5"] > 0
    assert ("drift/learned_energy" in metrics) == has_energy


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["--data.system=Rockets"], ["'Rockets'", "Planets", "MySystem"]),
        (["--data.system.particles=0"], ["particles: 0"]),
        (["--model.network.group=SE3"], ["SE3()", "SE2"]),
        (["--model.objective.integrator=Euler"], ["'Euler'", "Leapfrog"]),
        (["--data.chunk=4"], ["data.chunk: 4"]),
        (
            ["--data.system=PendulumChain", "--model.objective.kinetic=learned"],
            ["PendulumChain", "accepted: given"],
        ),
    ],
    ids=lambda value: value[-1],
)
def test_a_wrong_setting_is_named(refusal, settings, words):
    message = refusal("fit", "--config", QUICK, *SMALL, *settings)
    for word in words:
        assert word in message


def test_a_training_that_leaves_every_bound_is_named(refusal):
    settings = ["--model.learning_rate=1e30", "--model.network.width=16"]
    message = refusal("fit", "--config", "dynamics/fc", *SMALL[:-2], *settings)
    assert "diverged at step" in message


def test_a_resumed_run_ends_like_an_uninterrupted_one(lie_attention, monkeypatch):
    # Haar lifts, so that the randomness of a step is tried too.
    settings = ["fit", "--config", QUICK, *SMALL, "--trainer.max_epochs=3"]
    settings += ["--model.network.group=SE2", "--model.network.invariant=RelativePose"]
    settings += ["--model.network.lift={class_path: Haar, init_args: {count: 2}}"]
    lie_attention(*settings, "--run", "whole")
    steps, step = iter(range(1000)), Model.training_step

    def interrupted(self, batch):
        if next(steps) == 4:  # Within the second of three epochs of three batches.
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "training_step", interrupted)
        with pytest.raises(SystemExit):
            lie_attention(*settings, "--run", "part")
    lie_attention("fit", "--resume", "part")
    ends = [
        torch.load(Path(folder) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for folder in ("whole", "part")
    ]
    for name, expected in ends[0].items():
        torch.testing.assert_close(ends[1][name], expected, rtol=0, atol=0)
