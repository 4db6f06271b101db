"""Time and memory of attention: speed, growth, peers, and a GPU.

Run all but the last, or name those to run::

    OMP_NUM_THREADS=1 python benchmarks/attention.py
    OMP_NUM_THREADS=1 python benchmarks/attention.py speed growth [--public CHECKOUT]
    python benchmarks/attention.py gpu

- speed: a network as large as the public LieTransformer's (width 512, 6 layers, 8 heads, a location
  perceptron of 16 hidden units a head: 10.0 M parameters) on 32 QM9 molecules and on clouds of
  256 points, by each backend, beside its parts: its linear maps and its location perceptrons.
- growth: one cloud of 256 to 16,384 points, and how time and memory grow.
- peers: packages of equivariant networks at the settings of their READMEs, and a network of ours
  of comparable size, on the same molecules.
- gpu: the Triton kernel and the compiled reference, and what TF32 does to equivariance.

Peak memory is that of a whole process, which holds torch and this package and no data set; on a
GPU that of its tensors. The peers live in an environment of their own; those that are missing are
left out, and named::

    python -m venv .bench
    .bench/bin/pip install torch==2.13.0 lie-transformer-pytorch se3-transformer-pytorch \\
        equiformer-pytorch egnn-pytorch -e '.[qm9]'
    OMP_NUM_THREADS=1 .bench/bin/python benchmarks/attention.py peers
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

# This file has the name of the package that it measures: look for that one elsewhere first.
sys.path.append(sys.path.pop(0))

from _peers import PEERS, Peer, equivariance, versions
from _processes import Row, Run, digits, serve, take_turns
from _public import public_network
from _results import stamped, write

from attention import (
    BACKENDS,
    ContentOnly,
    Fibres,
    LieTransformer,
    Linear,
    Rotary,
    SharedLocationMLP,
    Sum,
)
from liegroups import SE3, T3, Distance, Haar
from tasks.provenance import processor_seconds

IN_FEATURES = 15
REPEATS = 5

SHARED = partial(Sum, location=partial(SharedLocationMLP, hidden=16))
ROTARY = partial(ContentOnly, content=Rotary)
SYSTEMS: dict[str, dict[str, Any]] = {
    "LieTransformer-T3": {"group": T3()},
    "LieTransformer-SE3": {"group": SE3()},
    "LieTransformer-distance": {"group": SE3(), "invariant": Distance()},
    "T3": {"group": T3(), "kernel": SHARED},
    "SE3": {"group": SE3(), "kernel": SHARED},
    "rotary": {"group": T3(), "kernel": ROTARY},
    "rotary, linear": {"group": T3(), "kernel": ROTARY, "normalizer": Linear()},
}


@dataclass(frozen=True)
class Case:
    """A network, the clouds that it sees, and what of it to run.

    Attributes:
        system: A key of ``SYSTEMS``, or of ``PEERS``.
        molecules: A file of clouds; random ones when absent.
        part: ``network``, or one of ``PARTS``.
        dtype: Floating type of the products, by autocast.
        compiled: Whether ``torch.compile`` makes it.
        public: The checkout whose network it is to be; ours when absent.
    """

    system: str
    molecules: str | None = None
    clouds: int = 1
    points: int = 256
    lifts: int = 1
    width: int = 512
    layers: int = 6
    heads: int = 8
    backend: str = "auto"
    part: str = "network"
    device: str = "cpu"
    dtype: str = "float32"
    compiled: bool = False
    equivariance: bool = False
    public: str | None = None


Clouds = tuple[Tensor, Tensor, Tensor | None]
"""Features, positions, and a mask."""


def clouds(case: Case) -> Clouds:
    if case.molecules is not None:
        features, positions, mask = torch.load(case.molecules)
        return features, positions, mask
    generator = torch.Generator().manual_seed(0)
    shape = case.clouds, case.points
    features = torch.randn(*shape, IN_FEATURES, generator=generator)
    # The density stays the same as the cloud grows.
    positions = torch.randn(*shape, 3, generator=generator) * (case.points / 32) ** (1 / 3)
    return features.to(case.device), positions.to(case.device), None


def network_of(case: Case) -> LieTransformer:
    torch.manual_seed(0)
    return LieTransformer(
        in_features=IN_FEATURES,
        out_features=1,
        lift=Haar(case.lifts),
        width=case.width,
        layers=case.layers,
        heads=case.heads,
        backend=case.backend,  # type: ignore[arg-type]
        **SYSTEMS[case.system],
    ).to(case.device)


def build(row: Row) -> Run:
    """What a process runs."""
    torch.set_num_threads(1)
    case = Case(**row)
    if case.part == "network":
        return whole_network(case)
    return PARTS[case.part](case)


def whole_network(case: Case) -> Run:
    inputs = clouds(case)
    network: nn.Module
    if case.public is not None:
        network = public_network(
            case.public,
            case.system.rpartition("-")[2],
            in_features=IN_FEATURES,
            lifts=case.lifts,
            width=case.width,
            layers=case.layers,
            heads=case.heads,
        )
    else:
        network = PEERS[case.system].build() if case.system in PEERS else network_of(case)
    run = torch.compile(network) if case.compiled else network

    def forward() -> Callable[[], object]:
        network.zero_grad()
        with torch.autocast(case.device, torch.bfloat16, enabled=case.dtype == "bfloat16"):
            return run(*inputs).sum().backward

    def facts() -> Row:
        found: Row = {"parameters": sum(p.numel() for p in network.parameters())}
        if case.equivariance:
            found |= equivariance(network, *inputs)
        return found

    return Run(forward, facts, case.device)


# --- Parts of a network -----------------------------------------------------------------------


def seen_by_first_block(case: Case) -> tuple[LieTransformer, Fibres, Tensor]:
    """A network, its pairs, and which of its lifted points exist."""
    network = network_of(case)
    features, positions, mask = clouds(case)
    seen = []
    network.blocks[0].register_forward_pre_hook(lambda block, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(features, positions, mask)
    (fibres,) = seen
    exists = torch.ones(features.shape[:2], dtype=torch.bool) if mask is None else mask
    return network, fibres, exists.repeat_interleave(case.lifts, 1)


def linear_maps(case: Case, *, padded: bool) -> Run:
    """The bare matrix products of the linear maps of all blocks: y = xWᵀ, then ∂x and ∂W."""
    network, _, exists = seen_by_first_block(case)
    rows = exists.numel() if padded else int(exists.sum())
    maps = [m.weight.detach() for m in network.blocks.modules() if isinstance(m, nn.Linear)]
    x = {inputs: torch.randn(rows, inputs) for inputs in {w.shape[1] for w in maps}}

    def forward() -> Callable[[], object]:
        outputs = [x[w.shape[1]] @ w.T for w in maps]
        return lambda: [(y @ w, y.T @ x[w.shape[1]]) for y, w in zip(outputs, maps, strict=True)]

    def facts() -> Row:
        return {"gigaflop": digits(6e-9 * rows * sum(w.numel() for w in maps))}

    return Run(forward, facts)


def location(case: Case, *, padded: bool) -> Run:
    """The location perceptrons of all blocks, on all pairs or on those that exist."""
    network, fibres, exists = seen_by_first_block(case)
    invariants = fibres.invariants
    if not padded:
        invariants = invariants[:, exists[:, :, None] & exists[:, None, :]]
    parts = [block.attention.kernel.location for block in network.blocks]

    def forward() -> Callable[[], object]:
        network.zero_grad()
        return sum(part(invariants).sum() for part in parts).backward

    return Run(forward, lambda: {"pairs": invariants[0].numel()})


PARTS: dict[str, Callable[[Case], Run]] = {
    "linear maps": partial(linear_maps, padded=False),
    "linear maps, padded": partial(linear_maps, padded=True),
    "location": partial(location, padded=False),
    "location, padded": partial(location, padded=True),
}


# --- speed ------------------------------------------------------------------------------------

COSTS = [
    # system, whether of molecules, lifts
    ("LieTransformer-SE3", True, 4),
    ("LieTransformer-T3", False, 1),
    ("LieTransformer-SE3", True, 1),
    ("LieTransformer-T3", True, 1),
]
_RATIOS = {
    "ratio_seconds": "seconds_forward_backward",
    "ratio_cpu_seconds": "cpu_seconds_forward_backward",
    "ratio_peak": "peak_mb",
}


def speed(molecules: str, repeats: int, public: str | None) -> None:
    rows = []
    for system, chemical, lifts in COSTS:
        file = molecules if chemical else None
        number = 32 if chemical else 4
        case = partial(Case, system, file, number, lifts=lifts)
        cases = [case(backend=name) for name in ("auto", *dense_backends())]
        cases += [case(part=part) for part in PARTS if chemical or "padded" not in part]
        if public is not None:
            cases.append(case(public=public))
        points = torch.load(molecules)[2].shape[1] if chemical else Case(system).points
        found = take_turns([asdict(case) for case in cases], repeats)
        theirs = found[-1] if public is not None and "failed" not in found[-1] else None
        for run, measured in zip(cases, found, strict=True):
            is_network = run.part == "network"
            row = {
                "system": system,
                "part": run.part,
                "clouds": "32 molecules" if chemical else "4 random",
                "points": points,
                "lifts": lifts,
                "threads": 1,
                "backend": ("public code" if run.public else run.backend) if is_network else None,
                **measured,
            }
            row["share_of_auto"] = row.pop("ratio", None)
            if is_network and theirs is not None and "failed" not in row:
                for ratio, key in _RATIOS.items():
                    row |= {f"public_{key}": theirs[key], ratio: digits(row[key] / theirs[key])}
            rows.append(report(row))
    notes = (
        f"Width 512, 6 layers, 8 heads. Medians of {repeats} after a warm-up; the cases of a "
        "system take turns, share_of_auto is the median over the rounds of the cpu_seconds "
        "forward and backward over those of the backend auto. cpu_seconds are those that the "
        "process had a processor: less than the others where the machine had more to do, and then "
        "the fairer figure. Peak memory is that of the whole process, of which baseline_mb are "
        "torch and this package; the data set is read by another. The parts are the bare matrix "
        "products of the linear maps and the location perceptrons of all blocks, on what exists, "
        "and with the padding of the molecules to the largest. The public code took turns with "
        "ours: github.com/oxcsml/lie-transformer."
    )
    print(f"Written: {write('attention/speed', [stamped(row) for row in rows], notes)}")


def dense_backends() -> list[str]:
    """Backends that compute attention with a location part, on a CPU."""
    return [name for name in BACKENDS if name not in ("linear", "triton")]


# --- growth -----------------------------------------------------------------------------------

EMPTY = 8
SIZES = {EMPTY: 5, 256: 5, 1024: 5, 4096: 2, 16384: 1}
REFERENCE_POINTS = 4096
GROWTH = [
    ("T3", "streaming"),
    ("SE3", "streaming"),
    ("rotary", "streaming"),
    ("rotary", "fused"),
    ("rotary, linear", "linear"),
    ("T3", "reference"),
    ("SE3", "reference"),
    ("rotary", "reference"),
]


def growth(sizes: dict[int, int]) -> None:
    rows = []
    for system, backend in GROWTH:
        here: list[Row] = []
        for points, repeats in sizes.items():
            if backend == "reference" and points > REFERENCE_POINTS:
                continue
            case = Case(system, points=points, width=128, layers=1, heads=4, backend=backend)
            # Where a run takes minutes, what happens at the first call does not count.
            (found,) = take_turns([asdict(case)], repeats, warm_up=repeats > 2)
            found.pop("ratio", None)
            row = {
                "system": system,
                "points": points,
                "threads": 1,
                "backend": backend,
                "repeats": repeats,
                **found,
            }
            if "failed" not in row:
                here.append(row)
                row["cloud_mb"] = row["peak_mb"] - here[0]["peak_mb"]
            rows.append(report(row))
        for name, start in (("1k", 1024), ("4k", 4096)):
            for quantity in ("cloud_mb", "seconds_forward_backward"):
                exponent = fitted(here, quantity, start)
                if exponent is not None:
                    here[-1][f"exponent_{quantity}_from_{name}"] = exponent
    for row in rows:
        if any(key.startswith("exponent") for key in row):
            report(row)
    notes = (
        "One cloud of random points, width 128, 1 layer, 4 heads of 32 channels, one location "
        "perceptron of 16 hidden units for all heads (SharedLocationMLP), so that 16,384 points "
        "end within minutes; SE3 with 1 lift; float32, one thread. Medians of `repeats` after a "
        "warm-up; where there are two or less, the first run counts too. cloud_mb is peak_mb less "
        f"that of the same network on {EMPTY} points, which is what the libraries and the "
        "parameters take. "
        "Exponents are slopes of a straight line through the logarithms, from the size named up "
        "to the largest. The reference stores all pairs and is left out beyond "
        f"{REFERENCE_POINTS} points."
    )
    if sizes == SIZES:
        print(f"Written: {write('attention/growth', [stamped(row) for row in rows], notes)}")


def fitted(rows: list[Row], quantity: str, start: int) -> float | None:
    """The exponent of a power law, by least squares in the logarithms."""
    used = [row for row in rows if row["points"] >= start]
    if len(used) < 2:
        return None
    x = torch.tensor([math.log(row["points"]) for row in used])
    y = torch.tensor([math.log(max(row[quantity], 1e-9)) for row in used])
    x = x - x.mean()
    return digits(float((x * y).sum() / (x * x).sum()))


# --- peers ------------------------------------------------------------------------------------


def peers(molecules: str, repeats: int) -> None:
    rows = []
    found = versions()
    missing = [name for name in PEERS if name not in found]
    for name in missing:
        print(f"left out: {name} (not installed)")
    if not found:
        print("Nothing to compare with, and nothing written.")
        return
    for name in found:
        peer: Peer = PEERS[name]
        theirs = Case(name, molecules, 32, equivariance=True)
        ours = Case(peer.ours, molecules, 32, equivariance=True, **peer.size)
        size = ", ".join(f"{key} {value}" for key, value in peer.size.items())
        runs = {theirs: peer.settings} if peer.too_large else {ours: size, theirs: peer.settings}
        measured = take_turns([asdict(case) for case in runs], repeats)
        for (case, settings), row in zip(runs.items(), measured, strict=True):
            row["ratio_cpu_seconds_to_ours"] = row.pop("ratio", None)
            if "failed" not in row and "failed" not in measured[0]:
                row["ratio_peak_to_ours"] = digits(row["peak_mb"] / measured[0]["peak_mb"])
            full = {
                "system": case.system,
                "compared_with": ours.system if case is theirs else name,
                "settings": settings,
                "points": torch.load(molecules)[2].shape[1],
                "threads": 1,
                **row,
            }
            rows.append(report(full))
    known = ", ".join(f"{name} {version}" for name, version in found.items())
    notes = (
        f"The same 32 QM9 molecules; {known}; one thread, float32, medians of {repeats} after a "
        "warm-up, ours and the peer in turn; the ratio is that of cpu_seconds, which the process "
        "had a processor. Each peer at the first setting of its README, of all pairs unless it "
        "says otherwise, with a linear embedding of the same features, and a mean over the atoms "
        "and a linear map after it. Ours has all pairs, the same width, layers and heads where the "
        "peer has those, and sees what the peer sees: distances where the peer is exactly "
        "equivariant, relative poses with as many lifts where it samples lifts. "
        "equivariance_error is the root mean square change of the output of the untrained network "
        "under random rotations and translations, in units of its deviation over the molecules; "
        "effect_of_positions is the same when every molecule is stretched by a half along an axis: "
        "where that is zero too, the network does not look at the positions."
        + "".join(f" Not installed: {name}." for name in missing)
    )
    print(f"Written: {write('attention/peers', [stamped(row) for row in rows], notes)}")


# --- gpu --------------------------------------------------------------------------------------


def gpu(sizes: list[int], repeats: int, device: str) -> None:
    rows = []
    rate = {dtype: matrix_rate(device, dtype) for dtype in ("float32", "bfloat16")}
    size: Row = {"width": 512, "layers": 2, "heads": 8}
    ways = [("reference", True)]
    if "triton" in BACKENDS:
        ways.append(("triton", False))
    else:
        print("left out: triton (no such backend)")
    for system in ("LieTransformer-T3", "LieTransformer-distance"):
        for dtype in rate:
            for points in sizes:
                cases = [
                    Case(
                        system,
                        points=points,
                        backend=backend,
                        compiled=compiled,
                        device=device,
                        dtype=dtype,
                        **size,
                    )
                    for backend, compiled in ways
                ]
                found = take_turns([asdict(case) for case in cases], repeats)
                for case, measured in zip(cases, found, strict=True):
                    row = {
                        "system": system,
                        "points": points,
                        "backend": "compiled reference" if case.compiled else case.backend,
                        "dtype": dtype,
                        **measured,
                    }
                    row["ratio_to_compiled_reference"] = row.pop("ratio", None)
                    if "failed" not in row:
                        achieved = teraflop(case) / row["seconds_forward_backward"]
                        row["teraflop_per_second"] = digits(achieved)
                        row["matrix_teraflop_per_second"] = digits(rate[dtype])
                        row["share_of_matrix_rate"] = digits(achieved / rate[dtype])
                    rows.append(report(row))
    rows += [report(row) for row in tf32(device, [backend for backend, _ in ways], size)]
    name = torch.cuda.get_device_name() if device == "cuda" else "the CPU: a rehearsal"
    notes = (
        f"On {name}. One cloud, width 512, 2 layers, 8 heads, a location perceptron of 16 hidden "
        f"units a head; medians of {repeats} after a warm-up. bfloat16 is by "
        "autocast. The rate of the chip is that of square matrix products of 8,192 in the same "
        "type, with TF32 off; that achieved counts the products of the network, forward and twice "
        "that backward, and no recomputation. peak_mb is that of tensors on the device. "
        "equivariance_error is in units of the deviation over 32 random clouds of 64 points."
    )
    if device == "cuda":
        print(f"Written: {write('attention/gpu', [stamped(row) for row in rows], notes)}")


def matrix_rate(device: str, dtype: str) -> float:
    """Teraflop per second of square matrix products."""
    n = 8192 if device == "cuda" else 256
    a, b = torch.randn(2, n, n, device=device, dtype=getattr(torch, dtype))
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    best = math.inf
    for _ in range(10):
        wait()
        start = perf_counter()
        for _ in range(5):
            a @ b
        wait()
        best = min(best, (perf_counter() - start) / 5)
    return 2e-12 * n**3 / best


def teraflop(case: Case) -> float:
    """Of the matrix products of a network, forward and backward."""
    network = network_of(case)
    invariants = network.geometry.head_mask(case.heads).shape[1]
    points = case.clouds * case.points * case.lifts
    pairs = points * case.points * case.lifts
    maps = sum(m.weight.numel() for m in network.blocks.modules() if isinstance(m, nn.Linear))
    hidden = 16
    perceptron = case.heads * hidden * (invariants + hidden + 1)
    a_layer = 2 * pairs * (2 * case.width + perceptron)
    return 3e-12 * (2 * points * maps + case.layers * a_layer)


def tf32(device: str, backends: list[str], size: Row) -> list[Row]:
    """The error of equivariance with TF32 off and on."""
    rows = []
    case = Case("LieTransformer-distance", clouds=32, points=64, device=device, **size)
    features, positions, _ = clouds(case)
    default = torch.get_float32_matmul_precision()
    for backend in backends:
        network = network_of(replace(case, backend=backend))
        for precision in ("highest", "high"):
            started = processor_seconds()
            torch.set_float32_matmul_precision(precision)
            try:
                found: Row = equivariance(network, features, positions, None)
            except ValueError as error:
                found = {"failed": str(error)}
            row = {
                "system": case.system,
                "points": case.points,
                "backend": backend,
                "dtype": case.dtype,
                "tf32": precision == "high",
                "is_default": precision == default,
            }
            spent = digits(processor_seconds() - started)
            rows.append(row | found | {"cpu_seconds": spent})
    torch.set_float32_matmul_precision(default)
    return rows


# --- the command line -------------------------------------------------------------------------


def report(row: Row) -> Row:
    print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


def save_molecules(path: str) -> None:
    from tasks.sources.qm9 import QM9

    data = QM9(test_molecules=32, batch_size=32)
    data.setup()
    (batch,) = data.test_dataloader()
    torch.save((batch.features, batch.points, batch.mask), path)


def main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "what",
        nargs="*",
        choices=["speed", "growth", "peers", "gpu"],
        metavar="speed growth peers gpu",
    )
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--points", type=int, nargs="*", help="sizes for growth and gpu")
    parser.add_argument("--device", default="cuda", help="for gpu; cpu to rehearse")
    parser.add_argument("--public", help="checkout of the public LieTransformer, for speed")
    options = parser.parse_args()
    what = options.what or ["speed", "growth", "peers"]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        molecules = str(Path(folder) / "molecules.pt")
        if "speed" in what or "peers" in what:
            subprocess.run([sys.executable, __file__, "molecules", molecules], check=True)
        if "speed" in what:
            speed(molecules, options.repeats, options.public)
        if "growth" in what:
            chosen = options.points or list(SIZES)[1:]
            growth({points: SIZES.get(points, REPEATS) for points in (EMPTY, *chosen)})
        if "peers" in what:
            peers(molecules, options.repeats)
        if "gpu" in what:
            gpu(options.points or [1024, 4096, 16384], options.repeats, options.device)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["case", row]:
            serve(json.loads(row), build)
        case ["molecules", path]:
            save_molecules(path)
        case _:
            main()
