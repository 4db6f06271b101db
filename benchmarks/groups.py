"""Time of SO(3) and SE(3), against the libraries that a user would pick instead.

exp, log, compose, inverse and relative (g⁻¹h), forward and with the backward pass, on batches of
1,000 and 1,000,000, in one thread. All libraries see the same tangents and elements in one run,
each in its own representation, and take turns, so that a slow moment of the machine meets all.
What each row measures, in float32 unless said otherwise:

- ours: matrices, ``(n, 3, 3)`` and ``(n, 4, 4)``;
- pypose: quaternions, and translations with quaternions;
- roma: rotation matrices; its rigid motions have no exp and log;
- roma quaternions: unit quaternions, rotations only;
- kornia: ``kornia.geometry.liegroup``, quaternions, and quaternions with translations;
- scipy: ``Rotation`` and ``RigidTransform``, float64, forward only;
- geomstats: matrices, numpy backend, float64, forward only; left out where it would take minutes.

The peers live in an environment of their own; those that are missing are left out, and named::

    python -m venv .bench
    .bench/bin/pip install torch==2.13.0 pypose roma kornia scipy geomstats 'numpy<2.4' -e .
    OMP_NUM_THREADS=1 .bench/bin/python benchmarks/groups.py

pytorch3d has no package for current versions of torch and Python, and is not compared.
"""

from __future__ import annotations

import importlib.metadata
from argparse import ArgumentParser
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import torch
from _results import Row, stamped, write
from torch import Tensor

import liegroups as lg

REPEATS = {1_000: 101, 1_000_000: 7}
# Left out beyond this many seconds for one call, judged from the batch before.
LIMIT = 20.0
OPERATIONS = ("exp", "log", "compose", "inverse", "relative")
GROUPS = {"SO3": lg.SO3(), "SE3": lg.SE3()}

Case = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its inputs, in the representation of a library."""


def ours(name: str, a: Tensor, g: Tensor, h: Tensor) -> dict[str, Case]:
    group = GROUPS[name]
    return {
        "exp": (group.exp, (a,)),
        "log": (group.log, (g,)),
        "compose": (group.compose, (g, h)),
        "inverse": (group.inverse, (g,)),
        "relative": (group.relative, (g, h)),
    }


def pypose(name: str, a: Tensor, g: Tensor, h: Tensor) -> dict[str, Case]:
    import pypose as pp

    kind, algebra = (pp.SO3, pp.so3) if name == "SO3" else (pp.SE3, pp.se3)
    x, y = (_quaternions_last(name, z) for z in (g, h))
    return {
        "exp": (lambda a: algebra(a).Exp().tensor(), (a,)),
        "log": (lambda x: kind(x).Log().tensor(), (x,)),
        "compose": (lambda x, y: (kind(x) @ kind(y)).tensor(), (x, y)),
        "inverse": (lambda x: kind(x).Inv().tensor(), (x,)),
        "relative": (lambda x, y: (kind(x).Inv() @ kind(y)).tensor(), (x, y)),
    }


def roma(name: str, a: Tensor, g: Tensor, h: Tensor) -> dict[str, Case]:
    import roma

    if name == "SO3":
        compose, inverse = roma.rotmat_composition, roma.rotmat_inverse
        return {
            "exp": (roma.rotvec_to_rotmat, (a,)),
            "log": (roma.rotmat_to_rotvec, (g,)),
            "compose": (lambda g, h: compose((g, h)), (g, h)),
            "inverse": (inverse, (g,)),
            "relative": (lambda g, h: compose((inverse(g), h)), (g, h)),
        }

    def parts(m: roma.Rigid) -> tuple[Tensor, Tensor]:
        return m.linear, m.translation

    def motion(r: Tensor, t: Tensor) -> roma.Rigid:
        return roma.Rigid(r, t)

    x, y = ((z[:, :3, :3].contiguous(), z[:, :3, 3].contiguous()) for z in (g, h))
    return {
        "compose": (lambda r, t, q, s: parts(motion(r, t) @ motion(q, s)), (*x, *y)),
        "inverse": (lambda r, t: parts(motion(r, t).inverse()), x),
        "relative": (lambda r, t, q, s: parts(motion(r, t).inverse() @ motion(q, s)), (*x, *y)),
    }


def roma_quaternions(name: str, a: Tensor, g: Tensor, h: Tensor) -> dict[str, Case]:
    import roma

    if name == "SE3":
        return {}
    x, y = (_quaternions_last(name, z) for z in (g, h))
    product, inverse = roma.quat_product, roma.quat_conjugation
    return {
        "exp": (roma.rotvec_to_unitquat, (a,)),
        "log": (roma.unitquat_to_rotvec, (x,)),
        "compose": (product, (x, y)),
        "inverse": (inverse, (x,)),
        "relative": (lambda x, y: product(inverse(x), y), (x, y)),
    }


def kornia(name: str, a: Tensor, g: Tensor, h: Tensor) -> dict[str, Case]:
    from kornia.geometry.liegroup import Se3, So3
    from kornia.geometry.quaternion import Quaternion

    q, p = (_quaternions_last("SO3", z[:, :3, :3]).roll(1, -1).contiguous() for z in (g, h))

    def rotation(q: Tensor) -> So3:
        return So3(Quaternion(q))

    if name == "SO3":
        return {
            "exp": (lambda a: So3.exp(a).q.data, (a,)),
            "log": (lambda q: rotation(q).log(), (q,)),
            "compose": (lambda q, p: (rotation(q) * rotation(p)).q.data, (q, p)),
            "inverse": (lambda q: rotation(q).inverse().q.data, (q,)),
            "relative": (lambda q, p: (rotation(q).inverse() * rotation(p)).q.data, (q, p)),
        }

    def motion(q: Tensor, t: Tensor) -> Se3:
        return Se3(rotation(q), t)

    def parts(m: Se3) -> tuple[Tensor, Tensor]:
        return m.so3.q.data, m.t

    x, y = (q, g[:, :3, 3].contiguous()), (p, h[:, :3, 3].contiguous())
    return {
        "exp": (lambda a: parts(Se3.exp(a)), (a,)),
        "log": (lambda q, t: motion(q, t).log(), x),
        "compose": (lambda q, t, p, s: parts(motion(q, t) * motion(p, s)), (*x, *y)),
        "inverse": (lambda q, t: parts(motion(q, t).inverse()), x),
        "relative": (lambda q, t, p, s: parts(motion(q, t).inverse() * motion(p, s)), (*x, *y)),
    }


def scipy(name: str, a: Tensor, g: Tensor, h: Tensor) -> dict[str, Case]:
    from scipy.spatial.transform import RigidTransform, Rotation

    if name == "SO3":
        kind, exp, log = Rotation, Rotation.from_rotvec, Rotation.as_rotvec
    else:
        kind, exp, log = (
            RigidTransform,
            RigidTransform.from_exp_coords,
            RigidTransform.as_exp_coords,
        )
        a = a.roll(3, -1)
    x, y = (kind.from_matrix(z.double().numpy()) for z in (g, h))
    return {
        "exp": (exp, (a.double().numpy(),)),
        "log": (log, (x,)),
        "compose": (lambda x, y: x * y, (x, y)),
        "inverse": (kind.inv, (x,)),
        "relative": (lambda x, y: x.inv() * y, (x, y)),
    }


def geomstats(name: str, a: Tensor, g: Tensor, h: Tensor) -> dict[str, Case]:
    from liegroups.interop.geomstats import elements_to_numpy, to_geomstats

    group = to_geomstats(GROUPS[name])
    x, y, tangent = map(elements_to_numpy, (g, h, GROUPS[name].hat(a)))
    return {
        "exp": (group.exp, (tangent,)),
        "log": (group.log, (x,)),
        "compose": (group.compose, (x, y)),
        "inverse": (group.inverse, (x,)),
        "relative": (lambda x, y: group.compose(group.inverse(x), y), (x, y)),
    }


LIBRARIES = {
    "ours": (ours, "torch"),
    "pypose": (pypose, "pypose"),
    "roma": (roma, "roma"),
    "roma quaternions": (roma_quaternions, "roma"),
    "kornia": (kornia, "kornia"),
    "scipy": (scipy, "scipy"),
    "geomstats": (geomstats, "geomstats"),
}


def _quaternions_last(name: str, g: Tensor) -> Tensor:
    """Quaternions with the real part last, after the translations of rigid motions."""
    from liegroups.interop.e3nn import to_quaternion

    q = to_quaternion(g[:, :3, :3]).roll(-1, -1)
    return torch.cat((g[:, :3, 3], q), -1) if name == "SE3" else q.contiguous()


def _forward(case: Case) -> Callable[[], object]:
    function, inputs = case
    return lambda: function(*inputs)


def _with_backward(case: Case) -> Callable[[], object]:
    function, inputs = case
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = function(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    weights = [torch.randn_like(x) for x in outputs]

    def run() -> object:
        outputs = function(*leaves)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return torch.autograd.grad(outputs, leaves, weights)

    return run


def _seconds(run: Callable[[], object]) -> float:
    start = process_time()
    result = run()
    seconds = process_time() - start
    del result
    return seconds


def measure(name: str, batch: int, libraries: list[str], slow: set[tuple[str, ...]]) -> list[Row]:
    """One row a library, operation and direction, for one group and batch."""
    group = GROUPS[name]
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, batch, group.dim, generator=generator)
    cases = {
        library: LIBRARIES[library][0](name, a, group.exp(a), group.exp(b)) for library in libraries
    }
    rows: list[Row] = []
    for operation in OPERATIONS:
        for direction, prepare in (("forward", _forward), ("backward", _with_backward)):
            runs = {}
            for library in libraries:
                numpy = library in ("scipy", "geomstats")
                known = (library, name, operation) not in slow
                if operation in cases[library] and known and not (numpy and direction != "forward"):
                    runs[library] = prepare(cases[library][operation])
            times: dict[str, list[float]] = {library: [] for library in runs}
            spent = dict.fromkeys(runs, 0.0)
            for repeat in range(REPEATS[batch] + 1):
                for library, run in runs.items():
                    # The first is a warm-up; two are enough of what takes seconds.
                    if len(times[library]) < 2 or sum(times[library]) < LIMIT / 4:
                        seconds = _seconds(run)
                        spent[library] += seconds
                        if repeat:
                            times[library].append(seconds)
            for library, found in times.items():
                seconds = median(found)
                if seconds * 1000 > LIMIT and batch == 1_000:
                    slow.add((library, name, operation))
                rows.append(
                    stamped(
                        {
                            "library": library,
                            "group": name,
                            "operation": operation,
                            "batch": batch,
                            "direction": direction,
                            "seconds": float(f"{seconds:.4g}"),
                            "cpu_seconds": float(f"{spent[library]:.4g}"),
                        }
                    )
                )
    return rows


def table(rows: list[Row]) -> str:
    """Our time over that of the fastest peer, row by row."""
    keys = ("group", "batch", "operation", "direction")
    lines = [f"{'':36} {'ours':>10} {'fastest peer':>28} {'ratio':>6}"]
    for key in dict.fromkeys(tuple(row[k] for k in keys) for row in rows):
        here = {r["library"]: r["seconds"] for r in rows if tuple(r[k] for k in keys) == key}
        mine = here.pop("ours")
        if here:
            peer = min(here, key=here.__getitem__)
            name = "{} {:>9,} {:8} {}".format(*key)
            lines.append(
                f"{name:36} {mine * 1e3:8.3f} ms {peer:>16} {here[peer] * 1e3:8.3f} ms "
                f"{mine / here[peer]:6.2f}"
            )
    return "\n".join(lines)


def main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batches", type=int, nargs="*", default=list(REPEATS))
    parser.add_argument("--groups", nargs="*", default=list(GROUPS))
    parser.add_argument("--libraries", nargs="*", default=list(LIBRARIES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    found, missing = {}, []
    for library in options.libraries:
        try:
            LIBRARIES[library][0]("SO3", torch.ones(2, 3), *torch.eye(3).expand(2, 2, 3, 3))
            package = LIBRARIES[library][1]
            found[library] = importlib.metadata.version(package)
        except ImportError as error:
            missing.append(library)
            print(f"left out: {library} ({error})")
    rows = []
    slow: set[tuple[str, ...]] = set()
    for name in options.groups:
        for batch in options.batches:
            rows += measure(name, batch, list(found), slow)
    print(table(rows))
    versions = ", ".join(f"{k} {v}" for k, v in found.items() if k != "ours")
    left_out = "".join(f" Not installed: {library}." for library in missing)
    too_slow = ", ".join(" ".join(key) for key in sorted(slow))
    notes = (
        "Medians of the processor's time, one thread, float32 (scipy and geomstats: float64), "
        f"{versions}. Direction 'backward' is the forward and the backward pass together. Each "
        "library keeps its own representation of elements; ours is the matrix. pytorch3d could "
        "not be installed."
        f"{left_out}" + (f" Left out at 1,000,000, as too slow: {too_slow}." if too_slow else "")
    )
    if (options.batches, options.groups) == (list(REPEATS), list(GROUPS)):
        print(f"Written: {write('groups/speed', rows, notes)}")


if __name__ == "__main__":
    main()
