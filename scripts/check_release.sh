#!/usr/bin/env bash
# Installs the wheel of dist/ into a fresh environment outside of the checkout and uses it as somebody
# would who has nothing else: the quick start, a training, and the testing kit on a group of their own.
# Used by `make release`; takes PYTHON, PIP_FLAGS and CONSTRAINTS (a file; none when empty).
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wheel=$(ls "$root"/dist/lie_attention-*.whl)
sdist=$(ls "$root"/dist/lie_attention-*.tar.gz)
python=${PYTHON:-$root/.venv/bin/python}
constraints=${CONSTRAINTS:+$(realpath "$CONSTRAINTS")}
outside=$(mktemp -d)
trap 'rm -rf "$outside"' EXIT

echo "release: what is inside"
"$python" - "$wheel" "$sdist" "$root" <<'PYTHON'
import sys
import tarfile
import zipfile
from pathlib import Path

wheel, sdist, root = sys.argv[1:]
inside = set(zipfile.ZipFile(wheel).namelist())
packages = ("liegroups", "attention", "tasks")
wanted = {f"{package}/py.typed" for package in packages}
for package in packages:
    for kind in ("*.py", "*.yaml", "*.json"):
        wanted |= {str(path.relative_to(root)) for path in (Path(root) / package).rglob(kind)}
missing = sorted(wanted - inside)
assert not missing, f"the wheel lacks {missing}"
foreign = [name for name in inside if name.split("/")[0] not in packages and ".dist-info/" not in name]
assert not foreign, f"the wheel has {foreign}"
source = {name.partition("/")[2] for name in tarfile.open(sdist).getnames()}
for name in ("pyproject.toml", "README.md", "LICENSE", "tests/conftest.py", "docs/conf.py"):
    assert name in source, f"the source archive lacks {name}"
print(f"  {len(inside)} files in the wheel, {len(source)} in the source archive")
PYTHON

echo "release: a fresh environment"
"$python" -m venv "$outside/venv"
# shellcheck disable=SC2086  # PIP_FLAGS is a list of words.
"$outside/venv/bin/python" -m pip install --quiet --disable-pip-version-check ${PIP_FLAGS:-} \
    ${constraints:+-c "$constraints"} "$wheel[testing]"

mkdir "$outside/work"
cd "$outside/work"
unset PYTHONPATH
export LIE_ATTENTION_CACHE=$outside/cache OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

echo "release: the quick start"
"$outside/venv/bin/python" - "$root" <<'PYTHON'
import sys
from importlib.metadata import version
from pathlib import Path

import torch

import attention
import liegroups as lg
import tasks
from attention import LieTransformer, invariance_error

for package in (attention, lg, tasks):
    assert not Path(package.__file__).is_relative_to(sys.argv[1]), package.__file__
features, points = torch.randn(8, 20, 5), torch.randn(8, 20, 3)
network = LieTransformer(lg.SE3(), in_features=5, out_features=1, invariant=lg.Distance())
assert network(features, points).shape == (8, 1)
assert network.equivariance == "exact"
assert invariance_error(network, features, points) < 1e-9
print(f"  lie-attention {version('lie-attention')}, torch {torch.__version__}")
PYTHON
"$outside/venv/bin/lie-attention" fit --config shapes/quick.yaml --run first \
    --data.train_clouds 512 --data.val_clouds 64 --data.test_clouds 64 --trainer.max_epochs 1 \
    --trainer.enable_progress_bar false
test -s first/metrics.json
"$outside/venv/bin/lie-attention" test --run first --trainer.enable_progress_bar false

echo "release: the testing kit on a group that is defined here"
cat >my_package.py <<'PYTHON'
from dataclasses import dataclass

import torch

from liegroups import AffineGroup, LieGroup


@dataclass(frozen=True)
class Boost(LieGroup):
    dim, matrix_size, basis_labels = 1, 2, ("rapidity",)
    is_compact, is_abelian = False, True

    def algebra_basis(self):
        return torch.tensor([[[1.0, 0.0], [0.0, -1.0]]], dtype=torch.float64)

    def exp(self, a):
        self.check_tangent(a)
        return torch.cat((a.exp(), (-a).exp()), -1).diag_embed()

    def log(self, g):
        self.check_element(g)
        return (g[..., 0, :1].log() - g[..., 1, 1:].log()) / 2

    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        a = torch.randn((*shape, 1), generator=generator, dtype=dtype, device=device)
        return self.exp(a)


@dataclass(frozen=True)
class Poincare(AffineGroup):
    linear = Boost()


@dataclass(frozen=True)
class Wrong(Boost):
    def inverse(self, g):
        return g
PYTHON
cat >test_mine.py <<'PYTHON'
from liegroups.testing import homogeneous_space_suite, lie_group_suite
from my_package import Boost, Poincare

TestBoost = lie_group_suite(Boost())
TestSpace = homogeneous_space_suite(Poincare().default_space())
PYTHON
"$outside/venv/bin/python" -m pytest -q -p no:cacheprovider test_mine.py | tail -n 3
"$outside/venv/bin/lie-attention" check-group my_package:Boost --examples 5 | tail -n 1
if "$outside/venv/bin/lie-attention" check-group my_package:Wrong --examples 5 >wrong.txt; then
    echo "release: a wrong group passed" >&2
    exit 1
fi
grep -q "fail  inverse_is_the_inverse" wrong.txt
echo "release: good."
