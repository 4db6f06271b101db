"""Time and memory of a network as large as the public LieTransformer's, on 32 QM9 molecules.

Width 512, 6 layers, 8 heads, a location perceptron of 16 hidden units a head: 10.0 M parameters.
Every case runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from statistics import median
from time import perf_counter

import torch
from _results import write

from attention import LieTransformer
from liegroups import SE3, T3, Haar
from tasks.qm9 import QM9

CASES = {
    # group, lifts, threads: the public code's seconds forward and backward, peak MB
    ("T3", 1, 2): (None, None),
    ("T3", 1, 1): (0.99, 1700),
    ("SE3", 1, 1): (0.88, 1700),
    ("SE3", 4, 1): (29.9, 11000),
}
GROUPS = {"T3": T3(), "SE3": SE3()}
REPEATS = 5


def measure(group: str, lifts: int, threads: int) -> dict[str, object]:
    """One case, in this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    data = QM9(test_molecules=32, batch_size=32)
    data.setup()
    (batch,) = data.test_dataloader()
    network = LieTransformer(GROUPS[group], 15, 1, lift=Haar(lifts), width=512, layers=6, heads=8)
    forward, both = [], []
    for _ in range(REPEATS + 1):
        network.zero_grad()
        start = perf_counter()
        output = network(batch.features, batch.positions, batch.mask).sum()
        forward.append(perf_counter() - start)
        output.backward()
        both.append(perf_counter() - start)
        del output
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "system": f"LieTransformer-{group}",
        "lifts": lifts,
        "points": batch.mask.shape[1],
        "threads": threads,
        "parameters": sum(p.numel() for p in network.parameters()),
        "seconds_forward": round(median(forward[1:]), 3),
        "seconds_forward_backward": round(median(both[1:]), 3),
        "peak_mb": round(peak),
    }


def main() -> None:
    rows = []
    for (group, lifts, threads), (seconds, peak) in CASES.items():
        command = [sys.executable, __file__, group, str(lifts), str(threads)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(run.stdout)
        if seconds is not None:
            row["public_seconds_forward_backward"] = seconds
            row["ratio_seconds"] = round(row["seconds_forward_backward"] / seconds, 3)
            row["public_peak_mb"] = peak
            row["ratio_peak"] = round(row["peak_mb"] / peak, 3)
        print(row)
        rows.append(row)
    path = write(
        "attention/first",
        rows,
        "32 molecules of the test part, median of 5 after a warm-up. Peak memory is that of the "
        "whole process. The public code's figures were measured on another day on a machine of "
        "the same kind.",
    )
    print(f"Written: {path}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        name, count, number = sys.argv[1:]
        print(json.dumps(measure(name, int(count), int(number))))
    else:
        main()
