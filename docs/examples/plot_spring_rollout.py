r"""
A roll-out of springs
=====================

Six particles in the plane, a spring between every two. A network on T(2), the translations of the
plane, learns the potential energy from short stretches of 40 systems, and a system that it has
not seen then moves by Hamilton's equations with the learned energy.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch

from attention import Count, LieTransformer, LinearLocation, LinearReadout, Product
from liegroups import T2, AlgebraNorm
from tasks.objectives import HamiltonianDynamics
from tasks.objectives.base import Facts
from tasks.systems import RK4, Slope, Springs

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

# %%
# Training data are stretches of five points in time, from anywhere on trajectories of 100 points.

system = Springs(points=300)
rng = np.random.default_rng(0)
start, parameters = system.sample(40, rng)
whole = system.trajectory(start, parameters, 100)
first = torch.from_numpy(rng.integers(0, 96, len(whole)))
stretches = whole[torch.arange(len(whole))[:, None], first[:, None] + torch.arange(5)]

# %%
# The potential is a LieTransformer of one layer, whose kernel is a linear function of squared
# distances times an inner product of features: a form that contains the energy of springs. The
# loss compares the slope of the learned field with that of the stretch.

network = LieTransformer(
    T2(),
    system.in_features,
    1,
    invariant=AlgebraNorm(),
    kernel=partial(Product, location=LinearLocation),
    normalizer=Count(),
    head=LinearReadout,
    width=32,
    layers=1,
    heads=8,
)
objective = HamiltonianDynamics(Facts(system.in_features, 4, point_dim=2), feature_scale=0.1)
objective.system = system
optimizer = torch.optim.LBFGS(
    network.parameters(),
    max_iter=200,
    history_size=50,
    line_search_fn="strong_wolfe",
    tolerance_change=1e-12,
)
loss = Slope()


def closure():
    """One evaluation of the loss and its gradient, on all systems at once."""
    optimizer.zero_grad()
    value = loss(system, objective.field(network, parameters), stretches)
    value.backward()
    return value


before = closure().item()
optimizer.step(closure)
print(f"loss: {before:.1f} before, {closure().item():.1e} after")

# %%
# A system that was not among them, over 300 points, three times as long as any stretch could
# start.

start, parameters = system.sample(1, np.random.default_rng(7))
true = system.trajectory(start, parameters, 300)[0]
times = system.spacing * torch.arange(300.0)
with torch.no_grad():
    learned = RK4()(objective.field(network, parameters), start, times)[0]

figure, (plane, errors) = plt.subplots(
    1, 2, figsize=(8.6, 4.1), layout="constrained", width_ratios=(1, 1.15)
)
colors = plt.cm.viridis(np.linspace(0, 0.9, 6))
for particle, color in enumerate(colors):
    plane.plot(*true[:100, 0, particle].T, color=color, linewidth=1.2)
    plane.plot(*learned[:100:5, 0, particle].T, ".", color=color, markersize=6)
    plane.plot(*true[0, 0, particle], "o", color=color, markersize=7, markeredgecolor="white")
plane.set_aspect("equal")
plane.set_title("true (lines) and learned (dots) to time 1", fontsize=10)
error = (learned - true).square().mean((1, 2, 3))
momentum = learned[:, 1].sum(-2) - learned[0, 1].sum(-2)
q, p = learned[:, 0], learned[:, 1]
angular = (q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]).sum(-1)
for values, label, color in (
    (error, "mean squared error", "#2457a6"),
    ((angular - angular[0]).abs(), "drift of the angular momentum", "#c8502d"),
    (momentum.norm(dim=-1), "drift of the momentum", "#3a8f5c"),
):
    errors.semilogy(times[1:], values[1:].clamp(min=1e-17), color=color, label=label)
errors.set(xlabel="time", ylim=(1e-17, 10))
errors.grid(color="#e4e6ec")
errors.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.36))

# %%
# The momentum stays to rounding, because the learned energy does not change under translations.
# The angular momentum drifts no more than the error lets it: this network's invariant, a squared
# length, happens to be invariant to rotations too. With ``invariant=RelativePose()`` it would be
# left to training.

print(f"mean squared error over 300 points: {error.mean():.1e}")
plt.show()
