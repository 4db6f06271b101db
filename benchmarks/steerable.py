"""Products of features with spherical harmonics on the pairs of a molecule: ours and e3nn's.

    OMP_NUM_THREADS=1 python benchmarks/steerable.py --data FOLDER

times both with the same weights on 32 frames of aspirin, the atoms within 5 angstrom as neighbors,
from FOLDER/rmd17_aspirin.npz of revised MD17, and writes results/attention/tensor_product.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

# Beside this file is one with the name of a package that it needs: look for packages first.
sys.path.append(sys.path.pop(0))

from _results import write
from e3nn import o3
from torch import Tensor

from attention import Radius
from attention.steerable import Harmonics, PairProduct
from attention.steerable.tensor_product import degrees_between
from liegroups import SE3, Lifted

FIELDS = {"8 channels of types 0 to 3": (8, 3), "32 channels of types 0 to 2": (32, 2)}
FRAMES = 32
ROUNDS = 5


def relative_positions(folder: Path) -> Tensor:
    """From each atom to its neighbors, ``(pairs, 3)``."""
    with np.load(folder / "rmd17_aspirin.npz", allow_pickle=False) as archive:
        points = torch.from_numpy(archive["coords"][:FRAMES]).float()
    space = SE3().default_space()
    lifted = Lifted(space.section(points), points)
    pairs = Radius(5.0, cutoff=None, loops=False)(space, lifted, None)
    target, source = pairs.pairs(lifted, lifted)
    return source.point - target.point


class Case:
    """One field on the pairs, with weights and features that are leaves."""

    def __init__(self, relative: Tensor, channels: int, degree: int) -> None:
        torch.manual_seed(0)
        self.degree = degree
        self.relative = relative.requires_grad_()
        irreps = o3.Irreps([(channels, (kind, 1)) for kind in range(degree + 1)])
        self.product = PairProduct(irreps, irreps, degree, parity=False)
        self.harmonics = Harmonics(degree, degree)
        self.x = torch.randn(len(relative), irreps.dim, requires_grad=True)
        self.weights = [
            torch.randn(len(relative), columns, channels, requires_grad=True)
            for columns in self.product.columns
        ]
        sh = o3.Irreps.spherical_harmonics(degree, p=1)
        self.theirs = o3.FullyConnectedTensorProduct(
            irreps, sh, irreps, shared_weights=False, internal_weights=False
        )
        blocks = {}
        for target, (paths, weight) in enumerate(
            zip(self.product.paths, self.weights, strict=True)
        ):
            start = 0
            for source, degrees in paths:
                between = degrees_between(source, target, degree)
                block = weight.detach()[:, start : start + channels * len(degrees)]
                block = block.unflatten(1, (channels, -1))
                for number, each in enumerate(degrees):
                    blocks[source, between[each], target] = block[:, :, number]
                start += channels * len(degrees)
        order = [(i.i_in1, i.i_in2, i.i_out) for i in self.theirs.instructions]
        self.flat = torch.cat([blocks[path].flatten(1) for path in order], 1).requires_grad_()

    def ours(self) -> Tensor:
        direction = torch.nn.functional.normalize(self.relative, dim=-1)
        return self.product(self.x, self.harmonics(direction), self.weights)

    def e3nn(self) -> Tensor:
        degrees = list(range(self.degree + 1))
        values = o3.spherical_harmonics(degrees, self.relative, True, "component")
        return self.theirs(self.x, values, self.flat)

    def seconds(self, library: str, direction: str) -> float:
        weights = self.weights if library == "ours" else [self.flat]
        start = perf_counter()
        if direction == "forward":
            with torch.no_grad():
                getattr(self, library)()
            return perf_counter() - start
        output = getattr(self, library)()
        if direction == "backward":
            torch.autograd.grad(output.square().sum(), [self.x, *weights])
        else:
            (force,) = torch.autograd.grad(output.square().sum(), self.relative, create_graph=True)
            torch.autograd.grad(force.square().sum(), [self.x, *weights])
        return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of rmd17_aspirin.npz")
    relative = relative_positions(parser.parse_args().data)
    rows = []
    for name, (channels, degree) in FIELDS.items():
        case = Case(relative.clone(), channels, degree)
        ours, theirs = case.ours(), case.e3nn()
        error = float((ours - theirs).abs().max() / theirs.abs().max())
        for direction in ("forward", "backward", "forces"):
            times: dict[str, list[float]] = {"ours": [], "e3nn": []}
            for _ in range(ROUNDS + 1):
                for library, found in times.items():
                    found.append(case.seconds(library, direction))
            seconds = {library: median(found[1:]) for library, found in times.items()}
            for library, value in seconds.items():
                rows.append(
                    {
                        "library": library,
                        "field": name,
                        "pairs": len(relative),
                        "direction": direction,
                        "threads": torch.get_num_threads(),
                        "seconds": round(value, 4),
                        "ratio_to_ours": round(value / seconds["ours"], 2),
                        "largest_difference": error,
                    }
                )
            print(name, direction, rows[-2], rows[-1], sep="\n  ", flush=True)
    write(
        "attention/tensor_product",
        rows,
        f"Medians of {ROUNDS} after a warm-up, the libraries in turn, float32. The product of "
        "features with harmonics up to the largest type, all channels with all, weights of their "
        "own for each pair, harmonics included. backward: with gradients of features and "
        "weights; forces: the gradient with respect to the positions, and of its square with "
        "respect to features and weights.",
    )


if __name__ == "__main__":
    main()
