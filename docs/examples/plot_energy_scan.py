r"""
A scan of a potential energy surface
====================================

The energy of a water molecule over its angle and the length of its bonds: by GFN2-xTB, and by a
network that learned energies and forces of 200 random geometries.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from ase import Atoms
from tblite.ase import TBLite
from torch.nn.functional import mse_loss

import liegroups as lg
from attention import Count, LieTransformer
from tasks.data.clouds import one_hot
from tasks.objectives.gradients import energy_and_forces, energy_of
from tasks.sources.md17 import ELEMENTS

torch.manual_seed(0)
calculator = TBLite(method="GFN2-xTB", verbosity=0)
NUMBERS = [8, 1, 1]


def water(angle, first, second):
    """Positions of a water molecule, in Å, by its angle in degrees and its two bonds."""
    half = np.radians(angle) / 2
    bond = np.array([[np.sin(half), np.cos(half), 0.0], [-np.sin(half), np.cos(half), 0.0]])
    return np.concatenate([np.zeros((1, 3)), bond * [[first], [second]]])


def label(positions):
    """Energy in eV and forces in eV/Å."""
    atoms = Atoms(NUMBERS, positions, calculator=calculator)
    return atoms.get_potential_energy(), atoms.get_forces()


# %%
# Training geometries: any angle from 70 to 180 degrees, bonds from 0.8 to 1.25 Å.

rng = np.random.default_rng(0)
geometries = [water(rng.uniform(70, 180), *rng.uniform(0.8, 1.25, 2)) for _ in range(200)]
labels = [label(x) for x in geometries]
positions = torch.tensor(np.array(geometries)).float()
zero, _ = label(water(107, 0.96, 0.96))
energies = torch.tensor([energy - zero for energy, _ in labels])
forces = torch.tensor(np.array([force for _, force in labels])).float()

# %%
# The network is invariant to rotations and translations, so it needs no geometry twice; the
# forces are the gradient of its energy, and both are trained on.

features = torch.from_numpy(one_hot(ELEMENTS)[NUMBERS])
network = LieTransformer(
    lg.SE3(),
    features.shape[-1],
    1,
    invariant=lg.RadialBasis(4.0, lg.Gaussian(16), envelope=None),
    pooling="sum",
    normalizer=Count(),
    width=32,
    layers=2,
    heads=8,
)
steps = 400
optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
for _ in range(steps):
    rows = torch.randint(len(positions), (32,))
    energy, force = energy_and_forces(
        energy_of(network, features.expand(32, -1, -1)), positions[rows], create_graph=True
    )
    loss = 10 * mse_loss(energy, energies[rows]) + mse_loss(force, forces[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()

# %%
# The scan: both bonds of one length, on a grid that training has not seen.

angles, bonds = np.linspace(75, 175, 26), np.linspace(0.82, 1.22, 21)
grid = np.array([[water(angle, bond, bond) for angle in angles] for bond in bonds])
true = np.array([[label(x)[0] for x in row] for row in grid]) - zero
with torch.no_grad():
    flat = torch.tensor(grid).float().flatten(0, 1)
    learned = network(features.expand(len(flat), -1, -1), flat).reshape(true.shape).numpy()

figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.9), layout="constrained")
levels = np.linspace(0, 3, 13)
shades = left.contourf(angles, bonds, true, levels, cmap="Blues_r", extend="both")
left.contour(angles, bonds, learned, levels, colors="#c8502d", linewidths=1, linestyles="--")
left.set(xlabel="angle / degrees", ylabel="length of the bonds / Å")
left.set_title("GFN2-xTB (shades) and the network (dashed)", fontsize=10)
figure.colorbar(shades, ax=left, label="energy / eV")
for row, color in zip((3, 7, 14), ("#8a5fa8", "#2457a6", "#3a8f5c"), strict=True):
    right.plot(angles, true[row], color=color, label=f"{bonds[row]:.2f} Å")
    right.plot(angles, learned[row], ".", color=color)
right.set(xlabel="angle / degrees", ylabel="energy / eV")
right.set_title("three cuts: GFN2-xTB (lines), network (dots)", fontsize=10)
right.legend(frameon=False, title="bonds")

# %%
# A rotated molecule has the same energy, and its forces are rotated: that is not learned.

turn = lg.SO3().sample()
learned_energy = energy_of(network, features[None])
energy, force = energy_and_forces(learned_energy, positions[:1])
again, turned = energy_and_forces(learned_energy, positions[:1] @ turn.T)
print(f"error on the grid: {1000 * np.abs(learned - true).mean():.0f} meV on average")
print(f"a rotation changes the energy by {(again - energy).abs().item():.0e} eV")
print(f"and the forces by {(turned - force @ turn.T).abs().max():.0e} eV/Å beyond turning them")
plt.show()
