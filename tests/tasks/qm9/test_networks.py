"""Properties by attention on irreducible representations."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from attention import Radius, invariance_error
from liegroups import SE3, Distance, E, InverseDistance
from tasks.qm9 import QM9, ChannelwiseProperty, QM9Model, SteerableProperty

ROOT = Path(__file__).resolve().parents[3]
MATHER = ROOT / "tasks/configs/qm9/systems/mather.yaml"
SMALL = {"types": [0, 1], "channels": 4, "layers": 2, "heads": 2, "hidden": 8}


@pytest.fixture
def batch(qm9_cache, monkeypatch):
    monkeypatch.setenv("LIE_ATTENTION_CACHE", str(qm9_cache))
    data = QM9(test_molecules=8, batch_size=8)
    data.setup()
    return next(iter(data.test_dataloader()))


@pytest.mark.parametrize(
    "kind",
    [
        partial(SteerableProperty, group=SE3(), **SMALL),
        partial(SteerableProperty, group=E(3), **SMALL),
        partial(ChannelwiseProperty, max_degree=1, channels=4, layers=2, heads=2),
    ],
    ids=["SE(3)", "E(3)", "channelwise"],
)
@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_a_property_does_not_change_with_the_group_and_with_padding(batch, kind, pooling):
    torch.manual_seed(0)
    network = kind(QM9().in_features, [Distance(), InverseDistance()], pooling).double()
    clouds = batch.features.double(), batch.positions.double(), batch.mask
    assert invariance_error(network, *clouds) < 1e-10
    output = network(*clouds)
    assert output.std() > 1e-6
    atoms = int(batch.mask[0].sum())
    alone = network(*(part[:1, :atoms] for part in clouds))
    torch.testing.assert_close(alone, output[:1])
    # A sum grows with the number of molecules that do not see each other, a mean does not.
    far = clouds[1][:1, :atoms] + 1000
    twice = network(
        torch.cat([clouds[0][:1, :atoms]] * 2, 1), torch.cat((clouds[1][:1, :atoms], far), 1)
    )
    torch.testing.assert_close(twice, alone * (2 if pooling == "sum" else 1))


def test_an_error_of_invariance_that_is_there_is_found(batch):
    """The output of a network that looks at coordinates changes with them."""

    class NotInvariant(SteerableProperty):
        def forward(self, features, positions, mask=None, *, generator=None):
            return super().forward(features, positions, mask) + positions[:, :1, 0]

    network = NotInvariant(QM9().in_features, Distance(), "mean", **SMALL)
    assert invariance_error(network, batch.features, batch.positions, batch.mask) > 0.1


@pytest.fixture
def command_cache(qm9_cache):
    return qm9_cache


def test_the_system_is_trained_tested_and_used_for_predictions(lie_attention, capsys):
    lie_attention(
        *("fit", "--config", MATHER, "--run", "runs/one", "--trainer.enable_progress_bar=false"),
        *("--data.train_molecules=64", "--data.val_molecules=32", "--data.test_molecules=40"),
        *("--trainer.max_epochs=1", "--model.property_network.init_args.layers=1"),
    )
    metrics = json.loads(Path("runs/one/metrics.json").read_text())
    assert metrics["equivariance/group"] == "SE3()"
    assert metrics["equivariance/kind"] == "exact"
    assert metrics["equivariance/error"] < 1e-10
    assert "Invariance to SE3(): exact" in capsys.readouterr().out
    lie_attention("test", "--run", "runs/one")
    again = json.loads(Path("runs/one/metrics.json").read_text())
    assert again["test/mae"] == pytest.approx(metrics["test/mae"], rel=1e-5)
    lie_attention("predict", "--run", "runs/one")
    assert len(Path("runs/one/predictions.csv").read_text().splitlines()) == 41
    model = QM9Model.load_from_checkpoint("runs/one/checkpoints/best.ckpt", map_location="cpu")
    assert isinstance(model.network, SteerableProperty)


def test_settings_of_another_network_are_refused():
    with pytest.raises(ValueError, match=r"model\.width is a setting of a LieTransformer"):
        QM9Model(property_network=SteerableProperty, width=32)
    with pytest.raises(ValueError, match=r"model\.neighborhood .*init_args\.neighborhood"):
        QM9Model(property_network=SteerableProperty, neighborhood=Radius(3.0))


def test_a_molecule_has_one_number_of_each_target():
    with pytest.raises(ValueError, match="'mean' or 'sum'; got 'none'"):
        QM9Model(property_network=SteerableProperty, pooling="none")


def test_an_unknown_network_is_named_with_those_there_are(lie_attention, capsys):
    with pytest.raises(SystemExit):
        lie_attention("fit", "--config", MATHER, "--model.property_network", "Nonsense")
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "'Nonsense' is not known; accepted: ChannelwiseProperty, Steerable" in message
