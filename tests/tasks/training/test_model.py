"""What makes training fast, and what it must not change."""

from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch._dynamo.utils import counters
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import TorchDispatchMode

from attention import ContentOnly, LieTransformer, Linear, LinearLocation, Rotary, Sum
from liegroups import (
    SE2,
    SE3,
    Distance,
    Frames,
    FullOrbit,
    Gaussian,
    Lifted,
    RadialBasis,
    RelativeMatrix,
    TetrahedralGroup,
)
from tasks.data.statistics import Statistics
from tasks.objectives import Counting
from tasks.sources.qm9 import QM9
from tasks.sources.shapes import Shapes
from tasks.training import Model, WeightAverage

DISTANCES = {
    "group": SE3(),
    "invariant": RadialBasis(8.0, Gaussian(8), envelope=None),
    "kernel": partial(Sum, location=LinearLocation),
    "width": 16,
    "layers": 2,
    "heads": 4,
}
FINITE = {
    "invariant": RelativeMatrix(),
    "lift": FullOrbit(TetrahedralGroup()),
    "kernel": partial(ContentOnly, content=partial(Rotary, length=3.0)),
    "normalizer": Linear(),
}


def made(compile=False, learning_rate=1e-3, outputs=1, **settings):
    torch.manual_seed(0)
    network = partial(LieTransformer, **DISTANCES | settings)
    return Model(
        network, compile=compile, learning_rate=learning_rate, in_features=15, outputs=outputs,
        kinds=range(0, 15, 3), point_dim=3,
    )  # fmt: skip


@pytest.fixture
def data(qm9_cache):
    return QM9(
        train_molecules=64,
        val_molecules=16,
        test_molecules=32,
        batch_size=16,
        cache_dir=str(qm9_cache),
    )


def trainer(folder, steps, *callbacks, **settings):
    defaults = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    defaults |= {"enable_progress_bar": False, "enable_model_summary": False}
    defaults |= {"limit_val_batches": 0, "num_sanity_val_steps": 0, "max_epochs": -1}
    return pl.Trainer(
        default_root_dir=folder,
        max_steps=steps,
        callbacks=list(callbacks),
        **defaults | settings,
    )


def trained(data, folder, steps, *callbacks, **settings):
    model = made()
    trainer(folder, steps, *callbacks, **settings).fit(model, datamodule=data)
    return model


class Waits(TorchDispatchMode):
    """Notes the operations for whose result a host would wait for a GPU."""

    READERS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique")

    def __init__(self):
        super().__init__()
        self.seen = []
        self.operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.operations += 1
        index = args[1] if name.startswith("index") and isinstance(args[1], list | tuple) else ()
        by_mask = any(each is not None and each.dtype == torch.bool for each in index)
        if by_mask or any(name.startswith(reader) for reader in self.READERS):
            self.seen.append(name)
        return function(*args, **kwargs or {})


class Watch(pl.Callback):
    """Watches from the end of the first step to that of the third: batches, steps and records."""

    def __init__(self):
        self.waits = Waits()

    def on_train_batch_end(self, trainer, model, outputs, batch, index):
        if index == 0:
            self.waits.__enter__()
        elif index == 2:
            self.waits.__exit__(None, None, None)


def test_a_step_waits_for_nothing(data, tmp_path, monkeypatch):
    # A compiled network does not check what it is given.
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    watch = Watch()
    trained(data, tmp_path, 4, watch, gradient_clip_val=1.0)
    assert watch.waits.operations > 200
    assert watch.waits.seen == []


def test_waiting_is_noticed():
    with Waits() as waits:
        torch.ones(2).sum().item()
        bool(torch.ones(2).isfinite().all())
        torch.ones(2)[torch.tensor([True, False])]
    assert len(waits.seen) == 3


def test_the_average_is_torchs_own_with_a_warm_up(data, tmp_path):
    def warming_up(mean, weight, steps):
        share = min(0.9, (1 + int(steps)) / (10 + int(steps)))
        return share * mean + (1 - share) * weight

    class Oracle(pl.Callback):
        def on_train_batch_end(self, trainer, model, *_):
            if trainer.global_step == 1:
                self.average = AveragedModel(model.network, avg_fn=warming_up)
            self.average.update_parameters(model.network)

    oracle = Oracle()
    model = trained(data, tmp_path, 6, oracle, WeightAverage(0.9))
    for own, expected in zip(
        model.network.parameters(), oracle.average.module.parameters(), strict=True
    ):
        torch.testing.assert_close(own, expected)


def test_the_average_follows_the_weights_to_their_device():
    class Elsewhere(pl.LightningModule):
        device = torch.device("meta")

    module = Elsewhere()
    module.linear = torch.nn.Linear(2, 2)
    callback = WeightAverage()
    callback._average_model = AveragedModel(module)
    callback.on_fit_start(None, module)
    average = callback._average_model
    assert all(p.device.type == "meta" for p in average.module.parameters())
    assert average.n_averaged.device.type == "cpu"  # The host reads it every step.


def test_the_average_has_the_precision_of_the_weights(data, tmp_path):
    path = tmp_path / "two.ckpt"

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer, model, outputs, batch, index):
            if trainer.global_step == 2:
                model.hparams.clear()  # A checkpoint then holds nothing but numbers.
                trainer.save_checkpoint(path)

    settings = {"precision": "64-true"}
    whole = trained(data, tmp_path, 4, WeightAverage(0.9), Keep(), **settings)
    resumed = made()
    run = trainer(tmp_path, 4, WeightAverage(0.9), **settings)
    run.fit(resumed, datamodule=data, ckpt_path=path, weights_only=True)
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert one.dtype == torch.double
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)  # Single would be 1e-7.


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_an_average_of_one_step_or_of_none_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay: .* above 0 and below 1"):
        WeightAverage(decay)


def test_the_optimizer_is_fused_and_agrees_with_the_plain_one(data, tmp_path, monkeypatch):
    fused = trained(data, tmp_path, 4, gradient_clip_val=0.1)
    assert fused.optimizers().param_groups[0]["fused"]
    monkeypatch.setattr("tasks.training.model._FUSED", ())
    plain = trained(data, tmp_path, 4, gradient_clip_val=0.1)
    assert not plain.optimizers().param_groups[0]["fused"]
    for one, two in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_half_precision_trains_and_clips(data, tmp_path, algorithm):
    class Size(pl.Callback):
        largest = 0.0

        def on_before_optimizer_step(self, trainer, model, optimizer):
            self.gradients = [p.grad.clone() for p in model.parameters()]

        def on_before_zero_grad(self, trainer, model, optimizer):
            if hasattr(self, "gradients") and model.parameters().__next__().grad is not None:
                grads = [p.grad for p in model.parameters()]
                norm = torch.nn.utils.get_total_norm(grads)
                value = max(g.abs().max() for g in grads)
                self.largest = max(self.largest, float(norm if algorithm == "norm" else value))

    size = Size()
    half = trained(
        data,
        tmp_path,
        4,
        size,
        precision="bf16-mixed",
        gradient_clip_val=0.01,
        gradient_clip_algorithm=algorithm,
    )
    assert 0 < size.largest < 0.0101
    assert all(p.dtype == torch.float32 for p in half.parameters())


def test_half_precision_leaves_lifts_and_invariants_alone(data):
    """In half precision they would be off by 1e-2, and no longer invariant."""
    model = made(invariant=RelativeMatrix(), lift=Frames(radius=2.0)).eval()
    seen = []
    model.network.blocks[0].register_forward_pre_hook(
        lambda module, given: seen.append((given[0].invariants, given[1]))
    )
    data.setup()
    batch = next(iter(data.test_dataloader()))
    with torch.no_grad():
        model.objective.standardized(model.network, batch)
        with torch.autocast("cpu", torch.bfloat16):
            model.objective.standardized(model.network, batch)
    (exact, _), (same, features) = seen
    assert features.dtype == torch.bfloat16
    assert torch.equal(exact, same)


def test_half_precision_leaves_the_poses_of_rotary_attention_alone():
    """⟨ρ(g)⁻ᵀ q, ρ(g) k⟩ = ⟨q, k⟩, but not for a ρ(g) that is rounded to half precision."""
    torch.manual_seed(0)
    content = Rotary(16, 2, SE3().default_space(), length=2.0)
    features = torch.randn(1, 1, 16).expand(1, 2, 16)
    g = SE3().sample((64, 2))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        projected = content.project(features.expand(64, 2, 16), Lifted(g, g[..., :3, 3]))
    (query,), (key,) = projected
    logits = (query * key).sum(-1)  # (heads, batch, points); the first point is the origin.
    torch.testing.assert_close(logits[..., 1], logits[..., 0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "sum"])
def test_a_network_adds_to_what_is_known(qm9_cache, tmp_path, pooling):
    """A network of zeros predicts the mean, or the best sum over elements, in any precision."""
    data = QM9(["u0", "mu"], train_molecules=500, test_molecules=64, cache_dir=str(qm9_cache))
    model = made(pooling=pooling, outputs=2)
    trainer(tmp_path, 1).fit(model, datamodule=data)
    statistics = Statistics.of(
        {part: data.values(part) for part in ("train", "test")},
        {part: data.kind_counts(part) for part in ("train", "test")},
        ["u0", "mu"],
    )
    fit, unit = statistics.composition, statistics.std
    if pooling == "sum":
        unit = fit.std / fit.size
    errors = []
    for batch in data.test_dataloader():
        found = []
        for number in (0.0, 1.0):
            given = torch.full((len(batch.targets), 2), number)
            model.network.forward = lambda *_, given=given, **__: given
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                found.append(model(batch)[0].numpy())
        counts = np.stack([(batch.features[..., 3 * e] == 1).sum(1) for e in range(5)], -1)
        expected = fit.constant + counts @ fit.weights
        if pooling == "mean":
            expected = np.broadcast_to(statistics.mean, found[0].shape)
        np.testing.assert_allclose(found[0], expected, rtol=1e-5)
        np.testing.assert_allclose(found[1] - found[0], 0 * expected + unit, rtol=1e-2)
        errors.append(np.abs(found[0] - batch.targets.numpy()))
    if pooling == "sum":
        np.testing.assert_allclose(np.concatenate(errors).mean(0), fit.mae["test"], rtol=1e-4)


def test_the_loss_is_of_what_is_left(qm9_cache, tmp_path):
    """The error in training, before any step, is that of the predictions."""
    data = QM9("u0", train_molecules=64, batch_size=64, cache_dir=str(qm9_cache))
    model = made(pooling="sum", learning_rate=1e-12)
    run = trainer(tmp_path, 1)
    run.fit(model, datamodule=data)
    (batch,) = data.train_dataloader()
    with torch.no_grad():
        expected = (model.eval()(batch)[0] - batch.targets).abs().mean()
    torch.testing.assert_close(run.callback_metrics["train/mae"], expected, rtol=1e-4, atol=0)
    assert expected > 0


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, FINITE], ids=["distances", "finite orbit"])
def test_a_compiled_network_is_one_graph_for_all_sizes(data, tmp_path, monkeypatch, settings):
    """Traced in full by torch.compile, but run as traced: compiling takes minutes."""
    torch.compiler.reset()
    counters.clear()
    own = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **how: own(self, backend="eager", **how)
    )
    losses = {}
    for compile in (False, True):
        model = made(compile=compile, **settings)
        run = trainer(tmp_path, 6, WeightAverage(), max_epochs=2)
        run.fit(model, datamodule=data)
        losses[compile] = run.callback_metrics["train/mae"]
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-4, atol=0)
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


@pytest.mark.parametrize("normalizer", [None, Linear()], ids=["softmax", "linear"])
def test_a_network_that_tells_no_clouds_apart_is_noticed(tmp_path, caplog, normalizer):
    """Softmax makes means of features, and the mean of a constant is the constant."""
    data = Shapes(train_clouds=16, val_clouds=8, test_clouds=8, batch_size=16)
    network = partial(LieTransformer, SE2(), invariant=Distance(), normalizer=normalizer, width=8)
    model = Model(
        partial(network, layers=1, heads=2), Counting, in_features=1, outputs=4, point_dim=2,
        choices=3,
    )  # fmt: skip
    trainer(tmp_path, 1).fit(model, datamodule=data)
    assert ("tells them apart" in caplog.text) == (normalizer is None)
