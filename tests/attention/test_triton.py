"""The Triton backend: on a GPU where there is one, otherwise in triton's interpreter.

The interpreter must be on before triton is imported. Without a GPU, the last test therefore runs
this file once more in a process of its own.
"""

import os
import subprocess
import sys
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from attention import (
    BACKENDS,
    ContentOnly,
    Count,
    DenseNeighborhood,
    Exponential,
    Geometry,
    Kernel,
    LieTransformer,
    LinearLocation,
    LocationMLP,
    LocationOnly,
    NormLocation,
    Pairs,
    Product,
    Rotary,
    SharedLocationMLP,
    Softmax,
    Sum,
)
from attention.backends import choose_backend
from attention.kernels import Projections
from liegroups import (
    SE2,
    SE3,
    T2,
    T3,
    Concat,
    Distance,
    InverseDistance,
    Lifted,
    PerHead,
    RelativePose,
)

HEADS, CHANNELS = 2, 5
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
FINEST = torch.float32 if DEVICE == "cuda" else torch.float64
# Of the largest entry: sums of a few hundred products, in half precision with rounded weights.
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 5e-5,
    torch.bfloat16: 2e-2,
    torch.float16: 4e-3,
}

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None or find_spec("triton.knobs") is None, reason="needs triton 3.4"
)
runs = pytest.mark.skipif(
    not (INTERPRETED or DEVICE == "cuda"), reason="needs a GPU or triton's interpreter"
)
DISTANCES = [Distance(), InverseDistance(0.3)]


class Case(NamedTuple):
    """Random clouds, of which one has no point, and all that an attention over them is given."""

    geometry: Geometry
    kernel: Kernel
    mask: Tensor | None
    points: tuple[Tensor, ...]
    content: tuple[Tensor, ...]
    values: Tensor

    def to(self, dtype):
        """The same numbers in another type, as leaves of a new graph."""

        def leaves(tensors):
            return tuple(t.detach().to(dtype).requires_grad_() for t in tensors)

        kernel = deepcopy(self.kernel).to(dtype)
        rest = leaves(self.points), leaves(self.content), *leaves([self.values])
        return Case(self.geometry, kernel, self.mask, *rest)

    @property
    def pairs(self):
        lifted = (Lifted(self.geometry.space.section(x), x) for x in self.points)
        return Pairs(self.geometry, DenseNeighborhood(self.mask), *lifted)

    def attend(self, backend, normalizer):
        arguments = self.kernel, normalizer, self.pairs
        assert BACKENDS[backend].limitation(*arguments) is None
        query, key = self.content[:1], self.content[1:]
        return BACKENDS[backend](*arguments, Projections(query, key), self.values)

    def derivatives(self, backend, normalizer):
        """The result and its gradients by everything."""
        received = self.attend(backend, normalizer)
        generator = torch.Generator().manual_seed(1)
        cotangent = torch.randn(received.shape, generator=generator).to(received)
        location = getattr(self.kernel, "location", None)
        by_location = [] if location is None else [*self.points, *location.parameters()]
        inputs = [self.values, *self.content, *by_location]
        return received, *torch.autograd.grad(received, inputs, cotangent)


def case(group, invariant, kernel=Sum, *, targets=13, sources=11, masked=True, dtype=FINEST):
    torch.manual_seed(0)
    batch, wide = 2, torch.promote_types(dtype, torch.float32)
    geometry = Geometry(group.default_space(), invariant)
    made = kernel(HEADS * CHANNELS, HEADS, geometry).to(DEVICE, wide)
    mask = torch.rand(batch, 1, sources) > 0.3
    mask[1] = False

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64).to(DEVICE)

    points = tuple(draw(batch, n, geometry.space.point_dim).to(wide) for n in (targets, sources))
    content = tuple(draw(HEADS, batch, n, CHANNELS).to(dtype) for n in (targets, sources))
    values = draw(HEADS, batch, sources, CHANNELS).to(dtype)
    content = () if isinstance(made, LocationOnly) else content
    for x in (*points, *content, values):
        x.requires_grad_()
    return Case(geometry, made, mask.to(DEVICE) if masked else None, points, content, values)


def assert_agrees(problem, normalizer):
    tolerance = TOLERANCE[problem.values.dtype]
    expected = problem.to(torch.float64).derivatives("reference", normalizer)
    for found, right in zip(problem.derivatives("triton", normalizer), expected, strict=True):
        size = max(1, right.abs().max().item())
        torch.testing.assert_close(found.double(), right, rtol=0, atol=tolerance * size)


@runs
@pytest.mark.parametrize(
    ("group", "invariant", "kernel"),
    [
        (T3(), RelativePose(), Sum),
        (SE3(), PerHead(DISTANCES), Sum),
        (SE2(), Concat(DISTANCES), partial(Sum, location=partial(SharedLocationMLP, hidden=20))),
        (T2(), Concat([Distance(), RelativePose()]), partial(Sum, location=LinearLocation)),
        (SE3(), Distance(), LocationOnly),
        (T2(), RelativePose(), partial(LocationOnly, location=LinearLocation)),
        (SE3(), Distance(), ContentOnly),
    ],
    ids=["pose", "per head", "shared", "linear", "location", "linear location", "content"],
)
@pytest.mark.parametrize("normalizer", [Softmax(), Count()], ids=["softmax", "count"])
def test_agrees_with_the_reference(group, invariant, kernel, normalizer):
    assert_agrees(case(group, invariant, kernel), normalizer)


@runs
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "whole"])
def test_over_several_blocks(masked):
    assert_agrees(case(SE3(), Distance(), targets=17, sources=19, masked=masked), Softmax())


@runs
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_in_lower_precision(dtype):
    assert_agrees(case(T3(), RelativePose(), dtype=dtype), Softmax())


@runs
def test_second_derivatives():
    """Of a network with forces; its queries and keys see the points, too."""
    torch.manual_seed(0)
    made = partial(
        LieTransformer,
        *(T3(), 4, 1),
        invariant=Concat([RelativePose(), Distance()]),
        kernel=partial(Sum, content=Rotary),
        width=8,
        heads=2,
        layers=1,
    )
    features, points = torch.randn(2, 5, 4), torch.randn(2, 5, 3)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2], device=DEVICE)
    networks = [made(backend=backend).to(DEVICE, FINEST) for backend in ("reference", "triton")]
    networks[1].load_state_dict(networks[0].state_dict())
    found = []
    for network in networks:
        x = points.to(DEVICE, FINEST).requires_grad_()
        energy = network(features.to(DEVICE, FINEST), x, mask).sum()
        (force,) = torch.autograd.grad(energy, x, create_graph=True)
        parameters = [p for p in network.parameters() if p.requires_grad]
        loss = energy + force.square().sum()
        found.append((force, *torch.autograd.grad(loss, [x, *parameters], allow_unused=True)))
    for right, gradient in zip(*found, strict=True):
        torch.testing.assert_close(gradient, right, rtol=0, atol=100 * TOLERANCE[FINEST])


@runs
def test_is_chosen_for_large_clouds_on_a_gpu():
    problem = case(SE3(), Distance())
    size = 2**13
    points = torch.zeros(1, size, 3, device=DEVICE)
    lifted = Lifted(torch.eye(4, device=DEVICE), points)
    pairs = Pairs(problem.geometry, DenseNeighborhood(), lifted)
    values = SimpleNamespace(shape=(HEADS, 1, size, CHANNELS), is_cuda=True, element_size=lambda: 4)
    chosen = choose_backend("auto", problem.kernel, Softmax(), pairs, values)
    assert chosen is BACKENDS["triton"]


@pytest.mark.parametrize(
    ("kernel", "normalizer", "invariant", "neighborhood", "reason"),
    [
        (Product, Softmax(), Distance(), DenseNeighborhood(), "got Product"),
        (
            partial(Sum, location=NormLocation),
            Softmax(),
            Distance(),
            DenseNeighborhood(),
            "got NormLocation",
        ),
        (
            partial(Sum, location=partial(LocationMLP, hidden=65)),
            Softmax(),
            Distance(),
            DenseNeighborhood(),
            "at most 64 hidden units; got 65",
        ),
        (Sum, Exponential(), Distance(), DenseNeighborhood(), "got Exponential"),
        (Sum, Softmax(), RelativePose(), DenseNeighborhood(), "got RelativePose"),
        (
            Sum,
            Softmax(),
            Distance(),
            DenseNeighborhood(torch.ones(2, 13, 11, dtype=torch.bool)),
            "every point of a cloud",
        ),
    ],
    ids=["kernel", "location", "hidden", "normalizer", "invariant", "neighborhood"],
)
def test_says_what_it_cannot(kernel, normalizer, invariant, neighborhood, reason):
    problem = case(SE3(), invariant, kernel)
    pairs = Pairs(problem.geometry, neighborhood, problem.pairs.target, problem.pairs.source)
    with pytest.raises(ValueError, match=f"backend 'triton' .*{reason}"):
        choose_backend("triton", problem.kernel, normalizer, pairs, problem.values)


@pytest.mark.skipif(INTERPRETED or DEVICE == "cuda", reason="has a place to run")
def test_says_that_it_has_no_place_to_run():
    problem = case(SE3(), Distance())
    with pytest.raises(ValueError, match="needs tensors on a GPU, or TRITON_INTERPRET=1"):
        choose_backend("triton", problem.kernel, Softmax(), problem.pairs, problem.values)


@pytest.mark.skipif(INTERPRETED or DEVICE == "cuda", reason="the kernels run")
@pytest.mark.parametrize(
    ("capability", "dtype"),
    [
        (90, torch.bfloat16),
        pytest.param(80, torch.bfloat16, marks=pytest.mark.slow),
        pytest.param(90, torch.float32, marks=pytest.mark.slow),
    ],
)
def test_compiles_without_a_gpu(monkeypatch, capability, dtype):
    """The compiler takes what the backend gives it; nothing is launched."""
    import triton
    from triton.backends.compiler import GPUTarget

    compiled = []

    def compile_only(kernel, grid):
        return lambda *args, **options: compiled.append(
            kernel.warmup(*args, grid=grid, **options).asm["ptx"]
        )

    offline = SimpleNamespace(
        get_current_device=lambda: (capability, dtype),
        get_current_stream=lambda device: 0,
        get_current_target=lambda: GPUTarget("cuda", capability, 32),
        get_active_torch_device=lambda: torch.device("cpu"),
    )
    monkeypatch.setattr(triton.JITFunction, "__getitem__", compile_only)
    monkeypatch.setattr(triton.runtime.driver, "_active", offline)
    problem = case(SE3(), PerHead(DISTANCES), dtype=dtype)
    query, key = problem.content
    received = BACKENDS["triton"](
        problem.kernel, Softmax(), problem.pairs, Projections((query,), (key,)), problem.values
    )
    received.sum().backward()
    assert len(compiled) == 3
    assert all(f".target sm_{capability}" in ptx for ptx in compiled)


@pytest.mark.skipif(INTERPRETED or DEVICE == "cuda", reason="the tests above have run")
def test_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
