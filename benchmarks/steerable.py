"""Attention on irreducible representations: its products beside e3nn's, its networks beside peers.

Run both, or name one::

    OMP_NUM_THREADS=1 python benchmarks/steerable.py --data FOLDER
    OMP_NUM_THREADS=1 .bench/bin/python benchmarks/steerable.py peers --data FOLDER

on 32 frames of aspirin, the atoms within 5 angstrom as neighbors, from FOLDER/rmd17_aspirin.npz of
revised MD17.

- product: the product of features with harmonics, with the same weights by both libraries: given
  for every pair, or made by a layer's perceptron of 32 hidden units.
- peers: networks of other packages and ours of the same types, channels, layers and heads. The
  peers live in an environment of their own, see benchmarks/attention.py; those that are missing are
  left out, and named.
"""

from __future__ import annotations

import json
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

# Beside this file is one with the name of a package that it needs: look for packages first.
sys.path.append(sys.path.pop(0))

from _peers import Peer, equivariance, versions
from _processes import Row, Run, digits, serve, take_turns
from _results import read, stamped, write
from e3nn import o3
from torch import Tensor, nn

from attention import Radius
from attention.steerable import (
    Directions,
    E3nnProduct,
    FusedProduct,
    Harmonics,
    PairPerceptron,
    PairProduct,
    SteerableTransformer,
)
from liegroups import SE3, Distance, Lifted

FRAMES = 32
RADIUS = 5.0
HIDDEN = 32
THREADS = 1
FIELDS = {"8 channels of types 0 to 3": (8, 3), "32 channels of types 0 to 2": (32, 2)}
ELEMENTS = (1, 6, 7, 8, 9)


@dataclass(frozen=True)
class Case:
    """What a process runs.

    Attributes:
        frames: A file of features and positions.
        library: ``ours``, ``e3nn``, or a key of ``PEERS``.
        field: A key of ``FIELDS``, for a product.
        weights: ``given`` for every pair, or by a ``perceptron``; ``network`` for all of a network.
        direction: ``forward``, ``backward``, or ``forces``.
        size: Settings of a network of ours.
    """

    frames: str
    library: str
    field: str = ""
    weights: str = "network"
    direction: str = "backward"
    size: str = ""


def build(row: Row) -> Run:
    torch.set_num_threads(THREADS)
    case = Case(**row)
    return network(case) if case.weights == "network" else product(case)


# --- product ----------------------------------------------------------------------------------


def product(case: Case) -> Run:
    _, points = torch.load(case.frames)
    space = SE3().default_space()
    lifted = Lifted(space.section(points), points)
    neighborhood = Radius(RADIUS, cutoff=None, loops=False)(space, lifted, None)
    target, source = neighborhood.pairs(lifted, lifted)
    relative = (source.point - target.point).requires_grad_()
    channels, degree = FIELDS[case.field]
    torch.manual_seed(0)
    make = by_perceptron if case.weights == "perceptron" else by_given_weights
    output, leaves = make(case.library, channels, degree, neighborhood, relative)

    def forward() -> Callable[[], object]:
        if case.direction == "forward":
            with torch.no_grad():
                output()
            return lambda: None
        square = output().square().sum()
        if case.direction == "backward":
            return lambda: torch.autograd.grad(square, leaves)
        (force,) = torch.autograd.grad(square, relative, create_graph=True)
        return lambda: torch.autograd.grad(force.square().sum(), leaves)

    with torch.no_grad():
        check = float(output().square().mean().sqrt())
    return Run(forward, lambda: {"pairs": len(relative), "root_mean_square": digits(check, 6)})


Made = tuple[Callable[[], Tensor], list[Tensor]]
"""What computes a product, and what it has derivatives by beside the positions."""


def by_perceptron(
    library: str, channels: int, degree: int, neighborhood: object, relative: Tensor
) -> Made:
    irreps = o3.Irreps([(channels, (kind, 1)) for kind in range(degree + 1)])
    types = irreps, irreps, degree, False
    multiply = FusedProduct(*types) if library == "ours" else E3nnProduct(*types)
    harmonics = Harmonics(degree, degree)
    all_heads = torch.ones(1, 1, dtype=torch.bool)
    perceptron = PairPerceptron(
        all_heads, HIDDEN, multiply.paths, multiply.types_in, multiply.types_out
    )
    clouds = FRAMES, neighborhood.targets // FRAMES  # type: ignore[attr-defined]
    x = torch.randn(*clouds, irreps.dim, requires_grad=True)

    def output() -> Tensor:
        distance = relative.norm(dim=-1, keepdim=True)
        directions = Directions(neighborhood, harmonics, relative / distance, clouds)  # type: ignore[arg-type]
        (found,) = multiply(x, directions, [perceptron(distance)])
        return torch.cat([part.flatten(1) for part in found], 1)

    return output, [x, *perceptron.parameters()]


def by_given_weights(
    library: str, channels: int, degree: int, neighborhood: object, relative: Tensor
) -> Made:
    irreps = o3.Irreps([(channels, (kind, 1)) for kind in range(degree + 1)])
    multiply = PairProduct(irreps, irreps, degree, parity=False)
    harmonics = Harmonics(degree, degree)
    pairs = len(relative)
    x = torch.randn(pairs, irreps.dim, requires_grad=True)
    weights = [torch.randn(pairs, columns, channels) for columns in multiply.columns]
    if library == "ours":
        leaves = [weight.requires_grad_() for weight in weights]

        def output() -> Tensor:
            direction = torch.nn.functional.normalize(relative, dim=-1)
            return multiply(x, Directions(neighborhood, harmonics, direction, (1, 1)), leaves)  # type: ignore[arg-type]

        return output, [x, *leaves]

    theirs = o3.FullyConnectedTensorProduct(
        irreps,
        o3.Irreps.spherical_harmonics(degree, p=1),
        irreps,
        shared_weights=False,
        internal_weights=False,
    )
    blocks = {}
    starts = [0] * len(weights)
    for path in multiply.paths:
        for each in path.degrees:
            start = starts[path.target]
            blocks[path.source, each, path.target] = weights[path.target][:, start:][:, :channels]
            starts[path.target] += channels
    order = [(i.i_in1, i.i_in2, i.i_out) for i in theirs.instructions]
    flat = torch.cat([blocks[path].flatten(1) for path in order], 1).requires_grad_()
    degrees = list(range(degree + 1))

    def output_of_e3nn() -> Tensor:
        return theirs(x, o3.spherical_harmonics(degrees, relative, True, "component"), flat)

    return output_of_e3nn, [x, flat]


def products(frames: str, repeats: int) -> None:
    notes = (
        "float32, one thread; medians of the repeats after a warm-up, the libraries in turn, each "
        "in a process of its own. cpu_seconds_step are those that the process had a processor, "
        "and ratio_to_ours is of those: other processes ran on the machine, and seconds are "
        "longer. The product of features with harmonics up to the largest type, all channels with "
        "all, harmonics included. weights: given for every pair, or made by a perceptron of 32 "
        "hidden units, as in a layer, where ours need not make them. forward: without derivatives; "
        "backward: with gradients by features and weights; forces: the gradient by positions, and "
        "of its square by features and weights. root_mean_square is that of the output."
    )
    for weights in ("perceptron", "given"):
        for field in FIELDS:
            for direction in ("forward", "backward", "forces"):
                cases = [
                    Case(frames, library, field, weights, direction) for library in ("ours", "e3nn")
                ]
                found = take_turns([asdict(case) for case in cases], repeats)
                rows = []
                for case, measured in zip(cases, found, strict=True):
                    row = {
                        "field": field,
                        "weights": weights,
                        "direction": direction,
                        "library": case.library,
                        "threads": THREADS,
                        "repeats": repeats,
                        **renamed(measured),
                    }
                    rows.append(report(row))
                merge("attention/tensor_product", rows, notes, 4)


# --- peers ------------------------------------------------------------------------------------


def _se3_transformer(**settings: int) -> nn.Module:
    from se3_transformer_pytorch import SE3Transformer

    return SE3Transformer(valid_radius=RADIUS, **settings)


def _equiformer(**settings: object) -> nn.Module:
    from equiformer_pytorch import Equiformer

    return Equiformer(
        num_tokens=24, reduce_dim_out=True, l2_dist_attention=False, valid_radius=RADIUS, **settings
    )


SMALL = {"channels": 16, "types": [0, 1], "layers": 2, "heads": 4}
LARGE = {"channels": 8, "types": [0, 1, 2, 3], "layers": 4, "heads": 4}
PEERS = {
    "se3-transformer-pytorch": Peer(
        "se3_transformer_pytorch",
        "dim 16, 2 degrees, depth 2, heads 4, dim_head 4",
        partial(_se3_transformer, dim=16, num_degrees=2, depth=2, heads=4, dim_head=4),
        16,
        lambda network, x, p, mask: network(x, p, mask),
        size=SMALL,
    ),
    "se3-transformer-pytorch, types 0 to 3": Peer(
        "se3_transformer_pytorch",
        "dim 8, 4 degrees, depth 4, heads 4, dim_head 2",
        partial(_se3_transformer, dim=8, num_degrees=4, depth=4, heads=4, dim_head=2),
        8,
        lambda network, x, p, mask: network(x, p, mask),
        size=LARGE,
    ),
    "equiformer-pytorch": Peer(
        "equiformer_pytorch",
        "dim (16, 16), 2 degrees, depth 2, heads 4, dim_head 4",
        partial(_equiformer, dim=(16,) * 2, dim_head=(4,) * 2, heads=(4,) * 2, depth=2),
        1,
        lambda network, x, p, mask: network(x, p, mask).type0[..., None],
        size=SMALL,
        tokens=True,
    ),
    "equiformer-pytorch, types 0 to 3": Peer(
        "equiformer_pytorch",
        "dim (8, 8, 8, 8), 4 degrees, depth 4, heads 4, dim_head 2",
        partial(_equiformer, dim=(8,) * 4, dim_head=(2,) * 4, heads=(4,) * 4, depth=4),
        1,
        lambda network, x, p, mask: network(x, p, mask).type0[..., None],
        size=LARGE,
        tokens=True,
    ),
}


def network(case: Case) -> Run:
    features, points = torch.load(case.frames)
    inputs = features, points, torch.ones(points.shape[:2], dtype=torch.bool)
    torch.manual_seed(0)
    if case.library == "ours":
        made: nn.Module = SteerableTransformer(
            "15x0e",
            "1x0e",
            invariant=Distance(),
            neighborhood=Radius(RADIUS, loops=False),
            residual=True,
            norm=True,
            gate=True,
            pooling="mean",
            **json.loads(case.size),
        )
    else:
        made = PEERS[case.library].build()

    def forward() -> Callable[[], object]:
        made.zero_grad()
        if case.direction == "forward":
            with torch.no_grad():
                made(*inputs)
            return lambda: None
        return made(*inputs).sum().backward

    def facts() -> Row:
        found: Row = {"parameters": sum(p.numel() for p in made.parameters())}
        return found | equivariance(made, *inputs)

    return Run(forward, facts)


def peers(frames: str, repeats: int, wanted: list[str]) -> None:
    found = versions({name: PEERS[name] for name in wanted})
    for name in wanted:
        if name not in found:
            print(f"left out: {name} (not installed)")
    if not found:
        print("Nothing to compare with, and nothing written.")
        return
    known = ", ".join(
        sorted({f"{name.split(',')[0]} {version}" for name, version in found.items()})
    )
    notes = (
        f"32 frames of aspirin, 21 atoms, neighbors within {RADIUS} angstrom; {known}; one thread, "
        "float32, medians of the repeats after a warm-up, ours and the peer in turn, each in a "
        "process of its own. cpu_seconds_step are those that the process had a processor, and "
        "ratio_to_ours is of those. Ours has as many types, channels, layers and heads as the "
        "peer, and residuals, norms and gates. Before a peer is an embedding of the elements, "
        "after it a mean over the atoms and a linear map. equivariance_error is the root mean "
        "square change of the output of the untrained network under random rotations and "
        "translations, in units of its deviation over the frames; effect_of_positions is the "
        "same when every molecule is stretched by a half along an axis."
    )
    for name in found:
        peer = PEERS[name]
        size = json.dumps(peer.size)
        for direction in ("forward", "backward"):
            cases = [
                Case(frames, library, direction=direction, size=size) for library in ("ours", name)
            ]
            measured = take_turns([asdict(case) for case in cases], repeats)
            rows = []
            for case, each in zip(cases, measured, strict=True):
                row = {
                    "network": case.library if case.library == "ours" else name.split(",")[0],
                    "settings": size if case.library == "ours" else peer.settings,
                    "compared_with": name if case.library == "ours" else "ours",
                    "direction": direction,
                    "threads": THREADS,
                    "repeats": repeats,
                    **renamed(each),
                }
                if "failed" not in each and "failed" not in measured[0]:
                    row["ratio_peak_to_ours"] = digits(row["peak_mb"] / measured[0]["peak_mb"])
                rows.append(report(row))
            merge("attention/steerable_peers", rows, notes, 4)


# --- the command line -------------------------------------------------------------------------


def merge(name: str, rows: list[Row], notes: str, keys: int) -> None:
    """Write rows beside those of earlier runs that differ in the first ``keys`` entries.

    A run that is stopped keeps what it has measured.
    """

    def key(row: Row) -> list[object]:
        return list(row.values())[:keys]

    new = [key(row) for row in rows]
    kept = [row for row in read(name) if list(row)[:keys] == list(rows[0])[:keys]]
    others = [row for row in kept if key(row) not in new]
    write(name, others + [stamped(row) for row in rows], notes)


def renamed(measured: Row) -> Row:
    """The figures of a case whose direction is all that was timed."""
    row = dict(measured)
    row.pop("seconds_forward", None)
    for new, old in (
        ("seconds_step", "seconds_forward_backward"),
        ("cpu_seconds_step", "cpu_seconds_forward_backward"),
        ("ratio_to_ours", "ratio"),
    ):
        if old in row:
            row[new] = row.pop(old)
    return row


def report(row: Row) -> Row:
    print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return row


def save_frames(folder: Path, path: str) -> None:
    """Features as for QM9, of each element 1, c and c² with c = Z / 9, and positions."""
    with np.load(folder / "rmd17_aspirin.npz", allow_pickle=False) as archive:
        points = torch.from_numpy(archive["coords"][:FRAMES]).float()
        charges = torch.from_numpy(archive["nuclear_charges"])
    hot = (charges[:, None] == torch.tensor(ELEMENTS)).float()
    powers = (charges[:, None].float() / 9) ** torch.arange(3)
    features = (hot[:, :, None] * powers[:, None]).flatten(1)
    torch.save((features.expand(FRAMES, -1, -1).contiguous(), points), path)


def main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="*", choices=["product", "peers"], metavar="product peers")
    parser.add_argument("--data", type=Path, required=True, help="folder of rmd17_aspirin.npz")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    options = parser.parse_args()
    what = options.what or ["product", "peers"]
    with tempfile.TemporaryDirectory() as folder:
        frames = str(Path(folder) / "frames.pt")
        save_frames(options.data, frames)
        if "product" in what:
            products(frames, options.repeats)
        if "peers" in what:
            peers(frames, options.repeats, options.peers)


if __name__ == "__main__":
    if sys.argv[1:2] == ["case"]:
        serve(json.loads(sys.argv[2]), build)
    else:
        main()
