r"""
Attention that turns with a molecule
====================================

Ethanol, seen from three sides. The lines are attention weights of the oxygen atom. In a network
on SE(3) they belong to the molecule; in one that looks at coordinates they depend on how it lies.
"""

import matplotlib.pyplot as plt
import torch
from ase.build import molecule
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from torch.nn.functional import mse_loss

import liegroups as lg
from attention import LieTransformer
from tasks.data.clouds import one_hot
from tasks.sources.md17 import ELEMENTS

# %%
# Two networks of the same size learn the electric energy of charges on the atoms, from distorted
# molecules that all lie the same way: one sees distances, and is exactly invariant to SE(3); the
# other, on the trivial group, sees coordinates.

atoms = molecule("CH3CH2OH")
center = torch.from_numpy(atoms.positions - atoms.positions.mean(0)).float()
features = torch.from_numpy(one_hot(ELEMENTS)[atoms.numbers])
charges = torch.tensor([{1: 0.2, 6: -0.1, 8: -0.8}[number] for number in atoms.numbers.tolist()])


def energy(positions):
    """Coulomb energies (batch,), standardized."""
    first, second = torch.triu_indices(len(charges), len(charges), 1)
    apart = (positions[:, first] - positions[:, second]).norm(dim=-1)
    return 20 * (charges[first] * charges[second] / apart).sum(-1)


def train(group, invariant, steps=300):
    """A small LieTransformer after a few seconds of training."""
    torch.manual_seed(0)
    network = LieTransformer(
        group, features.shape[-1], 1, invariant=invariant, width=32, layers=2, heads=4
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(steps):
        positions = center + 0.15 * torch.randn(64, *center.shape)
        predicted = network(features.expand(64, -1, -1), positions)[:, 0]
        target = energy(positions)
        loss = mse_loss(predicted, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    share = loss.item() / target.var().item()
    print(f"{group}: {share:.0%} of the variance left; {network.equivariance}")
    return network.eval()


networks = {
    "SE(3), distances": train(lg.SE3(), lg.Distance()),
    "coordinates": train(lg.Trivial(3), lg.RelativeMatrix()),
}


# %%
# The weights of a layer are what its normalizer makes of the logits of its kernel. A hook catches
# what the layer is given.


def weights(network, points):
    """Attention weights of the first layer, mean over the heads, (targets, sources)."""
    seen = []
    layer = network.blocks[0].attention
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs))
    with torch.no_grad():
        network(features[None], points[None])
        pairs, hidden = seen
        logits = layer.kernel(pairs, layer.kernel.project(hidden, pairs.source))
        found = layer.normalizer(pairs.neighborhood, logits)
    hook.remove()
    return found.mean(0)[0]


oxygen = atoms.get_chemical_symbols().index("O")
turns = lg.SO3().exp(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.9, 0.4], [1.2, -0.5, 1.9]]))

figure = plt.figure(figsize=(8.4, 5.4), layout="constrained")
for row, (name, network) in enumerate(networks.items()):
    for column, turn in enumerate(turns):
        axes = figure.add_subplot(2, 3, 3 * row + column + 1)
        points = center @ turn.T
        strength = weights(network, points)[oxygen]
        for place in range(len(atoms)):
            pair = points[[oxygen, place]]
            if place != oxygen:
                axes.plot(
                    pair[:, 0],
                    pair[:, 1],
                    color="#c8502d",
                    zorder=1,
                    solid_capstyle="round",
                    linewidth=16 * strength[place].item(),
                )
        order = points[:, 2].argsort()
        axes.scatter(
            points[order, 0],
            points[order, 1],
            zorder=2,
            edgecolor="#30343f",
            linewidth=0.8,
            s=420 * covalent_radii[atoms.numbers[order]] ** 1.5,
            c=jmol_colors[atoms.numbers[order]],
        )
        with torch.no_grad():
            found = network(features[None], points[None]).item()
        axes.set_title(f"{name}: energy {found:.4f}", fontsize=10)
        axes.set(xlim=(-2.4, 2.4), ylim=(-2.1, 2.1), aspect="equal")
        axes.axis("off")

# %%
# In the first row nothing changes but rounding. In the second, the weights and the energy are
# what the network makes of places that it has not seen an atom at.

same = [weights(networks["SE(3), distances"], center @ turn.T) for turn in turns]
print(f"largest change of a weight: {max((w - same[0]).abs().max() for w in same):.0e}")

plt.show()
