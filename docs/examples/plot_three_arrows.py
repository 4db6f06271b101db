r"""
Pull back, multiply, push forward
=================================

A layer of attention in three arrows, on eight points of the plane. Each of them is one line of
code; the rest of this page draws them.
"""

import matplotlib.pyplot as plt
import torch

import liegroups as lg
from attention import LieTransformer

torch.manual_seed(4)
points = torch.tensor(
    [
        [0.1, 0.0],
        [1.1, 0.5],
        [0.7, -0.9],
        [-0.9, 0.7],
        [-1.2, -0.4],
        [0.2, 1.2],
        [1.5, -0.6],
        [-0.4, -1.2],
    ]
)
features = torch.tensor([0.6, -1.0, 0.9, 0.3, -0.5, 1.0, -0.8, 0.1])[None, :, None]
network = LieTransformer(lg.SE2(), 1, 1, invariant=lg.Distance(), width=8, layers=1, heads=1).eval()

# %%
# What a layer is given: the pairs of points and the features at the points.

layer = network.blocks[0].attention
given = []
hook = layer.register_forward_pre_hook(lambda module, inputs: given.extend(inputs))
with torch.no_grad():
    network(features, points[None])
    pairs, hidden = given
    projections = layer.kernel.project(hidden, pairs.source)

    # Pull the features of target and source back to the pairs, and multiply by a kernel.
    logits = layer.kernel(pairs, projections)
    weights = layer.normalizer(pairs.neighborhood, logits)[0, 0]  # (targets, sources)

    # Push forward: sum over the pairs above each target.
    received = weights @ features[0]
hook.remove()

target = 0
others = [place for place in range(len(points)) if place != target]
style = {"cmap": "coolwarm", "vmin": -1.1, "vmax": 1.1, "edgecolor": "#30343f", "zorder": 3}
figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.5), layout="constrained")
for axes, title in zip(
    panels,
    (
        "pull back: a pair sees\nthe feature of its source",
        "multiply by a kernel\nof the pair's invariant",
        "push forward: sum over\nthe pairs of the target",
    ),
    strict=True,
):
    axes.set(xlim=(-1.7, 1.9), ylim=(-1.6, 1.6), aspect="equal")
    axes.set_title(title, fontsize=10)
    axes.axis("off")
for place in others:
    line = points[[place, target]]
    color = plt.cm.coolwarm((features[0, place, 0].item() + 1.1) / 2.2)
    strength = 22 * weights[target, place].item()
    panels[0].plot(*line.T, color=color, linewidth=2.2)
    panels[1].plot(*line.T, color=color, linewidth=strength, solid_capstyle="butt")
    panels[2].annotate(
        "",
        points[target].tolist(),
        points[place].tolist(),
        arrowprops={
            "arrowstyle": "-|>",
            "color": color,
            "linewidth": 1.5,
            "shrinkA": 7,
            "shrinkB": 13,
        },
    )
for number, axes in enumerate(panels):
    faded = 0.25 if number == 2 else 1.0
    axes.scatter(*points[others].T, c=features[0, others, 0], s=90, alpha=faded, **style)
    color = received[target] if number == 2 else features[0, target]
    axes.scatter(*points[[target]].T, c=color, s=260, marker="s", **style)

# %%
# The square is the target, colors are features. Nothing in the middle picture but the kernel
# looks at where points are, and it looks at invariants: so the three pictures may be turned as
# one.

print(f"the weights of the target sum to {weights[target].sum():.4f}")
plt.show()
