r"""
A group of your own: the hyperbolic plane
=========================================

The package does not ship the isometries of the hyperbolic plane. Here they are added, from the
group to a trained network: a group, the space that it acts on, an invariant, the laws that hold
all three to what they claim, and a LieTransformer that learns the area of triangles near the
origin and knows it everywhere.

Points of the plane are points of the hyperboloid :math:`t^2 - x^2 - y^2 = 1` with :math:`t > 0`.
Isometries that keep the orientation are the 3 × 3 matrices that keep :math:`t^2 - x^2 - y^2` and
the sign of t, :math:`SO^+(2, 1)`.
"""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch

from attention import Count, LieTransformer, invariance_error
from liegroups import SO2, HomogeneousSpace, Invariant, LieGroup, Sees
from liegroups.testing import check_group, check_invariant, check_space

# %%
# The group
# ---------
# The algebra has two boosts and a turn. ``exp`` and ``log`` are left to the defaults; the inverse
# has a closed form that costs nothing, :math:`J g^\top J` with :math:`J = \mathrm{diag}(1, -1,
# -1)`. ``contains`` and ``project`` go through :math:`\exp(\log g)` by default, in which large
# boosts lose digits; what keeps the form can ask the form, whose rounding grows with the square
# of the entries.


@dataclass(frozen=True)
class HyperbolicMotions(LieGroup):
    """SO⁺(2, 1), on vectors (t, x, y): boosts along x and y, and turns."""

    dim, matrix_size, basis_labels = 3, 3, ("x", "y", "turn")
    is_compact, is_abelian = False, False

    def algebra_basis(self):
        basis = torch.zeros(3, 3, 3, dtype=torch.float64)
        basis[0, 0, 1] = basis[0, 1, 0] = 1
        basis[1, 0, 2] = basis[1, 2, 0] = 1
        basis[2, 2, 1], basis[2, 1, 2] = 1, -1
        return basis

    def inverse(self, g):
        self.check_element(g)
        sign = torch.tensor([1.0, -1.0, -1.0], dtype=g.dtype, device=g.device)
        return sign[:, None] * g.mT * sign

    def project(self, x):
        """The factor of x that keeps the form, by Newton's iteration for polar factors."""
        self.check_element(x)
        for _ in range(8):
            x = (x + self.inverse(torch.linalg.inv_ex(x).inverse)) / 2
        return x

    def contains(self, g, tolerance=None):
        """The form is kept, to rounding, and so are the sign of t and the orientation."""
        tolerance = torch.finfo(g.dtype).eps ** 0.5 if tolerance is None else tolerance
        defect = (self.inverse(g) @ g - self.identity(g)).abs().amax((-2, -1))
        kept = defect <= tolerance * g.abs().amax((-2, -1)) ** 2
        return kept & (g[..., 0, 0] > 0) & (torch.linalg.det(g) > 0)

    def sample(self, shape=(), *, generator=None, dtype=None, device=None):
        """A uniform turn times a boost of normal length; there is no Haar probability."""
        kind = {"generator": generator, "dtype": dtype, "device": device}
        boost, turn = torch.randn((*shape, 2), **kind), torch.rand((*shape, 1), **kind)
        nothing = torch.zeros_like(boost)
        turned = self.exp(torch.cat((nothing, 2 * torch.pi * turn - torch.pi), -1))
        return turned @ self.exp(torch.cat((boost, nothing[..., :1]), -1))


# %%
# The space
# ---------
# A point is given by (x, y); t follows. The base point is the origin, its stabilizer the turns
# SO(2), and the section is the boost that carries the origin to the point.


def with_time(v):
    """(t, x, y) on the hyperboloid."""
    return torch.cat(((1 + (v * v).sum(-1, keepdim=True)).sqrt(), v), -1)


@dataclass(frozen=True)
class HyperbolicPlane(HomogeneousSpace):
    """The hyperbolic plane; points are the coordinates (x, y) on the hyperboloid."""

    group: LieGroup = HyperbolicMotions()
    point_dim, stabilizer = 2, SO2()

    def act(self, g, x):
        self.check_points(x)
        return (g @ with_time(x)[..., None])[..., 1:, 0]

    def section(self, x):
        self.check_points(x)
        p = with_time(x)
        t = p[..., :1, None]
        block = torch.eye(2).to(x) + x[..., :, None] * x[..., None, :] / (1 + t)
        return torch.cat((p[..., None, :], torch.cat((x[..., :, None], block), -1)), -2)

    def representative(self, x):
        return torch.zeros_like(x)

    def embed(self, h):
        top = torch.eye(3).to(h)[:1].expand(*h.shape[:-2], 1, 3)
        return torch.cat((top, torch.nn.functional.pad(h, (1, 0))), -2)


# %%
# An invariant
# ------------
# With :math:`\cosh d = t_1 t_2 - x_1 x_2 - y_1 y_2` the logarithm of :math:`\cosh d` grows like
# the distance d and is smooth everywhere. It looks at the points alone, so nothing has to be
# lifted.


@dataclass(frozen=True)
class LogCoshDistance(Invariant):
    """log cosh d of the distance d of the hyperbolic plane."""

    sees = Sees.POINTS

    def dim(self, space):
        if not isinstance(space, HyperbolicPlane):
            raise ValueError(f"LogCoshDistance is of the hyperbolic plane; got {space}.")
        return 1

    def __call__(self, space, target, source):
        gap = with_time(target.point) - with_time(source.point)
        return torch.log1p((gap[..., 1:].square().sum(-1, keepdim=True) - gap[..., :1] ** 2) / 2)


# %%
# The laws
# --------
# The testing kit knows what groups, spaces and invariants must obey. Few examples have to do
# here; in a test module ``lie_group_suite(HyperbolicMotions())`` tries a hundred of each. Had the
# space not called ``check_points``, ``wrong_points_are_refused`` would have said so.

space = HyperbolicPlane()
for checked in (
    check_group(space.group, examples=1, skip={"operations_compile": "for time"}),
    check_space(space, examples=1),
    check_invariant(LogCoshDistance(), space, examples=1),
):
    broken = [f"{law.name}: {law.message}" for law in checked if law.passed is False]
    print(f"{sum(law.passed is True for law in checked)} laws hold", *broken, sep="\n")

# %%
# A network
# ---------
# The area of a triangle is what its angles lack to π. It is learned from triangles about the
# origin, and tested on triangles that random isometries have carried anywhere. The corners have
# no features but a one, so the weights must not sum to one, or nothing would be seen: ``Count``
# divides by the number of points instead.


def area(triangle):
    """Areas of triangles (..., 3, 2), by the hyperbolic form of a formula of Euler."""
    a, b, c = with_time(triangle).unbind(-2)
    sign = torch.tensor([1.0, -1.0, -1.0]).to(a)
    cosh = sum((sign * p * q).sum(-1) for p, q in ((a, b), (b, c), (c, a)))
    return 2 * torch.atan(torch.linalg.det(torch.stack((a, b, c), -1)).abs() / (1 + cosh))


torch.manual_seed(0)
ones = torch.ones(128, 3, 1)
network = LieTransformer(
    space.group,
    1,
    1,
    space=space,
    invariant=LogCoshDistance(),
    normalizer=Count(),
    width=32,
    layers=2,
    heads=8,
)
optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
for _ in range(500):
    triangles = torch.randn(128, 3, 2)
    loss = (network(ones, triangles)[:, 0] - area(triangles)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
network.eval()

near = torch.randn(128, 3, 2)
motions = space.group.sample((128,))
far = space.act(motions[:, None], near)
with torch.no_grad():
    for name, triangles in {"about the origin": near, "carried away": far}.items():
        error = (network(ones, triangles)[:, 0] - area(triangles)).abs().mean()
        print(f"mean error of the area {name}: {error:.3f}")
print(f"the network is {network.equivariance}: {invariance_error(network, ones, near):.0e}")

# %%
# The picture is the Poincaré disk, in which a point is :math:`(x, y) / (1 + t)`. One triangle,
# carried to eight places by isometries, with the area that the network finds: it is the same
# triangle.


def disk(v):
    """Points of the Poincaré disk."""
    p = with_time(v)
    return p[..., 1:] / (1 + p[..., :1])


def edges(triangle, count=40):
    """The geodesics between the corners, drawn on the disk."""
    share = torch.linspace(0, 1, count)[:, None]
    for p, q in ((0, 1), (1, 2), (2, 0)):
        line = (1 - share) * with_time(triangle[p]) + share * with_time(triangle[q])
        length = (line[:, :1] ** 2 - line[:, 1:].square().sum(-1, keepdim=True)).sqrt()
        yield disk(line[:, 1:] / length)


triangle = torch.tensor([[-0.5, -0.4], [0.7, -0.2], [0.0, 0.6]])
places = torch.arange(8) * torch.pi / 4
nothing = torch.zeros(8)
turns = space.group.exp(torch.stack((nothing, nothing, places), -1))
boosts = space.group.exp(torch.stack((nothing + 2.1, nothing, nothing), -1))
figure, axes = plt.subplots(figsize=(5.2, 5.2), layout="constrained")
axes.add_patch(plt.Circle((0, 0), 1, facecolor="#eef1f7", edgecolor="#8a8fa3"))
for motion in (torch.eye(3), *(turns @ boosts)):
    moved = space.act(motion, triangle)
    for line in edges(moved):
        axes.plot(*line.T, color="#2457a6", linewidth=1.3)
    with torch.no_grad():
        found = network(torch.ones(1, 3, 1), moved[None]).item()
    middle = disk(moved).mean(0)
    axes.annotate(
        f"{found:.3f}",
        middle,
        (1.0 if middle.norm() < 0.3 else 0.7) * middle,
        fontsize=9,
        ha="center",
        va="center",
        color="#c8502d",
    )
axes.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), aspect="equal")
axes.set_title(f"one triangle of area {area(triangle):.3f} at nine places", fontsize=10)
axes.axis("off")
plt.show()
