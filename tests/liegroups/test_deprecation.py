"""Old names work for one more release, and say which names are the new ones."""

import importlib
import sys

import pytest
import torch

import attention
import attention.geometry
import attention.kernels
import attention.steerable
import attention.testing
from attention import ContentOnly, DenseNeighborhood, DotProduct, Geometry, Pairs
from attention.backends import Reference
from liegroups import SE3, Distance, EuclideanSpace, Lifted


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (attention, "Fibres", "Pairs"),
        (attention, "Ends", "Projections"),
        (attention.geometry, "Fibres", "Pairs"),
        (attention.kernels, "Ends", "Projections"),
        (attention.kernels.content, "Ends", "Projections"),
        (attention.steerable, "Product", "TensorProduct"),
        (attention.testing, "draw_clouds", "example_clouds"),
    ],
)
def test_old_names_in_modules(module, old, new):
    name = module.__name__
    with pytest.warns(DeprecationWarning, match=f"^{name}.{old} is now called {name}.{new}"):
        found = getattr(module, old)
    assert found is getattr(module, new)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = module.nothing


def test_an_old_module(monkeypatch):
    # Whatever was imported before: a module warns when it is first imported.
    monkeypatch.delitem(sys.modules, "liegroups.testing.draws", raising=False)
    with pytest.warns(DeprecationWarning, match=r"draws is now called liegroups\.testing\.inputs"):
        old = importlib.import_module("liegroups.testing.draws")
    assert old.element is importlib.import_module("liegroups.testing.inputs").element


def test_old_methods():
    space = SE3().default_space()
    points = torch.randn(1, 3, 3)
    pairs = Pairs(
        Geometry(space, Distance()), DenseNeighborhood(), Lifted(space.section(points), points)
    )
    kernel = ContentOnly(4, 2, pairs.geometry)
    calls = {
        "turn": lambda: space.turn(torch.eye(3)),
        "locate": lambda: pairs.locate(lambda x: x),
        "at_targets": lambda: pairs.at_targets(lambda x: x, torch.randn(1, 3, 4)),
        "pairs": lambda: pairs.neighborhood.pairs(pairs.target, pairs.source),
        "restrict": lambda: pairs.neighborhood.restrict(torch.randn(2, 1, 3, 3)),
        "ends": lambda: kernel.ends(torch.randn(1, 3, 4), pairs.source).target,
        "obstacle": lambda: Reference().obstacle(kernel, None, pairs),
    }
    for name, call in calls.items():
        with pytest.warns(DeprecationWarning, match=rf"\w+\.{name} is now called"):
            call()


def test_a_subclass_may_define_an_old_method():
    with pytest.warns(DeprecationWarning, match=r"Old\.turn is now called Old\.embed_linear"):

        class Old(EuclideanSpace):
            def turn(self, a):
                return 2 * super().embed_linear(a)

    assert Old(SE3()).embed_linear(torch.eye(3))[0, 0] == 2
    with pytest.warns(DeprecationWarning, match=r"OldContent\.ends"):

        class OldContent(DotProduct):
            def ends(self, features, lifted):
                return "projected"

    assert OldContent(4, 2, SE3().default_space()).project(None, None) == "projected"
