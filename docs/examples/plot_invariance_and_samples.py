r"""
Invariance against the number of samples
========================================

A network that averages over samples of the angle is invariant on average. How far is one
evaluation from it, and what does a better choice of the angles buy? Here is an untrained network
of one layer on SE(2), in double precision, whose kernel sees the entries of the relative pose, on
random clouds that are rotated and translated at random.
"""

import matplotlib.pyplot as plt
import torch

import liegroups as lg
from attention import LieTransformer, invariance_error

torch.manual_seed(0)
features, points = torch.randn(12, 7, 1), torch.randn(12, 7, 2)


def error(sampler, invariant):
    """Change of the output, in units of its deviation over the clouds."""
    torch.manual_seed(1)
    network = LieTransformer(
        lg.SE2(), 1, 3, invariant=invariant, lift=sampler, width=8, layers=1, heads=2
    )
    return invariance_error(network, features, points)


counts = [1, 2, 3, 4, 6, 8, 12, 16]
curves = {
    "Haar samples": [error(lg.Haar(count=n), lg.RelativeMatrix()) for n in counts],
    "grid of n angles": [error(lg.Grid(n), lg.RelativeMatrix()) for n in counts],
}
exact = {
    "frames, one lift": error(lg.Frames(), lg.RelativeMatrix()),
    "distances, no lift": error(lg.Haar(1), lg.Distance()),
}

figure, axes = plt.subplots(figsize=(5.6, 3.9), layout="constrained")
for (name, curve), color in zip(curves.items(), ("#2457a6", "#c8502d"), strict=True):
    axes.loglog(counts, curve, marker="o", color=color, label=name)
for (name, value), color in zip(exact.items(), ("#3a8f5c", "#8a5fa8"), strict=True):
    axes.axhline(max(value, 1e-17), linestyle="--", color=color, label=name)
axes.set(xlabel="samples over each point", ylabel="change of the output / its deviation")
axes.set_xticks(counts, [str(n) for n in counts])
axes.minorticks_off()
axes.grid(color="#e4e6ec")
axes.legend(frameon=False)

for name, curve in curves.items():
    print(f"{name:18} {curve[0]:.0e} with one, {curve[-1]:.0e} with {counts[-1]}")
for name, value in exact.items():
    print(f"{name:18} {value:.0e}")

# %%
# Haar samples gain what any average of independent draws gains, one over the root of their
# number. A grid is a quadrature of the same integral over the circle, and of a smooth function
# its error falls far faster. Frames and distances need no average: they are exact to rounding,
# and cost least, as the pairs of lifted points grow with the square of the number of samples.

plt.show()
