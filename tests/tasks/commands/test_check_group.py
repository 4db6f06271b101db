import pytest

from tasks.commands.main import main

GOOD = """
from dataclasses import dataclass
import torch
from liegroups import LieGroup


@dataclass(frozen=True)
class Shear(LieGroup):
    dim, matrix_size, basis_labels, is_compact, is_abelian = 1, 2, ("s",), False, True

    def algebra_basis(self):
        return torch.tensor([[[0.0, 1.0], [0.0, 0.0]]], dtype=torch.float64)

    def exp(self, a):
        self.check_tangent(a)
        one, zero = torch.ones_like(a[..., 0]), torch.zeros_like(a[..., 0])
        return torch.stack((one, a[..., 0], zero, one), -1).unflatten(-1, (2, 2))

    def log(self, g):
        self.check_element(g)
        return g[..., 0, 1, None]

    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        return self.exp(torch.randn((*shape, 1), generator=generator, dtype=dtype, device=device))


class Broken(Shear):
    def inverse(self, g):
        return g


SHEAR = Shear()
NUMBER = 3


class NeedsSize(Shear):
    def __init__(self, size):
        pass
"""


@pytest.fixture
def check(tmp_path, monkeypatch):
    (tmp_path / "my_package.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "my_package", raising=False)

    def run(name):
        with pytest.raises(SystemExit) as left:
            main(["check-group", name, "--examples", "5"])
        return left.value.code

    return run


@pytest.mark.parametrize("name", ["my_package:Shear", "my_package:SHEAR"])
def test_a_good_group_passes_every_law(check, capsys, name):
    assert check(name) == 0
    printed = capsys.readouterr().out
    assert "pass  log_inverts_exp" in printed
    assert printed.rstrip().splitlines()[-1].endswith("0 fail, 0 skip")


def test_a_broken_group_fails_with_a_counterexample(check, capsys):
    assert check("my_package:Broken") == 1
    printed = capsys.readouterr().out
    assert "fail  inverse_is_the_inverse" in printed
    assert "at g = [[1" in printed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_package", "not of the form MODULE:NAME"),
        ("nowhere:Shear", "no module 'nowhere'"),
        ("my_package:Sheer", "my_package has no 'Sheer'"),
        ("my_package:NUMBER", "is a int, not a liegroups.LieGroup"),
        ("my_package:NeedsSize", "cannot be built without arguments"),
    ],
)
def test_what_is_no_group_is_named(check, capsys, name, message):
    assert check(name) == 1
    assert message in capsys.readouterr().err
