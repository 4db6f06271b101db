"""Properties by attention on irreducible representations."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from attention import invariance_error
from attention.steerable import ChannelwiseTransformer, SteerableTransformer
from liegroups import SE3, Distance, E, InverseDistance
from tasks.sources.qm9 import QM9
from tasks.training import Model

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
        partial(SteerableTransformer, group=SE3(), **SMALL),
        partial(SteerableTransformer, group=E(3), **SMALL),
        partial(ChannelwiseTransformer, max_degree=1, channels=4, layers=2, heads=2),
    ],
    ids=["SE(3)", "E(3)", "channelwise"],
)
@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_a_property_does_not_change_with_the_group_and_with_padding(batch, kind, pooling):
    torch.manual_seed(0)
    seen = [Distance(), InverseDistance()]
    network = kind(batch.features.shape[-1], 1, invariant=seen, pooling=pooling).double()
    clouds = batch.features.double(), batch.points.double(), batch.mask
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

    class NotInvariant(SteerableTransformer):
        def forward(self, features, points, mask=None, **given):
            return super().forward(features, points, mask) + points[:, :1, 0]

    network = NotInvariant(
        batch.features.shape[-1], 1, invariant=Distance(), pooling="mean", **SMALL
    )
    assert invariance_error(network, batch.features, batch.points, batch.mask) > 0.1


@pytest.fixture
def command_cache(qm9_cache):
    return qm9_cache


def test_the_system_is_trained_tested_and_used_for_predictions(lie_attention, capsys):
    lie_attention(
        *("fit", "--config", MATHER, "--run", "runs/one", "--trainer.enable_progress_bar=false"),
        *("--data.train_molecules=64", "--data.val_molecules=32", "--data.test_molecules=40"),
        *("--trainer.max_epochs=1", "--model.network.layers=1"),
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
    model = Model.load_from_checkpoint("runs/one/checkpoints/best.ckpt", map_location="cpu")
    assert isinstance(model.network, SteerableTransformer)


def test_an_unknown_network_is_named_with_those_there_are(refusal):
    message = refusal("fit", "--config", MATHER, "--model.network", "Nonsense")
    assert "'Nonsense' is not known; accepted: LieTransformer, ChannelwiseTransformer" in message


def test_a_setting_of_another_network_is_refused(refusal):
    message = refusal("fit", "--config", MATHER, "--model.network.width", "32")
    assert "width" in message


OWN = """
from torch import nn

from attention import Network
from liegroups import SE3, Equivariance


class MyNetwork(Network):
    equivariance = Equivariance.EXACT
    is_per_point = False

    def __init__(self, in_features: int, out_features: int, width: int = 8) -> None:
        super().__init__()
        self.space = SE3().default_space()
        self.in_features, self.out_features = in_features, out_features
        self.maps = nn.Sequential(nn.Linear(in_features, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, features, points, mask=None, *, edges=None, generator=None):
        return (self.maps(features) * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
"""


def test_a_network_of_ones_own_is_named_and_has_settings(lie_attention, monkeypatch):
    Path("networks_of_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(Path.cwd())
    lie_attention(
        *("fit", "--task=qm9", "--model.network=networks_of_mine.MyNetwork"),
        "--model.network.width=4",
        *("--data.train_molecules=20", "--data.val_molecules=8", "--data.test_molecules=12"),
        *("--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", "--run", "own"),
    )
    metrics = json.loads(Path("own/metrics.json").read_text())
    assert metrics["network"] == "SE3-MyNetwork"
    assert metrics["equivariance/error"] < 1e-10
    lie_attention("test", "--run", "own", "--trust", "networks_of_mine")
