"""Laws of every network, whatever its group, kernel, layout and backend."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from attention.backends import BACKENDS
from attention.interface import Network
from attention.layer import LieAttention
from attention.neighborhoods import Nearest, Radius, RandomNearest
from attention.network import LieTransformer
from liegroups import Equivariance, FullOrbit, Lifted, Sees
from liegroups.affine import AffineGroup
from liegroups.samplers import RandomSampler
from liegroups.testing.laws.law import fail, law, require, require_close

NetworkLaw: TypeAlias = Callable[[Network, int], None]

_TOLERANCE = 1e-9
_SIZES = (6, 4)


TRACES_ALL = (2, 13)
"""The first torch whose compiler and exporter follow all that networks do."""


class NotApplicable(Exception):
    """A law says nothing about a network; the message says why."""


class Clouds(NamedTuple):
    """Inputs of a network.

    Attributes:
        features: ``(batch, points, in_features)``.
        points: ``(batch, points, point_dim)``.
        mask: Booleans ``(batch, points)``.
    """

    features: Tensor
    points: Tensor
    mask: Tensor


def example_clouds(network: Network, seed: int, dtype: torch.dtype = torch.float64) -> Clouds:
    """A batch of a cloud of six points and one of four, of which two coincide.

    Not where nearest neighbors are chosen, since rounding decides between those.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (len(_SIZES), max(_SIZES))
    features = torch.randn(*shape, network.in_features, generator=generator, dtype=dtype)
    points = torch.randn(*shape, network.space.point_dim, generator=generator, dtype=dtype)
    if not isinstance(network.neighborhood, Nearest):
        points[1, 1] = points[1, 0]
    mask = torch.arange(shape[1]) < torch.tensor(_SIZES)[:, None]
    return Clouds(features, network.space.nearest_point(points), mask)


# ---- symmetry --------------------------------------------------------------------------------


@law
def equivariance_is_of_the_stated_kind(network: Network, seed: int) -> None:
    """F(g x) = g f(x): to rounding where exact, on average where in distribution."""
    kind = network.equivariance
    if kind is Equivariance.NONE:
        raise NotApplicable("the network states no equivariance")
    if kind is Equivariance.IN_DISTRIBUTION:
        score = average_z_score(network, seed)
        require(score < 4.5, f"mean outputs differ with |z| = {score:.3g}")
        return
    clouds = example_clouds(network, seed)
    output = network(*clouds)
    for g in _elements(network, kind, seed):
        features = network.move_features(g, clouds.features)
        moved = network(features, network.space.act(g, clouds.points), clouds.mask)
        expected = network.move(g, output)
        _require_same(moved, expected, "the moved clouds", g=g)


@law
def order_of_points_does_not_matter(network: Network, seed: int) -> None:
    """F(π x) = π f(x) for a permutation π, where nothing is drawn."""
    if _draws_at_each_place(network):
        raise NotApplicable("lifts are drawn for each place in the cloud")
    if isinstance(network.neighborhood, RandomNearest):
        raise NotApplicable("neighbors are drawn for each place in the cloud")
    clouds = example_clouds(network, seed)
    order = torch.randperm(max(_SIZES), generator=torch.Generator().manual_seed(seed))
    output = network(*clouds)
    permuted = network(*(part[:, order] for part in clouds))
    expected = output[:, order] if network.is_per_point else output
    _require_same(permuted, expected, "the permuted clouds")


# ---- what a cloud is given with --------------------------------------------------------------


@law
def padding_changes_nothing(network: Network, seed: int) -> None:
    """F(x with points that do not exist) = f(x), whatever their values."""
    clouds = example_clouds(network, seed)
    output = network(*clouds)
    features, points, mask = (
        torch.cat(parts, 1) for parts in zip(clouds, example_clouds(network, seed + 1), strict=True)
    )
    mask[:, max(_SIZES) :] = False
    padded = network(features, points, mask)
    if network.is_per_point:
        _require_same(padded[:, max(_SIZES) :], torch.zeros_like(output), "the padding")
        padded = padded[:, : max(_SIZES)]
    _require_same(padded, output, "the padded clouds")


@law
def batching_changes_nothing(network: Network, seed: int) -> None:
    """F(x, y) = (f(x), f(y))."""
    clouds = example_clouds(network, seed)
    output = network(*clouds)
    for index, size in enumerate(_SIZES):
        features, points, _ = (part[index : index + 1, :size] for part in clouds)
        alone = network(features, points)
        together = output[index : index + 1]
        together = together[:, :size] if network.is_per_point else together
        _require_same(alone, together, f"cloud {index} alone")


@law
def evaluation_repeats_itself(network: Network, seed: int) -> None:
    """Two evaluations of the same clouds are equal, bit by bit."""
    clouds = example_clouds(network, seed)
    require(torch.equal(network(*clouds), network(*clouds)), "two evaluations differ")


@law
def few_points_are_enough(network: Network, seed: int) -> None:
    """F and its gradients are finite for one point, for coincident points, and far apart."""
    features, points, _ = example_clouds(network, seed)
    for name, cloud in {
        "one point": points[:, :1],
        "coincident points": points[:, :1].expand(-1, 4, -1),
        "points far apart": network.space.nearest_point(1e4 * points),
    }.items():
        cloud = cloud.clone().requires_grad_()
        own = features[:, : cloud.shape[1]].clone().requires_grad_()
        output = network(own, cloud)
        require(bool(output.isfinite().all()), f"the output for {name} is not finite")
        for gradient in _gradients(output, (own, cloud, *network.parameters())):
            require(bool(gradient.isfinite().all()), f"a gradient for {name} is not finite")


@law
def edges_take_the_place_of_the_rule(network: Network, seed: int) -> None:
    """F(x, edges that the neighborhood's rule chooses) = f(x)."""
    clouds = example_clouds(network, seed)
    edges = _chosen_edges(network, clouds)
    again = copy.deepcopy(network)
    for layer in _layers(again):
        setattr(layer, "backend", "auto")  # noqa: B010  (a string, for the type checker)
    _require_same(again(*clouds, edges=edges), network(*clouds), "the clouds with edges")
    if edges.numel():
        without = again(*clouds, edges=edges[:, :0])
        require(bool(without.isfinite().all()), "the output without an edge is not finite")
        require(not torch.equal(without, again(*clouds)), "no edges give what the rule gives")


@law
def the_generator_decides_what_is_drawn(network: Network, seed: int) -> None:
    """F(x) with a generator is the same, bit by bit, for generators of the same seed."""
    clouds = example_clouds(network, seed)
    first, second = (
        network(*clouds, generator=torch.Generator().manual_seed(seed)) for _ in range(2)
    )
    require(torch.equal(first, second), "two generators of the same seed give other outputs")


# ---- derivatives and backends ----------------------------------------------------------------


@law
def derivatives_are_right(network: Network, seed: int) -> None:
    """First derivatives, and second ones where the backend has them, are those of f."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, 3, network.in_features, generator=generator, dtype=torch.float64)
    points = torch.randn(1, 3, network.space.point_dim, generator=generator, dtype=torch.float64)
    points = network.space.nearest_point(points)
    inputs = (features.requires_grad_(), points.requires_grad_())

    def function(*tensors: Tensor) -> Tensor:
        output: Tensor = network(*tensors)
        return output

    torch.autograd.gradcheck(function, inputs, fast_mode=True)
    if all(layer.backend != "fused" for layer in _layers(network)):
        torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@law
def backends_agree(network: Network, seed: int) -> None:
    """Every backend that can gives the same output and the same gradients."""
    if not _layers(network):
        raise NotApplicable("the network has no layer that backends compute")
    clouds = example_clouds(network, seed)
    inputs = clouds.features.requires_grad_(), clouds.points.requires_grad_()
    parameters = tuple(network.parameters())
    found = {}
    for name in ("auto", *BACKENDS):
        again = copy.deepcopy(network)
        for layer in _layers(again):
            setattr(layer, "backend", name)  # noqa: B010  (a string, for the type checker)
        try:
            output = again(*clouds)
        except ValueError:
            continue
        sources = (*inputs, *again.parameters())
        found[name] = output, _gradients(output.square().sum(), sources)
    require(len(found) > 1, "only one backend computes it")
    output, gradients = found.pop("auto")
    require(len(gradients) == len(inputs) + len(parameters), "a gradient is missing")
    for name, (other, others) in found.items():
        _require_same(other, output, f"the output of backend {name}")
        for gradient, expected in zip(others, gradients, strict=True):
            _require_same(gradient, expected, f"a gradient of backend {name}")


# ---- what users do with a network ------------------------------------------------------------


@law
def dtype_is_kept(network: Network, seed: int) -> None:
    """The output has the dtype of the network, and is finite."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        output = copy.deepcopy(network).to(dtype)(*example_clouds(network, seed, dtype))
        require(output.dtype == dtype, f"the output is {output.dtype}, not {dtype}")
        require(bool(output.isfinite().all()), f"the output is not finite in {dtype}")


def _check_tracing() -> None:
    if tuple(map(int, torch.__version__.split(".")[:2])) < TRACES_ALL:
        raise NotApplicable(f"torch {torch.__version__} cannot trace every lift and backend")


@law
def it_compiles(network: Network, seed: int) -> None:
    """``torch.compile(fullgraph=True)`` gives the same output and the same gradients."""
    _check_tracing()
    _check_static(network)
    clouds = example_clouds(network, seed)
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    output, expected = compiled(*clouds), network(*clouds)
    _require_same(output, expected, "the compiled network")
    parameters = tuple(network.parameters())
    for gradient, right in zip(
        _gradients(output.square().sum(), parameters),
        _gradients(expected.square().sum(), parameters),
        strict=True,
    ):
        _require_same(gradient, right, "a gradient of the compiled network")


@law
def it_exports(network: Network, seed: int) -> None:
    """``torch.export`` gives a program with the same output."""
    _check_tracing()
    _check_static(network)
    clouds = example_clouds(network, seed)
    with torch.no_grad():
        program = torch.export.export(network, tuple(clouds))
        other = example_clouds(network, seed + 1)
        _require_same(program.module()(*other), network(*other), "the exported program")


@law
def copies_are_equal(network: Network, seed: int) -> None:
    """A copy, by pickle or deepcopy, and one with the same state give the same output."""
    clouds = example_clouds(network, seed)
    expected = network(*clouds)
    pickled = pickle.loads(pickle.dumps(network))
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    restored = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in restored.parameters():
            parameter.normal_()
    restored.load_state_dict(torch.load(buffer, weights_only=True))
    for name, again in {"pickle": pickled, "state": restored}.items():
        require(torch.equal(again(*clouds), expected), f"the copy by {name} gives another output")


NETWORK_LAWS: tuple[NetworkLaw, ...] = (
    equivariance_is_of_the_stated_kind,
    order_of_points_does_not_matter,
    padding_changes_nothing,
    batching_changes_nothing,
    evaluation_repeats_itself,
    edges_take_the_place_of_the_rule,
    the_generator_decides_what_is_drawn,
    few_points_are_enough,
    derivatives_are_right,
    backends_agree,
    dtype_is_kept,
    it_compiles,
    it_exports,
    copies_are_equal,
)


# ---- what laws are written with --------------------------------------------------------------


@torch.no_grad()
def average_z_score(network: Network, seed: int, draws: int = 4000) -> float:
    """Largest |z| of the difference of mean outputs between a cloud and a moved copy of it.

    Args:
        network: The network, whose lifts are drawn.
        seed: Seed of the cloud, the element and the draws.
        draws: Number of draws of each.
    """
    space = network.space
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, 4, network.in_features, generator=generator, dtype=torch.float64)
    points = torch.randn(1, 4, space.point_dim, generator=generator, dtype=torch.float64)
    points = space.nearest_point(points)
    g = space.group.sample(generator=generator, dtype=torch.float64)
    moved = network.move_features(g, features), space.act(g, points)
    outputs = [
        network(own.expand(draws, -1, -1), x.expand(draws, -1, -1), generator=generator)
        for own, x in ((features, points), moved)
    ]
    expected = network.move(g, outputs[0])
    difference = expected.mean(0) - outputs[1].mean(0)
    error = ((expected.var(0) + outputs[1].var(0)) / draws).sqrt()
    return float((difference / error).abs().max())


def _elements(network: Network, kind: Equivariance, seed: int) -> list[Tensor]:
    """Elements of the group, or of the subgroup for which the lift is exact."""
    space = network.space
    generator = torch.Generator().manual_seed(seed)
    if kind is Equivariance.EXACT:
        # So many that reflections, half of the elements of a group that has them, are among them.
        return list(space.group.sample((8,), generator=generator, dtype=torch.float64))
    if not isinstance(network, LieTransformer):
        raise NotApplicable("the network does not say for which subgroup it is exact")
    turns = [space.group.identity(torch.zeros((), dtype=torch.float64))]
    if isinstance(network.sampler, FullOrbit):
        turns = list(space.embed_linear(network.sampler.subgroup.elements()))
    if isinstance(space.group, AffineGroup):
        x = torch.randn(space.point_dim, generator=generator, dtype=torch.float64)
        turns = [space.group.compose(space.section(x), turn) for turn in turns]
    return turns


def _draws_at_each_place(network: Network) -> bool:
    """Whether lifts, or whatever a network of another kind draws, differ from place to place."""
    if network.equivariance is Equivariance.EXACT:
        return False
    if isinstance(network, LieTransformer):
        return isinstance(network.sampler, RandomSampler) and not network.sampler.shared
    return network.equivariance is Equivariance.IN_DISTRIBUTION


def _chosen_edges(network: Network, clouds: Clouds) -> Tensor:
    """The pairs that the rule chooses, as edges; they have to carry all that the rule says."""
    rule = network.neighborhood
    if rule is None:
        raise NotApplicable("the network has no rule that chooses neighbors")
    if Sees.ELEMENTS in rule.sees:
        raise NotApplicable("the neighbors of a point depend on its lift")
    points = clouds.points.masked_fill(~clouds.mask[..., None], 0)
    lifted = Lifted(network.space.section(points), points)
    chosen = rule(network.space, lifted, clouds.mask, fixed=True)
    number = torch.arange(clouds.mask.numel(), dtype=points.dtype).view(*clouds.mask.shape, 1)
    target, source = torch.broadcast_tensors(
        chosen.pull_targets(number), chosen.pull_sources(number)
    )
    weight = chosen.apply_mask(torch.ones_like(target[None, ..., 0]))[0]
    if not ((weight == 0) | (weight == 1)).all():
        raise NotApplicable("the rule weighs the pairs, and edges have no weights")
    edges = torch.stack((source, target))[..., 0].long()
    exists = clouds.mask.flatten()[edges].all(0) & (weight == 1)
    return edges[:, exists]


def _check_static(network: Network) -> None:
    rule = network.neighborhood
    if isinstance(rule, Radius) and rule.layout == "sparse":
        raise NotApplicable("the number of pairs depends on the data")


def _layers(network: Network) -> list[LieAttention]:
    return [module for module in network.modules() if isinstance(module, LieAttention)]


def _gradients(output: Tensor, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(output.sum(), inputs, materialize_grads=True)


def _require_same(actual: Tensor, expected: Tensor, what: str, **inputs: Tensor) -> None:
    if actual.shape != expected.shape:
        fail(f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}", **inputs)
    if not expected.numel():
        return
    scale = expected.detach().abs().max().clamp(min=1)
    require_close(actual.flatten(), expected.flatten(), _TOLERANCE * scale, 1, what, **inputs)
