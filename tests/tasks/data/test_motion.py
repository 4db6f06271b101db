"""A random motion moves each cloud as one body, and what is to be predicted with it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from liegroups import SE2, SE3, SO2, SO3, T2, T3, E, O, Sim, Translation
from tasks.data import Arrays, Target
from tasks.data.motion import RandomMotion
from tasks.sources import FromSource, Source
from tasks.sources.databases import Database
from tasks.sources.md17 import MD17, Springs
from tasks.sources.qm9 import QM9
from tasks.sources.shapes import Shapes
from tasks.sources.trajectories import DynamicsData
from tasks.systems import PendulumChain
from tasks.systems import Springs as SpringSystem


@dataclass(frozen=True)
class Spread(Source):
    point_dim, in_features = 3, 1
    targets = (Target("spread"),)

    def load(self):
        random = np.random.default_rng(0)
        return Arrays(
            points=random.normal(size=(160, 3)),
            sizes=np.full(40, 4),
            features=np.ones((160, 1)),
            targets=random.normal(size=(40, 1)),
            ids=np.arange(40),
            point_targets=random.normal(size=(160, 3)),
        )


def of_qm9(qm9_cache, tmp_path, **augment):
    sizes = {"train_molecules": 20, "val_molecules": 4, "test_molecules": 4}
    return QM9(**sizes, batch_size=8, cache_dir=str(qm9_cache), **augment)


def of_database(qm9_cache, tmp_path, **augment):
    db = pytest.importorskip("ase.db")
    from ase.build import molecule

    path = tmp_path / "few.db"
    if not path.exists():
        with db.connect(path) as database:
            for number in range(30):
                atoms = molecule(["CH4", "NH3", "CH3OH"][number % 3])
                atoms.rattle(0.05, seed=number)
                database.write(atoms, gap=float(number))
    sizes = {"val_molecules": 4, "test_molecules": 4, "batch_size": 8}
    return Database(str(path), target="gap", unit="eV", **sizes, **augment)


def of_md17(qm9_cache, tmp_path, **augment):
    frames = {"train_frames": 20, "val_frames": 4, "test_frames": 4}
    return MD17(source=Springs(frames=40), **frames, batch_size=8, **augment)


def of_shapes(qm9_cache, tmp_path, **augment):
    return Shapes(train_clouds=20, val_clouds=4, test_clouds=4, batch_size=8, **augment)


def of_systems(qm9_cache, tmp_path, **augment):
    counts = {"train_systems": 20, "val_systems": 4, "test_systems": 4}
    return DynamicsData(SpringSystem(points=100), **counts, batch_size=8, **augment)


def of_source(qm9_cache, tmp_path, **augment):
    return FromSource(Spread(), val_clouds=4, test_clouds=4, batch_size=8, **augment)


MOVED = {
    "QM9": (of_qm9, [SO3(), SE3(), O(3), T3()]),
    "Database": (of_database, [SO3(), E(3)]),
    "MD17": (of_md17, [SO3(), O(3)]),
    "Shapes": (of_shapes, [SE2(), T2()]),
    "DynamicsData": (of_systems, [SO2(), E(2)]),
    "FromSource": (of_source, [SO3(), SE3()]),
}
CASES = [(make, group) for make, groups in MOVED.values() for group in groups]


def batches(data, epoch=0):
    data.setup("fit")
    loader = data.train_dataloader()
    loader.set_epoch(epoch)
    return list(loader)


def gram(vectors, points):
    """Products of vectors with differences of points, which turn with each other."""
    between = points[:, :, None] - points[:, None]
    return torch.einsum("bnc,bijc->bnij", vectors, between)


@pytest.mark.parametrize(
    ("make", "group"), CASES, ids=lambda value: str(getattr(value, "__name__", value))
)
def test_each_cloud_moves_as_one_body_and_its_vectors_with_it(make, group, qm9_cache, tmp_path):
    plain = batches(make(qm9_cache, tmp_path, augment=None))
    moved = batches(make(qm9_cache, tmp_path, augment=group))
    later = batches(make(qm9_cache, tmp_path, augment=group), epoch=1)
    for one, two in zip(plain, moved, strict=True):
        assert torch.equal(one.ids, two.ids)
        assert torch.equal(one.features, two.features)
        exists = torch.ones_like(one.points[..., 0], dtype=torch.bool)
        exists = exists if one.mask is None else one.mask
        for a, b, some in zip(one.points.double(), two.points.double(), exists, strict=True):
            torch.testing.assert_close(
                torch.cdist(a[some], a[some]), torch.cdist(b[some], b[some]), rtol=1e-4, atol=1e-4
            )
            assert (b[~some] == 0).all()
            assert not torch.equal(a[some], b[some])
        if one.point_targets is not None:
            torch.testing.assert_close(
                gram(one.point_targets, one.points), gram(two.point_targets, two.points),
                rtol=1e-3, atol=1e-2,
            )  # fmt: skip
            assert not torch.equal(one.point_targets, two.point_targets)
        if one.targets.ndim == 2:
            assert torch.equal(one.targets, two.targets)
        else:  # Positions above momenta, at each point in time.
            for a, b in ((one.targets[:, :, n], two.targets[:, :, n]) for n in (0, 1)):
                torch.testing.assert_close(torch.cdist(a, a), torch.cdist(b, b))
            size = [each.targets[:, :, 1].norm(dim=-1) for each in (one, two)]
            torch.testing.assert_close(*size)
    first = {int(i): p for each in moved for i, p in zip(each.ids, each.points, strict=True)}
    again = {int(i): p for each in later for i, p in zip(each.ids, each.points, strict=True)}
    assert first.keys() == again.keys()
    assert any(first[i][:2].ne(again[i][:2]).any() for i in first)


@pytest.mark.parametrize("name", MOVED)
def test_a_group_that_does_not_move_the_points_is_refused(name, qm9_cache, tmp_path):
    make, (group, *_) = MOVED[name]
    wrong = SE3() if "2" in str(group) else SE2()
    with pytest.raises(ValueError, match=r"augment: SE[23]\(\) does not move .* accepted: null"):
        make(qm9_cache, tmp_path, augment=wrong)


def test_a_group_that_is_no_symmetry_of_a_system_is_refused():
    for system, group in ((PendulumChain(), Translation(1)), (SpringSystem(points=100), Sim(2))):
        with pytest.raises(ValueError, match="augment"):
            DynamicsData(system, augment=group)


def test_rotations_are_uniform():
    """The first moments of Haar measure vanish, and the second are 1/n."""
    linear, shift = RandomMotion(SE3(), 2.0).sample(
        20_000, torch.Generator().manual_seed(0), torch.zeros(1)
    )
    assert linear.mean(0).abs().max() < 0.02
    torch.testing.assert_close(
        linear.square().mean(0), torch.full((3, 3), 1 / 3), atol=0.02, rtol=0
    )
    assert shift.abs().max() <= 2.0
    torch.testing.assert_close(shift.var(0), torch.full((3,), 4 / 3), atol=0.03, rtol=0)
