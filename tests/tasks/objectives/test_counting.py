"""Networks that count: their symmetry, the Set Transformer's formula, training that resumes."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from matplotlib.pyplot import imread
from torch import nn

from attention import (
    Count,
    Exponential,
    LieTransformer,
    Linear,
    LinearLocation,
    LocationOnly,
    Product,
    Radius,
    Softmax,
    SumHead,
)
from liegroups import (
    SE2,
    T2,
    Concat,
    CyclicGroup,
    Distance,
    Equivariance,
    Frames,
    FullOrbit,
    Gaussian,
    Haar,
    PoseDistance,
    RadialBasis,
    RelativePose,
)
from tasks.networks import SetTransformer
from tasks.networks.set_transformer import InducedBlock, SetBlock
from tasks.objectives import Counting
from tasks.plots.shapes import draw_predictions
from tasks.sources.shapes import SHAPES, Patterns, Shapes, move
from tasks.training import Model

ROOT = Path(__file__).resolve().parents[3]
QUICK = str(ROOT / "tasks/configs/shapes/quick.yaml")
UNIT = Patterns().unit

IN_A_PLANE = {"normalizer": Count(), "head": SumHead, "unit": UNIT}
LIE = {**IN_A_PLANE, "width": 16, "layers": 2, "heads": 4}


def SMALL(group, *given, **settings):
    return LieTransformer(group, 1, 12, *given, **{**LIE, **settings})


RADIAL = RadialBasis(4.0, Gaussian(8), envelope=None)
NEAR = Radius(5.0, layout="dense")
COUNTERS = {
    "T2": partial(SMALL, T2()),
    "distances": partial(SMALL, SE2(), RADIAL, normalizer=Linear(), neighborhood=NEAR),
    "frames": partial(SMALL, SE2(), lift=Frames(1.5), kernel=LocationOnly),
    "haar": partial(SMALL, SE2(), Concat([RADIAL, RelativePose()]), Haar(1), kernel=Product),
    "orbit": partial(
        SMALL,
        SE2(),
        lift=FullOrbit(CyclicGroup(8)),
        normalizer=Exponential(),
        # Nearest would have ties: turns by 45° to either side are equally far.
        neighborhood=Radius(1.0, metric=PoseDistance(0.8)),
    ),
    "set": partial(SetTransformer, 1, 12, 2, width=16, encoder_layers=2, decoder_layers=1),
    "induced set": partial(SetTransformer, 1, 12, 2, width=16, encoder_layers=2, inducing_points=3),
}
INVARIANT_UNDER = {"T2": ["T2"], "distances": ["T2", "SE2"], "frames": ["T2", "SE2"],
                   "haar": ["T2"], "orbit": ["T2"], "set": [], "induced set": []}  # fmt: skip


def clouds(count=12, seed=0):
    return Patterns().sample(count, seed)


def scores(network, made):
    points, mask = torch.from_numpy(made.points), torch.from_numpy(made.mask)
    return network(mask[..., None].double(), points, mask)


@pytest.fixture(params=COUNTERS)
def counter(request):
    torch.manual_seed(0)
    return request.param, COUNTERS[request.param]().double().eval()


# ---- symmetry ----------------------------------------------------------------------------------


@torch.no_grad()
def test_scores_are_invariant_under_the_group_that_is_exact_and_no_other(counter):
    name, network = counter
    before = scores(network, clouds())
    for motion in ("T2", "SE2"):
        after = scores(network, move(clouds(), motion, 0.5, np.random.default_rng(1)))
        error = float((after - before).abs().max() / before.std(0).max())
        # Frames may lose half of the digits near a degenerate cloud.
        if motion in INVARIANT_UNDER[name]:
            assert error < (1e-7 if name == "frames" else 1e-10)
        else:
            assert error > 1e-6


@torch.no_grad()
def test_a_full_orbit_is_exact_for_its_turns(monkeypatch):
    torch.manual_seed(0)
    network = COUNTERS["orbit"]().double().eval()
    made = clouds()
    before = scores(network, made)
    for angle, exact in ((np.pi / 4, True), (np.pi / 2, True), (np.pi / 8, False)):
        c, s = np.cos(angle), np.sin(angle)
        turned = made._replace(points=made.points @ np.array([[c, s], [-s, c]]))
        error = float((scores(network, turned) - before).abs().max() / before.std(0).max())
        assert error < 1e-7 if exact else error > 1e-5


@torch.no_grad()
def test_order_and_padding_make_no_difference(counter):
    name, network = counter
    made = clouds()
    expected = scores(network, made)
    if name != "haar":  # Evaluation ties a lift to a place in the cloud.
        order = np.random.default_rng(0).permutation(made.mask.shape[1])
        mixed = made._replace(points=made.points[:, order], mask=made.mask[:, order])
        torch.testing.assert_close(scores(network, mixed), expected, rtol=0, atol=1e-9)
    filled = made.points + 7.0 * ~made.mask[..., None]
    torch.testing.assert_close(
        scores(network, made._replace(points=filled)), expected, rtol=0, atol=1e-9
    )
    one = made._replace(
        points=made.points[:1, : made.mask[0].sum()], mask=made.mask[:1, : made.mask[0].sum()]
    )
    torch.testing.assert_close(scores(network, one), expected[:1], rtol=0, atol=1e-9)


def test_each_counter_says_which_equivariance_it_has():
    found = {name: make().equivariance for name, make in COUNTERS.items()}
    assert found == {
        "T2": Equivariance.EXACT,
        "distances": Equivariance.EXACT,
        "frames": Equivariance.EXACT,
        "haar": Equivariance.IN_DISTRIBUTION,
        "orbit": Equivariance.EXACT_FOR_SUBGROUP,
        "set": Equivariance.NONE,
        "induced set": Equivariance.NONE,
    }


@torch.no_grad()
def test_with_constant_features_softmax_sees_no_positions():
    # What the docstring of SumHead warns of.
    torch.manual_seed(0)
    blind = partial(SMALL, SE2(), Distance(), normalizer=Softmax())().double().eval()
    made = clouds()
    stretched = made._replace(points=1.7 * made.points)
    torch.testing.assert_close(scores(blind, stretched), scores(blind, made), rtol=0, atol=1e-9)
    seeing = partial(SMALL, SE2(), Distance())().double().eval()
    assert (scores(seeing, stretched) - scores(seeing, made)).abs().max() > 1e-4


@torch.no_grad()
def test_a_second_copy_far_away_adds_to_the_sum_before_the_last_perceptron():
    torch.manual_seed(0)
    network = COUNTERS["distances"]().double().eval()
    network.head.summed = nn.Identity()
    made = Patterns(("triangle", "L"), 1, 1.0).sample(3, seed=0)
    double = made._replace(
        points=np.concatenate([made.points, made.points + 100.0], 1),
        mask=np.concatenate([made.mask, made.mask], 1),
    )
    torch.testing.assert_close(scores(network, double), 2 * scores(network, made))


# ---- the Set Transformer -------------------------------------------------------------------------


def by_hand(block, x, y, mask):
    """MAB written out for one head at a time."""
    attention = block.attention
    width, heads = x.shape[-1], attention.num_heads
    q, k, v = (
        part @ weight.T + bias
        for part, weight, bias in zip(
            (x, y, y),
            attention.in_proj_weight.split(width),
            attention.in_proj_bias.split(width),
            strict=True,
        )
    )
    outs = []
    for h in range(heads):
        own = slice(h * width // heads, (h + 1) * width // heads)
        logits = q[..., own] @ k[..., own].mT / (width // heads) ** 0.5
        logits = logits.masked_fill(~mask[:, None, :], -torch.inf)
        weights = logits.exp() / logits.exp().sum(-1, keepdim=True)
        outs.append(weights @ v[..., own])
    received = torch.cat(outs, -1) @ attention.out_proj.weight.T + attention.out_proj.bias

    def norm(z, layer):
        centered = z - z.mean(-1, keepdim=True)
        deviation = (centered.square().mean(-1, keepdim=True) + layer.eps).sqrt()
        return centered / deviation * layer.weight + layer.bias

    hidden = norm(x + received, block.attention_norm)
    linear = block.feedforward[0]
    forward = (hidden @ linear.weight.T + linear.bias).clamp(min=0)
    return norm(hidden + forward, block.feedforward_norm)


@torch.no_grad()
def test_blocks_are_the_formulas_of_the_paper():
    torch.manual_seed(0)
    x, y = torch.randn(3, 5, 8, dtype=torch.float64), torch.randn(3, 7, 8, dtype=torch.float64)
    mask = torch.rand(3, 7) < 0.6
    mask[:, 0] = True
    block = SetBlock(8, 2).double()
    for parameter in block.parameters():
        parameter.normal_()
    torch.testing.assert_close(block(x, y, mask), by_hand(block, x, y, mask))
    induced = InducedBlock(8, 2, 4).double()
    points = induced.points.expand(3, -1, -1)
    summary = by_hand(induced.to_points, points, y, mask)
    everything = torch.ones(3, 4, dtype=torch.bool)
    expected = by_hand(induced.from_points, y, summary, everything)
    torch.testing.assert_close(induced(y, mask), expected)


# ---- training ------------------------------------------------------------------------------------


def quiet(folder, **settings):
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **settings,
    )


@pytest.mark.slow
def test_exact_distances_learn_to_count_and_a_motion_changes_no_answer(tmp_path):
    pl.seed_everything(0)
    data = Shapes(
        Patterns(shapes=("triangle", "L"), repetitions=1),
        train_clouds=640,
        val_clouds=8,
        test_clouds=200,
    )
    network = partial(
        LieTransformer, SE2(), invariant=RadialBasis(4.0, Gaussian(16), envelope=None),
        kernel=partial(LocationOnly, location=LinearLocation), unit=data.patterns.unit,
        head=SumHead, width=16, layers=1, heads=4, normalizer=Linear(), neighborhood=NEAR,
    )  # fmt: skip
    model = Model(
        network, Counting, learning_rate=5e-3, in_features=1, outputs=2, point_dim=2, choices=2
    )
    trainer = quiet(tmp_path, max_epochs=8)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    found = model.results()
    assert found["test/accuracy_D"] > 0.9
    assert found["test/accuracy_D"] == found["test/accuracy_T2"] == found["test/accuracy_SE2"]


@pytest.fixture
def run(lie_attention):
    return lie_attention


TINY = [
    "--data.train_clouds=48",
    "--data.val_clouds=16",
    "--data.test_clouds=24",
    "--data.batch_size=16",
    "--trainer.max_epochs=2",
    "--trainer.enable_progress_bar=false",
]


def test_a_run_leaves_the_accuracies_of_the_three_test_sets(run):
    run("fit", "--config", QUICK, *TINY, "--data.patterns.shapes=[L, square]", "--run", "runs/a")
    metrics = json.loads(Path("runs/a/metrics.json").read_text())
    for name in ("D", "T2", "SE2"):
        each = [metrics[f"test/accuracy_{name}_{shape}"] for shape in ("L", "square")]
        assert metrics[f"test/accuracy_{name}"] == pytest.approx(np.mean(each), abs=1e-6)
    assert metrics["test/accuracy_D"] == metrics["test/accuracy_SE2"]
    assert metrics["test/error"] == pytest.approx(1 - metrics["test/accuracy_D"])
    assert metrics["equivariance/kind"] == "exact"
    assert metrics["equivariance/error"] < 1e-10
    run("predict", "--run", "runs/a")
    header, *lines = Path("runs/a/predictions.csv").read_text().splitlines()
    assert header == "cloud,L,square,predicted L,predicted square"
    table = np.array([[int(x) for x in line.split(",")] for line in lines])
    right = (table[:, 1:3] == table[:, 3:]).mean()
    assert right == pytest.approx(metrics["test/accuracy_D"], abs=1e-6)
    before = metrics
    run("test", "--run", "runs/a")
    after = json.loads(Path("runs/a/metrics.json").read_text())
    assert after["test/accuracy_SE2"] == before["test/accuracy_SE2"]


def test_an_interrupted_run_with_fresh_moved_clouds_ends_like_a_whole_one(run, monkeypatch):
    settings = [*TINY, "--data.fresh=true", "--data.augment=SE2", "--trainer.max_epochs=3"]
    run("fit", "--config", QUICK, *settings, "--run", "runs/whole")
    steps, step = iter(range(100)), Model.training_step

    def interrupted(self, batch):
        if next(steps) == 4:  # In the second epoch of three batches.
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "training_step", interrupted)
        with pytest.raises(SystemExit):
            run("fit", "--config", QUICK, *settings, "--run", "runs/part")
    run("fit", "--resume", "runs/part")
    whole, part = (
        torch.load(f"runs/{name}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "part")
    )
    for name, expected in whole.items():
        torch.testing.assert_close(part[name], expected, rtol=0, atol=0)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SMALL(SE2(), unit=0.0), "unit: 0.0; accepted"),
        (lambda: SetTransformer(1, 12, 2, width=10, heads=4), "4 heads and width 10"),
        (lambda: SetTransformer(1, 12, 2, seeds=0), "seeds: 0; accepted: 1 to"),
        (lambda: SetTransformer(1, 12, 2, inducing_points=0), "inducing_points: 0"),
    ],
)
def test_an_impossible_network_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("--model.network=Counter", ["model.network", "'Counter'", "SetTransformer"]),
        ("--model.network.group=SE3", ["model.network.group", "3 coordinates", "SE2"]),
        ("--data.patterns.shapes=[cube]", ["'cube'", "triangle, square, pentagon, L"]),
        ("--data.patterns.noise=-1", ["noise: -1.0"]),
        ("--data.patterns.repetitions=1000000000", ["GiB", "lower repetitions"]),
        ("--data.motion=SE3", ["SE3", "D", "T2", "SE2"]),
    ],
)
def test_a_wrong_setting_stops_before_any_cloud_is_drawn(run, monkeypatch, capsys, settings, words):
    monkeypatch.setattr(Patterns, "sample", lambda *args: pytest.fail("clouds were drawn"))
    with pytest.raises(SystemExit) as left:
        run("fit", "--config", QUICK, settings)
    assert left.value.code == 1
    message = capsys.readouterr().err
    for word in words:
        assert word in message
    assert not Path("runs").exists()


# ---- pictures ------------------------------------------------------------------------------------


def test_plot_draws_clouds(run, capsys):
    with pytest.raises(SystemExit) as left:
        run("plot", "shapes", "--count=3", "--motion=SE2", "--path=pictures/some.png")
    assert left.value.code == 0
    assert "Written: pictures/some.png" in capsys.readouterr().out
    assert Path("pictures/some.png").read_bytes().startswith(b"\x89PNG")


def test_titles_of_predictions_are_not_cut_off(tmp_path):
    counts, mask = np.full((8, 4), 2), np.ones((8, 5), dtype=bool)
    points = np.random.default_rng(0).normal(size=(8, 5, 2))
    predicted, path = counts.copy(), tmp_path / "predictions.png"
    predicted[:4, 0] = 0
    draw_predictions(path, SHAPES, UNIT, points, mask, counts, predicted)
    assert (imread(path)[:3, :, :3] == 1).all()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["shape"], "'shape' has no pictures; accepted: shapes"),
        (["shapes", "cloud"], "shapes has no 'cloud'; accepted: clouds"),
        (["shapes", "--patterns.noise=-1"], "noise: -1.0; accepted"),
        (["shapes", "--count=0"], "count: 0; accepted: 1 or more"),
        (["shapes", "--number=3"], "--number"),
        (["dynamics", "data-efficiency", "--results=none.json"], "none.json is not a file of"),
    ],
)
def test_plot_refuses_what_it_cannot_draw(run, capsys, args, words):
    with pytest.raises(SystemExit) as left:
        run("plot", *args)
    assert left.value.code == 1
    assert words in capsys.readouterr().err
    assert not list(Path().iterdir())
