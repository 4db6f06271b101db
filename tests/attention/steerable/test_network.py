import copy
import importlib.util
import pickle

import pytest
import torch
from e3nn import o3

from attention import AllPairs, Nearest, Radius
from attention.steerable import SteerableTransformer
from liegroups import SE2, SE3, SO3, T3, Distance, E, InverseDistance, PerHead, RadialBasis

OPTIONS = [
    {},
    {"residual": True, "norm": True, "gate": True},
    {"invariant": [Distance(), InverseDistance()]},
    {"invariant": [Distance(), InverseDistance()], "stacks": 2, "heads": 1},
    {"invariant": RadialBasis(2.0), "neighborhood": Nearest(3, loops=False)},
    {"neighborhood": AllPairs(loops=False), "norm": True},
    {"neighborhood": Radius(2.0, loops=False, layout="dense"), "max_degree": 1},
]


@pytest.fixture(autouse=True)
def double():
    """Wigner matrices of e3nn follow the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def network(group=SE3(), out="2x0e + 1x1o + 1x2e", **settings):  # noqa: B008
    torch.manual_seed(0)
    settings = {
        "channels": 4,
        "types": [0, 1, 2],
        "layers": 2,
        "heads": 2,
        "neighborhood": Radius(2.0, loops=False),
        **settings,
    }
    return SteerableTransformer("3x0e + 1x1o", out, group=group, **settings).eval()


def clouds(points=6):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, points, 6, generator=generator)
    return features, torch.randn(2, points, 3, generator=generator)


def moved(model, features, points, angles, mirror, shift):
    """What the model gives for moved clouds, and what it should."""
    turn_in, turn_out = (
        irreps.D_from_angles(*angles, torch.tensor(mirror))
        for irreps in (model.irreps_in, model.irreps_out)
    )
    matrix = (-1) ** mirror * o3.angles_to_matrix(*angles)
    output = model(features @ turn_in.T, points @ matrix.T + shift)
    return output, model(features, points) @ turn_out.T


# ---- equivariance ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("group", [SE3(), E(3)], ids=str)
def test_rotations_translations_and_where_stated_reflections(group, options):
    model = network(group, **options)
    for mirror in (0, 1):
        # e3nn's matrices lose digits at small angles, 1.6e-11 at 0.03 rad.
        angles = 0.3 + 2.5 * torch.rand(3)
        found, expected = moved(model, *clouds(), angles, mirror, torch.randn(3))
        error = (found - expected).abs().max()
        if mirror == 0 or group == E(3):
            assert error < 1e-11 * expected.abs().max().clamp(min=1)
        else:
            assert error > 1e-3


def test_a_chiral_molecule_and_its_mirror_image():
    """Four different atoms about a center: an invariant network with parity cannot tell them."""
    points = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])[None]
    points = points * torch.tensor([1.0, 1.1, 0.9, 1.2, 0.8])[:, None]
    features = torch.cat((torch.eye(5)[:, :3] + torch.eye(5)[:, 2:], torch.zeros(5, 3)), 1)[None]
    mirrored = points * torch.tensor([1.0, 1, -1])
    settings = {
        "out": "1x0e",
        "pooling": "sum",
        "gate": True,
        "layers": 3,
        "neighborhood": Radius(6.0),
    }
    differences = []
    for group in (SE3(), E(3)):
        model = network(group, **settings)
        differences.append((model(features, points) - model(features, mirrored)).abs().item())
    assert differences[0] > 1e-4
    assert differences[1] < 1e-12


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_permutation_padding_and_batching(options):
    model = network(**options)
    features, points = clouds()
    output = model(features, points)
    order = torch.randperm(6)
    torch.testing.assert_close(model(features[:, order], points[:, order]), output[:, order])
    more = [torch.cat((x, torch.randn_like(x)), 1) for x in (features, points)]
    padded = model(*more, torch.arange(12).expand(2, -1) < 6)
    torch.testing.assert_close(padded[:, :6], output)
    assert (padded[:, 6:] == 0).all()
    torch.testing.assert_close(model(features[:1], points[:1]), output[:1])


# ---- energies and forces ---------------------------------------------------------------------


def test_forces_are_the_gradient_of_the_energy_and_can_be_trained():
    model = network(out="1x0e", pooling="sum", gate=True)
    features, points = clouds(4)
    points.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: model(features, x), points)
    assert torch.autograd.gradgradcheck(lambda x: model(features, x), points, atol=1e-4)
    (force,) = torch.autograd.grad(model(features, points).sum(), points, create_graph=True)
    gradients = torch.autograd.grad(
        force.square().sum(), tuple(model.parameters()), materialize_grads=True
    )
    assert all(g.isfinite().all() for g in gradients)
    assert sum(g.abs().sum() for g in gradients) > 0


@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_energies_are_smooth_as_an_atom_crosses_the_cutoff(layout):
    model = network(out="1x0e", pooling="sum", neighborhood=Radius(2.0, loops=False, layout=layout))
    features, points = clouds(3)
    features, points = features[:1], points[:1] * 0.3

    def jet(reach):
        reach = torch.tensor(reach, requires_grad=True)
        direction = torch.eye(3)[0]
        far = (points[0, 1] + reach * direction)[None, None]
        x = torch.cat((points[:, :2], far), 1)
        energy = model(features, x).sum()
        (slope,) = torch.autograd.grad(energy, reach, create_graph=True, materialize_grads=True)
        if not slope.requires_grad:
            return torch.stack((energy, slope, torch.zeros(()))).detach()
        (curvature,) = torch.autograd.grad(slope, reach, materialize_grads=True)
        return torch.stack((energy, slope, curvature)).detach()

    inside, outside = jet(2.0 - 1e-6), jet(2.0 + 1e-6)
    torch.testing.assert_close(inside, outside, rtol=0, atol=1e-3)
    assert (jet(1.0)[0] - outside[0]).abs() > 1e-4


def test_isolated_and_coincident_atoms():
    model = network(gate=True)
    features, _ = clouds(2)
    apart = torch.tensor([[0.0, 0, 0], [100, 0, 0]]).expand(2, -1, -1)
    alone = torch.cat([model(features[:, i : i + 1], apart[:, :1]) for i in (0, 1)], 1)
    torch.testing.assert_close(model(features, apart), alone)
    together = torch.zeros(2, 2, 3, requires_grad=True)
    output = model(features, together)
    (gradient,) = torch.autograd.grad(output.square().sum(), together)
    assert output.isfinite().all()
    assert gradient.isfinite().all()


# ---- parts -----------------------------------------------------------------------------------


def test_a_head_sees_only_its_own_invariant():
    model = network(invariant=PerHead([Distance(), InverseDistance()]))
    perceptron = model.stacks[0][0].attention.value_weights
    invariants = torch.randn(5, 2)

    def weights(x):
        return [torch.einsum("pu,uabc->pabc", hidden, m[0]) for hidden, m in perceptron(x)]

    changed = weights(invariants + torch.tensor([1.0, 0.0]))
    moved = [
        bool((after - before).abs().max() > 1e-6)
        for after, before in zip(changed, weights(invariants), strict=True)
    ]
    assert moved == [True, False]


def test_every_product_has_the_same_weights_and_results():
    models = [network(product=name, gate=True) for name in ("fused", "e3nn")]
    if importlib.util.find_spec("cuequivariance_torch"):
        models.append(network(product="cuequivariance", gate=True))
    features, points = clouds()
    outputs = []
    for model in models:
        model.load_state_dict(models[0].state_dict())
        outputs.append(model(features, points))
        single = copy.deepcopy(model).float()(features.float(), points.float())
        torch.testing.assert_close(single.double(), outputs[0], rtol=1e-3, atol=1e-4)
        assert torch.equal(pickle.loads(pickle.dumps(model))(features, points), outputs[-1])
    for output in outputs:
        torch.testing.assert_close(output, outputs[0])


def test_stacks_are_networks_side_by_side():
    model = network(invariant=[Distance(), InverseDistance()], stacks=4, heads=1)
    names = [type(geometry.invariant).__name__ for geometry in model.geometries]
    assert names == ["Distance"] * 2 + ["InverseDistance"] * 2
    assert len(model.stacks) == 4


def test_vectors_and_tensors_come_in_and_go_out():
    """Velocities and angular momenta in, which reflections turn in two ways; tensors out."""
    torch.manual_seed(0)
    model = SteerableTransformer(
        "2x0e + 1x1o + 1x1e",
        "1x0e + 1x1o + 1x2e + 1x3o",
        group=E(3),
        channels=2,
        types=[0, 1, 2, 3],
        layers=2,
        heads=1,
    ).eval()
    features, points = torch.randn(1, 4, 8), torch.randn(1, 4, 3)
    output = model(features, points)
    assert output.shape == (1, 4, 16)
    assert all(part.abs().max() > 1e-4 for part in output.split([1, 3, 5, 7], -1))
    for mirror in (0, 1):
        found, expected = moved(model, features, points, 0.3 + torch.rand(3), mirror, torch.ones(3))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    for number in range(2, 8):  # Every component of what comes in is seen.
        changed = features.clone()
        changed[..., number] += 1
        assert (model(changed, points) - output).abs().max() > 1e-4


def test_pooling():
    features, points = clouds()
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    each = network(out="1x0e")(features, points, mask)
    total = network(out="1x0e", pooling="sum")(features, points, mask)
    mean = network(out="1x0e", pooling="mean")(features, points, mask)
    torch.testing.assert_close(total, each.sum(1))
    torch.testing.assert_close(mean, total / torch.tensor([[6.0], [4.0]]))


def test_copies_and_dtypes():
    model = network()
    features, points = clouds()
    output = model(features, points)
    for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert torch.equal(again(features, points), output)
    single = copy.deepcopy(model).float()(features.float(), points.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), output, rtol=1e-3, atol=1e-4)


def test_compiles_without_a_break():
    model = network(neighborhood=Radius(2.0, loops=False, layout="dense"), gate=True)
    features, points = clouds()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(features, points), model(features, points))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group": SO3()}, r"for SE3\(\) and E\(3\); got SO3"),
        ({"group": T3()}, "got T3"),
        ({"group": SE2()}, "got SE2"),
        ({"heads": 3}, "3 heads and 4 channels of type 0e"),
        ({"pooling": "max"}, "'none', 'sum' or 'mean'; got 'max'"),
        ({"layers": 0}, "layers: 0; accepted: 1 to"),
        ({"types": []}, "types: none are given"),
        ({"stacks": 3, "invariant": [Distance(), InverseDistance()]}, "3 stacks cannot be divided"),
        ({"hidden": 0}, "hidden: 0; accepted: 1 to"),
        ({"out": "1x3o"}, r"out_features asks for type 3e, .* 4x0e\+4x1e\+4x2e"),
        ({"out": "1x1e", "group": E(3)}, r"type 1e, .* of parity"),
        ({"product": "fast"}, "product is one of 'fused', 'e3nn', 'cuequivariance'; got 'fast'"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        network(**settings)


def test_clouds_that_do_not_fit():
    with pytest.raises(ValueError, match=r"features must have shape \(batch, points, 6\)"):
        network()(torch.randn(1, 4, 5), torch.randn(1, 4, 3))
