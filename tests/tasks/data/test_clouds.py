import contextlib
import inspect
import io
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import scipy.linalg
import torch
from torch import Tensor

from liegroups import SO3
from tasks.data import BatchSampler, Clouds, Composition, Share, Statistics, padding_fraction
from tasks.data.clouds import one_hot
from tasks.sources.atoms import POWERS, check_elements
from tasks.sources.qm9.data import QM9
from tasks.sources.qm9.molecules import Molecules
from tasks.sources.qm9.splits import find_split
from tasks.sources.qm9.targets import ELEMENTS, TARGETS


@pytest.fixture(scope="module")
def whole(qm9_cache: Path) -> QM9:
    data = QM9(cache_dir=str(qm9_cache))
    data.setup()
    return data


@pytest.fixture(scope="module")
def small(qm9_cache: Path) -> QM9:
    data = QM9(
        train_molecules=2000, val_molecules=300, test_molecules=200, cache_dir=str(qm9_cache)
    )
    data.setup()
    return data


def epoch(data: QM9, number: int) -> list[Clouds]:
    loader = data.train_dataloader()
    loader.set_epoch(number)
    return list(loader)


def statistics(data: QM9) -> Statistics:
    parts = ("train", "val", "test")
    return Statistics.of(
        {part: data.values(part) for part in parts},
        {part: data.kind_counts(part) for part in parts},
        [target.name for target in data.targets],
    )


def indices(batches: list[Clouds]) -> Tensor:
    return torch.cat([batch.ids for batch in batches])


# --- features -------------------------------------------------------------------------------


def test_features_are_the_element_times_powers_of_the_charge() -> None:
    features = torch.from_numpy(one_hot(ELEMENTS, POWERS))
    assert features.shape == (10, QM9().in_features)
    for place, charge in enumerate((1, 6, 7, 8, 9)):
        expected = torch.zeros(5, 3)
        expected[place] = torch.tensor([1, charge / 9, (charge / 9) ** 2])
        torch.testing.assert_close(features[charge], expected.flatten())
    assert not features[[0, 2, 3, 4, 5]].any()
    assert [*QM9().kinds.values()] == [int(features[z].nonzero()[0]) for z in ELEMENTS.values()]


def test_unknown_elements_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown elements P \(15\), Cl \(17\), .*200.*: H, C, N"):
        check_elements("some", np.array([1, 17, 15, 200]), ELEMENTS)


# --- batches --------------------------------------------------------------------------------


def test_a_batch_holds_the_molecules_it_says(small: QM9, molecules: Molecules) -> None:
    target = molecules.target("homo")
    for batch in small.test_dataloader():
        size, atoms = batch.mask.shape
        assert batch.features.shape == (size, atoms, 15)
        assert batch.points.shape == (size, atoms, 3)
        assert batch.features.dtype == batch.points.dtype == batch.targets.dtype == torch.float32
        assert batch.mask.any(dim=0).all()  # no column is padding alone
        assert not batch.features[~batch.mask].any()
        assert not batch.points[~batch.mask].any()
        for k, row in enumerate(np.searchsorted(molecules.index, batch.ids.numpy())):
            start, stop = molecules.offsets[row : row + 2]
            charges = torch.from_numpy(molecules.charges[start:stop])
            positions = torch.from_numpy(molecules.positions[start:stop])
            torch.testing.assert_close(
                batch.features[k, batch.mask[k]],
                torch.from_numpy(one_hot(ELEMENTS, POWERS))[charges.long()],
            )
            torch.testing.assert_close(
                batch.points[k, batch.mask[k]], positions - positions.mean(dim=0)
            )
            assert batch.targets[k] == np.float32(target[row])


def test_positions_are_as_published_without_centering(
    qm9_cache: Path, molecules: Molecules
) -> None:
    data = QM9(
        train_molecules=50, batch_size=50, augment=None, center=False, cache_dir=str(qm9_cache)
    )
    data.setup()
    (batch,) = data.train_dataloader()
    for k, row in enumerate(np.searchsorted(molecules.index, batch.ids.numpy())):
        expected = molecules.positions[slice(*molecules.offsets[row : row + 2])]
        np.testing.assert_array_equal(batch.points[k, batch.mask[k]].numpy(), expected)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_each_molecule_is_in_one_batch(whole: QM9, molecules: Molecules, part: str) -> None:
    sampler = getattr(whole, f"{part}_dataloader")().batches
    rows = find_split("lietransformer").rows(part)
    batches = list(sampler)
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(len(rows)))
    assert len(batches) == len(sampler) == math.ceil(len(rows) / 96)
    assert {len(batch) for batch in batches} <= {95, 96}
    slots = sum(len(batch) * int(sampler.sizes[batch].max()) for batch in batches)
    assert 1 - sampler.sizes.sum() / slots < 0.03


def test_limited_parts_are_the_first_of_the_split(small: QM9, molecules: Molecules) -> None:
    loaders = (small.train_dataloader(), small.val_dataloader(), small.test_dataloader())
    for part, count, loader in zip(
        ("train", "val", "test"), (2000, 300, 200), loaders, strict=True
    ):
        expected = molecules.index[find_split("lietransformer").rows(part)[:count]]
        np.testing.assert_array_equal(np.sort(indices(list(loader))), np.sort(expected))


def test_padding_is_below_five_percent(small: QM9) -> None:
    batches = epoch(small, 0)
    fraction = padding_fraction(batches)
    by_hand = 1 - sum(int(b.mask.sum()) for b in batches) / sum(b.mask.numel() for b in batches)
    assert fraction == pytest.approx(by_hand)
    assert fraction < 0.05


def test_the_order_is_a_function_of_seed_and_epoch(small: QM9) -> None:
    first, again, later = (indices(epoch(small, number)) for number in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert torch.equal(first.sort().values, later.sort().values)
    other = BatchSampler(small.train_dataloader().batches.sizes, 96, seed=1)
    assert not torch.equal(
        torch.cat(list(other)), torch.cat(list(small.train_dataloader().batches))
    )


def test_batches_are_drawn_anew_and_not_only_their_order(small: QM9) -> None:
    companions = [
        {frozenset(batch.ids.tolist()) for batch in epoch(small, number)} for number in (0, 1)
    ]
    assert not companions[0] & companions[1]


def test_a_prefix_of_an_epoch_is_a_fair_sample_of_sizes(whole: QM9) -> None:
    for loader in (whole.train_dataloader(), whole.val_dataloader()):
        sizes = [float(loader.batches.sizes[batch].mean()) for batch in loader.batches]
        prefix = sizes[: len(sizes) // 4]
        error = np.std(sizes) / math.sqrt(len(prefix))
        assert abs(np.mean(prefix) - np.mean(sizes)) < 4 * error


def test_evaluation_keeps_its_order(small: QM9) -> None:
    loader = small.val_dataloader()
    before = indices(list(loader))
    loader.set_epoch(5)
    assert torch.equal(before, indices(list(loader)))


@pytest.mark.parametrize("world_size", [2, 3, 30])
def test_processes_share_each_batch(
    small: QM9, monkeypatch: pytest.MonkeyPatch, world_size: int
) -> None:
    """What several see of a batch is what one sees: each molecule once, turned the same way."""
    alone = epoch(small, 2)
    parts = []
    for rank in range(world_size):
        share = Share(rank, world_size)
        monkeypatch.setattr(Share, "of_this_process", lambda share=share: share)
        parts.append(epoch(small, 2))
    for batch, *shares in zip(alone, *parts, strict=True):
        found = indices(shares)
        assert torch.equal(found.sort().values, batch.ids.sort().values)
        place = torch.argsort(found)[torch.argsort(torch.argsort(batch.ids))]
        first = torch.cat([part.points[:, 0] for part in shares])
        torch.testing.assert_close(first[place], batch.points[:, 0], atol=1e-5, rtol=0)
        targets = torch.cat([part.targets for part in shares])
        assert torch.equal(targets[place], batch.targets)
        # the mean over the processes of their weighted means is the mean over the batch
        means = [(part.targets[:, 0] * part.weight).mean() for part in shares]
        torch.testing.assert_close(torch.stack(means).mean(), batch.targets.mean())


def test_more_processes_than_molecules_in_a_batch_are_refused(
    small: QM9, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Share, "of_this_process", lambda: Share(0, 96))
    with pytest.raises(ValueError, match=r"batch_size: .* 95 molecules, too few for 96 processes"):
        small.train_dataloader()


def test_what_is_gathered_are_the_whole_batches_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [(torch.arange(n), torch.rand(n, n, 2), torch.ones(n, n).bool()) for n in (7, 2)]
    shares = [Share(rank, 3) for rank in range(3)]
    batches[1] = tuple(torch.cat([part, part]) for part in batches[1])
    parts = [[tuple(map(share.take, batch)) for batch in batches] for share in shares]
    # As padding does, to the largest of a part.
    parts[1][0] = tuple(part[:, :4] if part.ndim > 1 else part for part in parts[1][0])

    def gather(everywhere: list[Any], _: object) -> None:
        everywhere[:] = parts

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    found = shares[0].gather(parts[0])
    for batch, (index, values, mask) in zip(batches, found, strict=True):
        assert torch.equal(index, batch[0])
        expected = batch[1].clone()
        if len(index) == 7:
            expected[1::3, 4:] = 0
            assert not mask[1::3, 4:].any() and mask[::3].all()
        assert torch.equal(values, expected)


# --- augmentation ---------------------------------------------------------------------------


def test_augmentation_keeps_distances_and_moves_atoms(qm9_cache: Path) -> None:
    batches = {}
    for augment in (SO3(), None):
        data = QM9(train_molecules=200, augment=augment, cache_dir=str(qm9_cache))
        data.setup()
        batches[augment] = list(data.train_dataloader())
    for turned, still in zip(batches[SO3()], batches[None], strict=True):
        assert torch.equal(turned.ids, still.ids)
        torch.testing.assert_close(
            torch.cdist(turned.points.double(), turned.points.double()),
            torch.cdist(still.points.double(), still.points.double()),
            atol=2e-5,
            rtol=0,
        )
        # a reflection would keep the distances too
        frames = still.points[:, :3].double()
        change = torch.linalg.det(turned.points[:, :3].double()) - torch.linalg.det(frames)
        assert change.abs().max() < 1e-4
        assert (turned.points - still.points).norm(dim=-1).max(dim=1).values.min() > 1e-3
        assert not turned.points[~turned.mask].any()


def test_augmentation_repeats_within_and_changes_between_epochs(small: QM9) -> None:
    first, again, later = (epoch(small, number) for number in (3, 3, 4))
    assert all(torch.equal(a.points, b.points) for a, b in zip(first, again, strict=True))
    loader = small.train_dataloader()
    loader._move = None
    rotations = []
    for number, batches in (3, first), (4, later):
        loader.set_epoch(number)
        for still, turned, _ in zip(loader, batches, range(2), strict=False):
            assert torch.equal(still.ids, turned.ids)
            solved = torch.linalg.lstsq(still.points, turned.points).solution
            rotations.append(solved[:90].flatten(1))
    # the places in the batches are the same; the rotations drawn for them are not
    for one, other in itertools.combinations(rotations, 2):
        assert ((one - other).norm(dim=1) > 1e-3).all()


def test_augmentation_leaves_the_global_generator_alone(small: QM9) -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    epoch(small, 0)
    assert torch.equal(state, torch.get_rng_state())


def test_evaluation_is_not_augmented(small: QM9) -> None:
    for one, two in zip(small.test_dataloader(), small.test_dataloader(), strict=True):
        assert torch.equal(one.points, two.points)


# --- statistics -----------------------------------------------------------------------------


def test_mean_and_deviation_are_of_the_training_targets(whole: QM9, molecules: Molecules) -> None:
    values = molecules.target("homo")[find_split("lietransformer").rows("train")]
    assert statistics(whole).mean == pytest.approx([values.mean()])
    assert statistics(whole).std == pytest.approx([values.std()])
    assert [target.unit for target in whole.targets] == ["meV"]


def test_the_constant_is_the_training_median(whole: QM9, molecules: Molecules) -> None:
    values = molecules.target("homo")[find_split("lietransformer").rows("train")]
    best = min(np.abs(values - c).mean() for c in np.linspace(*np.quantile(values, [0.3, 0.7]), 99))
    found = {part: float(error[0]) for part, error in statistics(whole).constant_mae.items()}
    assert found["train"] == pytest.approx(best, rel=1e-4)
    assert found["train"] <= best
    assert found == pytest.approx({"train": 440.0, "val": 439.0, "test": 433.6}, abs=0.1)


def test_extensive_targets_come_less_their_references(qm9_cache: Path) -> None:
    data = QM9(target="u0", cache_dir=str(qm9_cache))
    data.setup()
    assert statistics(data).mean == pytest.approx([-76_107], abs=5)
    assert statistics(data).std == pytest.approx([10_323], abs=5)


def test_a_sum_over_elements_is_found_by_least_squares(
    qm9_cache: Path, molecules: Molecules
) -> None:
    names = ["u0", "zpve", "homo"]
    data = QM9(target=names, train_molecules=3000, cache_dir=str(qm9_cache))
    data.setup()
    fit = statistics(data).composition
    split = find_split("lietransformer")
    design = np.c_[molecules.element_counts(), np.ones(len(molecules))]
    rows = {"train": split.rows("train")[:3000], "test": split.rows("test")}
    for place, name in enumerate(names):
        y = molecules.target(name)
        expected = scipy.linalg.lstsq(design[rows["train"]], y[rows["train"]])[0]
        np.testing.assert_allclose(fit.weights[:, place], expected[:-1], rtol=1e-7)
        np.testing.assert_allclose(fit.constant[place], expected[-1], rtol=1e-7)
        rest = {part: y[each] - design[each] @ expected for part, each in rows.items()}
        assert fit.std[place] == pytest.approx(rest["train"].std())
        for part, each in rest.items():
            assert fit.mae[part][place] == pytest.approx(np.abs(each).mean())
    assert fit.size == pytest.approx(molecules.sizes[rows["train"]].mean())
    # What grows with a molecule is mostly that; what does not, hardly.
    alone = statistics(data).std
    assert (fit.std / alone)[:2] == pytest.approx([0.106, 0.052], abs=0.002)
    assert fit.std[2] / alone[2] > 0.95


def test_a_sum_over_elements_of_few_molecules_stays_finite() -> None:
    """Fewer molecules than unknowns, an element that none has, and the same composition twice."""
    counts = np.array([[4, 1, 0], [4, 1, 0], [6, 2, 0]])
    energies = np.array([[-17.0], [-17.0], [-29.0]])
    fit = Composition.of({"train": energies}, {"train": counts})
    np.testing.assert_allclose(fit.constant + counts @ fit.weights, energies, rtol=1e-12)
    assert fit.weights[2] == 0
    assert fit.std == pytest.approx(0.01 * energies.std())
    one = Composition.of({"train": energies}, {"train": counts[[0, 0, 0]]})
    assert not one.weights.any()
    assert (one.constant, one.std) == (energies.mean(), energies.std())


def test_several_targets_stand_side_by_side(qm9_cache: Path, molecules: Molecules) -> None:
    names = ["mu", "u0"]
    data = QM9(target=names, test_molecules=20, cache_dir=str(qm9_cache))
    data.setup()
    (batch,) = data.test_dataloader()
    rows = np.searchsorted(molecules.index, batch.ids.numpy())
    for place, name in enumerate(names):
        expected = molecules.target(name)
        np.testing.assert_array_equal(batch.targets[:, place], np.float32(expected[rows]))
        train = expected[find_split("lietransformer").rows("train")]
        assert statistics(data).mean[place] == pytest.approx(train.mean())
        assert statistics(data).std[place] == pytest.approx(train.std())


# --- the data module ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"target": "energy"}, ["target", "'energy'", *TARGETS]),
        ({"target": ["homo", "energy"]}, ["target", "'energy'", *TARGETS]),
        ({"target": ["homo", "homo"]}, ["target", "'homo', 'homo'", "different"]),
        ({"target": []}, ["target", "[]"]),
        ({"split": "random"}, ["split", "'random'", "lietransformer", "110k"]),
        ({"train_molecules": 1}, ["train_molecules", "1", "2 to 100,000"]),
        ({"train_molecules": 100_001}, ["train_molecules", "100001", "2 to 100,000"]),
        ({"train_molecules": 110_001, "split": "110k"}, ["train_molecules", "2 to 110,000"]),
        ({"val_molecules": 0}, ["val_molecules", "0", "1 to 17,748"]),
        ({"test_molecules": -1}, ["test_molecules", "-1", "1 to 13,083"]),
        ({"batch_size": 0}, ["batch_size", "0", "1 or more"]),
        ({"seed": -1}, ["seed", "-1", "0 to"]),
    ],
)
def test_wrong_arguments_stop_before_data_is_read(
    arguments: dict[str, object], expected: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as caught:
        QM9(**arguments, cache_dir=str(tmp_path))  # type: ignore[arg-type]
    assert all(word in str(caught.value) for word in expected)
    assert not list(tmp_path.iterdir())


def test_values_before_setup_say_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"setup\(\)"):
        QM9().values("train")


def test_every_argument_is_documented() -> None:
    documented = inspect.getdoc(QM9)
    assert documented
    for name in list(inspect.signature(QM9).parameters):
        assert f"\n    {name}: " in documented


class Line(pl.LightningModule):
    """A model whose weights depend on the order and on the rotation of what it saw."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(18, 1)
        self.stop_after = stop_after
        self.seen: list[tuple[int, list[int]]] = []
        self.validated: list[int] = []

    def loss(self, batch: Clouds) -> Tensor:
        assert isinstance(batch, Clouds)
        atoms = torch.cat([batch.features, batch.points], dim=-1)
        output = (self.linear(atoms).squeeze(-1) * batch.mask).sum(dim=1)
        return (output - batch.targets[:, 0] / 1000).square().mean()

    def training_step(self, batch: Clouds, _: int) -> Tensor:
        if self.stop_after is not None and len(self.seen) == self.stop_after:
            raise KeyboardInterrupt
        self.seen.append((self.current_epoch, batch.ids.tolist()))
        return self.loss(batch)

    def validation_step(self, batch: Clouds, _: int) -> None:
        self.validated += batch.ids.tolist()
        self.log("val", self.loss(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-4)


def trainer(folder: Path, epochs: int, *callbacks: pl.Callback) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        enable_checkpointing=bool(callbacks),
    )


def module(cache: Path) -> QM9:
    return QM9(train_molecules=500, val_molecules=100, cache_dir=str(cache))


@pytest.fixture(scope="module")
def straight(qm9_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Line:
    torch.manual_seed(0)
    model = Line()
    trainer(tmp_path_factory.mktemp("straight"), 3).fit(model, datamodule=module(qm9_cache))
    return model


def test_lightning_sets_the_epoch(straight: Line, qm9_cache: Path) -> None:
    data = module(qm9_cache)
    data.setup()
    expected = [
        (number, batch.ids.tolist()) for number in range(3) for batch in epoch(data, number)
    ]
    assert straight.seen == expected
    assert sorted(straight.validated) == sorted(3 * indices(list(data.val_dataloader())).tolist())


@pytest.mark.filterwarnings("error:.*resum.*", "ignore:.*callbacks used to create the checkpoint")
@pytest.mark.parametrize("steps", [6, 8, 12])
def test_a_resumed_run_ends_where_an_unbroken_one_does(
    steps: int, straight: Line, qm9_cache: Path, tmp_path: Path
) -> None:
    # 6 batches an epoch: at the end of an epoch, inside one, at the end of the second
    torch.manual_seed(0)
    save = pl.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=steps, save_top_k=-1)
    first = Line(stop_after=steps if steps % 6 else None)
    run = trainer(tmp_path, math.ceil(steps / 6), save)
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        run.fit(first, datamodule=module(qm9_cache))
    (checkpoint,) = tmp_path.glob(f"*step={steps}.ckpt")
    second = Line()
    trainer(tmp_path, 3).fit(
        second, datamodule=module(qm9_cache), ckpt_path=str(checkpoint), weights_only=True
    )
    assert first.seen + second.seen == straight.seen
    assert torch.equal(second.linear.weight, straight.linear.weight)


@pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint")
def test_a_run_interrupted_within_a_step_repeats_that_step(
    straight: Line, qm9_cache: Path, tmp_path: Path
) -> None:
    class SaveOnException(pl.Callback):
        def on_exception(self, trainer: pl.Trainer, *_: object) -> None:
            trainer.save_checkpoint(tmp_path / "interrupted.ckpt")

    torch.manual_seed(0)
    first, second = Line(stop_after=9), Line()
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        trainer(tmp_path, 3, SaveOnException()).fit(first, datamodule=module(qm9_cache))
    trainer(tmp_path, 3).fit(
        second, datamodule=module(qm9_cache), ckpt_path=str(tmp_path / "interrupted.ckpt")
    )
    assert first.seen + second.seen == straight.seen
    assert torch.equal(second.linear.weight, straight.linear.weight)


def test_resuming_inside_an_epoch_of_other_batches_is_refused(small: QM9) -> None:
    loader = small.train_dataloader()
    with pytest.raises(ValueError, match=r"after batch 3 of 7.*21 batches.*batch_size"):
        loader.load_state_dict({"batches": 7, "done": 3})
    loader.load_state_dict({"batches": 7, "done": 7})
    assert len(list(loader)) == len(loader) == 21


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 1}, r"data\.seed was 0, is 1; .* inside an epoch, after batch 3 of 21"),
        ({"batch_size": 50}, r"data\.batch_size was 96, is 50"),
        ({"train_molecules": 1990}, r"data\.train_molecules was 2000, is 1990"),
        ({"split": "110k", "seed": 2}, r"data\.split was .*110k; data\.seed was 0, is 2"),
    ],
)
def test_what_an_epoch_depends_on_stays_until_its_end(
    small: QM9, qm9_cache: Path, changed: dict[str, Any], words: str
) -> None:
    state = small.train_dataloader().state_dict()
    settings = {"train_molecules": 2000, "batch_size": 96, "cache_dir": str(qm9_cache)}
    other = QM9(**{**settings, **changed})
    other.setup()
    with pytest.raises(ValueError, match=words):
        other.train_dataloader().load_state_dict(state | {"done": 3})
    for done in (0, state["batches"]):
        other.train_dataloader().load_state_dict(state | {"done": done})
    torch.save(state, file := io.BytesIO())
    file.seek(0)
    assert torch.load(file, weights_only=True) == state


def test_without_a_trainer_the_loader_counts_what_it_gave(small: QM9) -> None:
    loader = small.train_dataloader()
    full = list(loader)
    iterator = iter(loader)
    for _ in range(4):
        next(iterator)
    resumed = small.train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    rest = list(resumed)
    assert len(rest) == len(full) - 4
    assert all(torch.equal(a.points, b.points) for a, b in zip(rest, full[4:], strict=True))


def test_a_batch_moves_between_devices_as_one(small: QM9) -> None:
    batch = next(iter(small.train_dataloader()))
    moved = small.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert isinstance(moved, Clouds)
    assert all(tensor is None or tensor.device.type == "meta" for tensor in moved)


def test_batches_are_gathered_without_reading_from_the_device(small: QM9) -> None:
    """Tensors of the device ``meta`` have no values, so whatever asked for one would fail."""
    loader = small.train_dataloader()
    loader._move = None
    far = small.train_dataloader()
    far._move = None
    table = small.clouds("train")
    far._clouds = lambda epoch: table.to("meta")
    assert table.to("cpu") is table
    for here, there in zip(loader, far, strict=True):
        parts = [part for part in zip(here, there, strict=True) if part[0] is not None]
        assert all(part.device.type == "meta" for _, part in parts)
        assert [p.shape for p, _ in parts] == [p.shape for _, p in parts]
        assert [p.dtype for p, _ in parts] == [p.dtype for _, p in parts]
