"""The law of the clouds: counts, places, noise, order; and what is refused."""

from math import comb

import numpy as np
import pytest
import torch
from scipy.spatial import procrustes
from scipy.spatial.distance import cdist, pdist
from scipy.stats import chisquare, kstest

from attention import LieTransformer
from liegroups import SE2, SE3
from tasks.cache import writing_only_below
from tasks.objectives import Counting
from tasks.objectives.base import Facts, Tested
from tasks.sources.shapes import SHAPES, Patterns, Shapes, move

MANY = 4000
# With the fixed seeds below these tests give the same values every time; the level says how
# unlikely the values would be if the law were right.
LEVEL = 1e-3


def alone(shape, **settings):
    """Clouds of one pattern each."""
    patterns = Patterns(shapes=(shape,), repetitions=1, presence=1.0, scaled=False, **settings)
    return patterns.sample(MANY, seed=1).points


@pytest.mark.parametrize("presence", [0.1, 0.5, 0.9])
def test_slots_are_filled_independently_given_that_not_all_are_empty(presence):
    counts = Patterns(presence=presence).sample(MANY, seed=0).counts
    slots, total = 8, counts.sum(1)
    weights = np.array(
        [comb(slots, k) * presence**k * (1 - presence) ** (slots - k) for k in range(slots + 1)]
    )
    weights[0] = 0
    expected = MANY * weights / weights.sum()
    # Rare totals are taken together, as the test asks.
    rare = expected < 5
    found = np.bincount(total, minlength=slots + 1)
    assert found[0] == 0
    kept = [*found[~rare], found[rare].sum()], [*expected[~rare], expected[rare].sum()]
    drop = slice(None) if expected[rare].sum() > 0 else slice(-1)
    assert chisquare(kept[0][drop], kept[1][drop]).pvalue > LEVEL
    # No shape is favored, though the slots have an order.
    assert chisquare(counts.sum(0)).pvalue > LEVEL


def test_every_slot_is_filled_at_presence_one():
    clouds = Patterns(presence=1.0).sample(50, seed=0)
    assert (clouds.counts == 2).all()
    assert clouds.mask.all()
    assert clouds.points.shape == (50, 34, 2)


def test_points_come_first_and_are_as_many_as_the_corners():
    clouds = Patterns().sample(MANY, seed=2)
    corners = np.array([len(SHAPES[name]) for name in ("triangle", "square", "pentagon", "L")])
    np.testing.assert_array_equal(clouds.mask.sum(1), clouds.counts @ corners)
    np.testing.assert_array_equal(clouds.mask, np.sort(clouds.mask, axis=1)[:, ::-1])
    assert (clouds.points[~clouds.mask] == 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pattern_without_noise_is_its_shape_up_to_a_motion(shape):
    clouds = alone(shape, noise=0.0)
    expected = np.sort(pdist(np.array(SHAPES[shape])))
    for points in clouds[:50]:
        np.testing.assert_allclose(np.sort(pdist(points)), expected, atol=1e-12)


def test_the_shapes_are_the_published_ones():
    for corners, name in ((3, "triangle"), (4, "square"), (5, "pentagon")):
        points = np.array(SHAPES[name])
        np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
        sides = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1)
        np.testing.assert_allclose(sides, 2 * np.sin(np.pi / corners))
    assert SHAPES["L"] == ((1, 1), (2, 1), (3, 1), (3, 2), (3, 3))


def test_angles_are_uniform_in_their_range():
    # The corner (3, 3) is the only one at distance √18; translations are off.
    points = alone("L", noise=0.0, translation=0.0, rotation=40.0)
    far = np.abs(np.linalg.norm(points, axis=-1) - 18**0.5) < 1e-9
    x, y = points[far].T
    angle = np.rad2deg(np.arctan2(y, x)) - 45
    assert kstest(angle, "uniform", args=(-40, 80)).pvalue > LEVEL


def test_shifts_are_uniform_in_a_square():
    centers = alone("square", noise=0.0, translation=7.0).mean(1)
    for coordinate in centers.T:
        assert kstest(coordinate, "uniform", args=(0, 7)).pvalue > LEVEL
    assert abs(np.corrcoef(centers.T)[0, 1]) < 0.1


def test_noise_is_gaussian_and_independent_for_each_coordinate():
    noisy = Patterns(("L",), 1, 1.0, rotation=0.0, translation=0.0, noise=0.3, scaled=False)
    points = noisy.sample(MANY, seed=3).points
    # Which corner a point is, is lost in the order: look at the mean over all five.
    mean = points.mean(1) - np.array(SHAPES["L"]).mean(0)
    for coordinate in mean.T:
        assert kstest(coordinate, "norm", args=(0, 0.3 / 5**0.5)).pvalue > LEVEL


def test_the_order_of_the_points_tells_nothing():
    # The corner (3, 3) of an L stands at each place equally often.
    points = alone("L", noise=0.0, translation=0.0, rotation=0.0)
    places = np.abs(points - 3).sum(-1).argmin(1)
    assert chisquare(np.bincount(places, minlength=5)).pvalue > LEVEL


def test_scaling_is_one_scalar_and_one_shift_into_the_unit_square():
    scaled, raw = Patterns(noise=0.0), Patterns(noise=0.0, scaled=False)
    a, b = (patterns.sample(MANY, seed=5) for patterns in (scaled, raw))
    np.testing.assert_allclose(
        a.points[a.mask], (b.points[b.mask] - scaled.center) * scaled.unit, atol=1e-12
    )
    assert np.abs(a.points).max() <= 1
    assert np.abs(a.points).max() > 0.95


def test_a_seed_gives_the_same_clouds_and_another_seed_others():
    a, b, c = (Patterns().sample(20, seed) for seed in (0, 0, 1))
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
    assert not np.array_equal(a.points, c.points)


# ---- motions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("motion", ["T2", "SE2"])
def test_each_cloud_moves_as_one_rigid_body(motion):
    clouds = Patterns().sample(200, seed=0)
    moved = move(clouds, motion, 0.7, np.random.default_rng(0))
    np.testing.assert_array_equal(moved.counts, clouds.counts)
    shifts, turns = [], []
    for before, after, mask in zip(clouds.points, moved.points, clouds.mask, strict=True):
        x, y = before[mask], after[mask]
        assert (after[~mask] == 0).all()
        np.testing.assert_allclose(pdist(x), pdist(y), atol=1e-12)
        a, b = x - x.mean(0), y - y.mean(0)
        assert procrustes(x, y)[2] < 1e-20
        turns.append(np.angle(((a @ [1, -1j]) * (b @ [1, 1j])).sum()))
        c, s = np.cos(turns[-1]), np.sin(turns[-1])
        np.testing.assert_allclose(b, a @ np.array([[c, s], [-s, c]]), atol=1e-9)  # no mirror
        shifts.append(y.mean(0) - np.array([[c, -s], [s, c]]) @ x.mean(0))
    for coordinate in np.array(shifts).T:
        assert kstest(coordinate, "uniform", args=(-0.7, 1.4)).pvalue > LEVEL
    if motion == "T2":
        np.testing.assert_allclose(turns, 0, atol=1e-9)
    else:
        assert kstest(turns, "uniform", args=(-np.pi, 2 * np.pi)).pvalue > LEVEL


# ---- sets ----------------------------------------------------------------------------------------


def small(**settings):
    return Shapes(train_clouds=40, val_clouds=30, test_clouds=20, batch_size=8, **settings)


def test_no_cloud_of_one_part_is_in_another():
    # The public code draws its test set with the seed of its training set.
    data = small()
    firsts = [data.sample(part).points[:20, 0] for part in ("train", "val", "test")]
    fresh = data.sample("train", epoch=1).points[:20, 0]
    together = np.concatenate([*firsts, fresh])
    assert len(np.unique(together, axis=0)) == len(together)


def test_test_sets_are_the_same_clouds_at_other_places():
    data = small()
    sets = [data.moved("test", motion) for motion in ("D", "T2", "SE2")]
    for other in sets[1:]:
        np.testing.assert_array_equal(other.counts, sets[0].counts)
        for a, b, mask in zip(sets[0].points, other.points, sets[0].mask, strict=True):
            np.testing.assert_allclose(pdist(a[mask]), pdist(b[mask]), atol=1e-12)
            assert np.abs(a - b).max() > 1e-3


def test_a_folder_keeps_the_sets_as_they_were_drawn(tmp_path, monkeypatch):
    drawn = small(motion="SE2").moved("train", "SE2")
    small(folder=str(tmp_path)).moved("train", "SE2")

    def redraw(*args):
        raise AssertionError("drawn again")

    monkeypatch.setattr(Patterns, "sample", redraw)
    kept = small(folder=str(tmp_path)).moved("train", "SE2")
    for a, b in zip(drawn, kept, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"folder: .*file.* name another one"):
        small(folder=str(tmp_path / "file/sets")).moved("train", "D")
    with writing_only_below(tmp_path), pytest.raises(ValueError, match=r"folder: .* only"):
        small(folder=str(tmp_path.parent / "elsewhere")).moved("train", "D")


def test_a_folder_of_other_or_damaged_sets_is_refused(tmp_path):
    small(folder=str(tmp_path)).moved("train", "D")
    with pytest.raises(ValueError, match=r"other settings \(patterns: .*another folder"):
        small(folder=str(tmp_path), patterns=Patterns(noise=0.2)).moved("train", "D")
    (path,) = tmp_path.glob("train-D-*.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"damaged or truncated.*delete the file"):
        small(folder=str(tmp_path)).moved("train", "D")


@pytest.mark.parametrize("fresh", [False, True])
def test_an_epoch_gives_each_cloud_once_and_fresh_epochs_give_new_clouds(fresh):
    loader = small(fresh=fresh).train_dataloader()
    epochs = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        batches = list(loader)
        assert sorted(torch_rows(batches)) == list(range(40))
        epochs.append({tuple(b.points[0, 0].tolist()) for b in split(batches)})
    assert (epochs[0] & epochs[1] == set()) if fresh else (epochs[0] == epochs[1])


def torch_rows(batches):
    return [int(row) for batch in batches for row in batch.ids]


def split(batches):
    """Batches of one cloud."""
    for batch in batches:
        # The order of the points of a cloud is kept, so its first point stands for it.
        for k in range(len(batch.ids)):
            yield type(batch)(*(None if part is None else part[k : k + 1] for part in batch))


def test_augmentation_moves_the_clouds_anew_and_gives_the_same_features():
    plain = small(features="distances").train_dataloader()
    moving = small(features="distances", augment=SE2()).train_dataloader()
    for a, b in zip(plain, moving, strict=True):
        np.testing.assert_array_equal(a.ids, b.ids)
        np.testing.assert_array_equal(a.features, b.features)
        assert (a.points - b.points).abs().max() > 0.1
    first = next(iter(moving)).points
    moving.set_epoch(1)
    again = next(iter(moving)).points
    assert first.shape != again.shape or (first - again).abs().max() > 0.1


def test_sorted_distances_are_those_of_scipy():
    data = small(features="distances")
    batch = next(iter(data.val_dataloader()))
    assert batch.features.shape[-1] == data.in_features == 33
    for features, points, mask in zip(batch.features, batch.points, batch.mask, strict=True):
        x = points[mask].double().numpy()
        expected = -np.sort(-cdist(x, x), axis=1)[:, :-1]
        size = len(x)
        np.testing.assert_allclose(features[:size, : size - 1], expected, atol=1e-6)
        assert (features[:, size - 1 :] == 0).all()
        assert (features[size:] == 0).all()


def test_guessing_is_measured_on_the_counts():
    data = Shapes(test_clouds=MANY)
    # Of 0, 1 and 2 with probabilities ¼, ½, ¼, given that some slot is filled.
    objective = Counting(Facts(1, 4, choices=data.choices))
    objective.learn_from(data)
    network = LieTransformer(SE2(), 1, 12, width=4, layers=1, heads=1)
    nothing = torch.zeros(1, 4)
    tested = [Tested(n, (nothing, nothing)) for n in range(3)]
    found = objective.results(network, tested, data)
    assert found["test/error_constant"] == pytest.approx(0.5, abs=0.02)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"shapes": ()}, "none are given; accepted: triangle, square, pentagon, L"),
        ({"shapes": ("triangle", "cube")}, "no 'cube'; accepted: triangle, square"),
        ({"shapes": ("L", "L")}, "names one twice"),
        ({"repetitions": 0}, "repetitions: 0; accepted: 1 or more"),
        ({"presence": 0.0}, "presence: 0.0; accepted: a number above 0"),
        ({"presence": 1.1}, "presence: 1.1; accepted: a number above 0 and at most 1"),
        ({"rotation": 181.0}, "rotation: 181.0; accepted: a number at least 0 and at most 180"),
        ({"translation": -1.0}, "translation: -1.0; accepted: a number at least 0"),
        ({"noise": -0.1}, "noise: -0.1; accepted: a number at least 0"),
        ({"noise": float("nan")}, "noise: nan; accepted: a number at least 0"),
    ],
    ids=str,
)
def test_an_impossible_law_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Patterns(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train_clouds": 0}, "train_clouds: 0; accepted: 1 or more"),
        ({"motion": "SE3"}, "motion: 'SE3'; accepted: D, T2, SE2"),
        ({"augment": SE3()}, r"augment: SE3\(\) does not move points of 2 coordinates.*SE\(2\)"),
        ({"shift": -1.0}, "shift: -1.0"),
        ({"features": "angles"}, "features: 'angles'; accepted: constant, distances"),
        ({"seed": -1}, "seed: -1"),
        ({"fresh": True, "folder": "x"}, "one of the two"),
        ({"patterns": Patterns(repetitions=10**9)}, r"GiB.*lower repetitions"),
        ({"train_clouds": 10**12}, r"GiB.*lower repetitions or the number of clouds"),
    ],
    ids=str,
)
def test_an_impossible_set_is_refused_before_it_is_drawn(settings, words, monkeypatch):
    monkeypatch.setattr(Patterns, "sample", lambda *args: pytest.fail("clouds were drawn"))
    with pytest.raises(ValueError, match=words):
        Shapes(**settings)


def test_no_clouds_are_an_empty_set():
    points, mask, counts = Patterns().sample(0, seed=0)
    assert (points.shape, mask.shape, counts.shape) == ((0, 34, 2), (0, 34), (0, 4))
