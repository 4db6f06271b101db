r"""
Lifting points to group elements
================================

A point of the plane says where it is, and not which way it looks. SE(2), the group of rotations
and translations, has both. To *lift* a point is to choose elements of the group that carry the
origin to it: the place is given, the angle is free. A sampler chooses the angles, and with that
decides which kind of equivariance a network has.
"""

import matplotlib.pyplot as plt
import torch

import liegroups as lg

torch.manual_seed(1)
group = lg.SE2()
space = group.default_space()
cloud = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 1.0], [2.0, 2.0]]) - 1.0


def angles(elements):
    """The angle of each element, from the first column of its matrix."""
    return torch.atan2(elements[..., 1, 0], elements[..., 0, 0])


# %%
# Every lift of a point lies on a vertical line over it, its *fibre*, here a circle of angles
# drawn as a line from -π to π. Haar samples are uniform on it.

lifted = lg.lift(space, cloud, lg.Haar(count=6))

figure = plt.figure(figsize=(5.2, 4.0))
axes = figure.add_subplot(projection="3d")
for (x, y), over in zip(cloud.tolist(), angles(lifted.element), strict=True):
    axes.plot([x, x], [y, y], [-torch.pi, torch.pi], color="#c9cedb", linewidth=1)
    axes.scatter([x] * len(over), [y] * len(over), over, color="#c8502d", s=18, depthshade=False)
axes.scatter(*cloud.T, -torch.pi, color="#2457a6", s=30, depthshade=False)
axes.set(xlabel="x", ylabel="y", zlabel="angle", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
axes.set_zticks([-torch.pi, 0, torch.pi], ["-π", "0", "π"])
axes.set_title("points (blue) and their lifts (red)", fontsize=10, y=0.94)
axes.view_init(elev=18, azim=-60)
axes.set_box_aspect((4, 4, 3.4), zoom=1.0)
figure.subplots_adjust(left=0, right=1, bottom=0.06, top=1)

# %%
# Now turn the cloud. The lifts that a network would like are those of the first cloud, turned.
# Haar samples are drawn without looking at the cloud: their law is right, a single draw is not.
# Frames are computed from the cloud, one angle a point, and turn with it: that is what makes them
# exact.

turn = group.exp(torch.tensor([0.3, 0.2, 0.9]))
turned = space.act(turn, cloud)

figure, panels = plt.subplots(
    2, 2, figsize=(6.4, 6.4), sharex=True, sharey=True, layout="constrained"
)
for row, (name, sampler) in zip(
    panels, {"Haar(3), drawn anew": lg.Haar(count=3), "Frames()": lg.Frames()}.items(), strict=True
):
    wanted = (turn @ lg.lift(space, cloud, sampler).element).flatten(0, 1)
    found = lg.lift(space, turned, sampler).element.flatten(0, 1)
    for axes, points, elements, title in (
        (row[0], turned, wanted, "the lifts of the cloud, turned"),
        (row[1], turned, found, "the lifts of the turned cloud"),
    ):
        axes.scatter(*points.T, color="#2457a6", s=25, zorder=3)
        axes.quiver(
            elements[:, 0, 2],
            elements[:, 1, 2],
            elements[:, 0, 0],
            elements[:, 1, 0],
            color="#c8502d",
            scale=7,
            width=0.008,
        )
        axes.set_title(f"{name}: {title}", fontsize=8)
        axes.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), xticks=[], yticks=[], aspect="equal")

print(f"Frames: equal to {(wanted - found).abs().max():.0e}")

# %%
# The library says beforehand which promise a sampler makes on a space:

for sampler in (lg.Frames(), lg.Haar(count=3), lg.FullOrbit(lg.CyclicGroup(8)), lg.Grid(8)):
    print(f"{sampler!s:50} {space.equivariance(sampler).value}")

plt.show()
