"""Every kernel with every normalizer, layout and backend, by the laws of the testing kit."""

from functools import partial
from itertools import product

import pytest

from attention import (
    AllPairs,
    BasisPerceptron,
    ConcatenatedLinear,
    ContentOnly,
    ConvNextBlock,
    Convolution,
    Count,
    Exponential,
    Filtered,
    FilterMLP,
    FrameRotary,
    FrameVectorHead,
    GroupConvolutionBlock,
    InvariantHead,
    Joint,
    LieTransformer,
    Linear,
    LinearLocation,
    LocationOnly,
    Nearest,
    NormLocation,
    PointHead,
    Product,
    Radius,
    RandomNearest,
    RelativePosition,
    RelativeVectorHead,
    Rotary,
    SeparableBlock,
    SharedLocationMLP,
    Sigmoid,
    Softmax,
    Sum,
)
from attention.testing import network_suite
from liegroups import (
    SE2,
    SE3,
    SO3,
    T3,
    AlgebraNorm,
    Bessel,
    Distance,
    E,
    FrameBasis,
    Frames,
    FullOrbit,
    Grid,
    Haar,
    InverseDistance,
    LiftedPositionOrientation,
    OctahedralGroup,
    PoseDistance,
    RadialBasis,
    RelativeMatrix,
    RelativePose,
    Sim,
    TetrahedralGroup,
    Trivial,
)

KERNELS = {
    "sum": (Sum, Distance()),
    "shared": (partial(Sum, location=SharedLocationMLP), RadialBasis(3.0)),
    "additive": (
        partial(Sum, content=partial(ConcatenatedLinear, hidden=4), location=LinearLocation),
        [Distance(), InverseDistance()],
    ),
    "product": (Product, Distance()),
    "joint": (partial(Joint, content=ConcatenatedLinear), InverseDistance()),
    "content": (ContentOnly, Distance()),
    "location": (LocationOnly, RelativePose()),
    "norm": (partial(LocationOnly, location=NormLocation), AlgebraNorm()),
    "position": (RelativePosition, RelativePose()),
    "rotary": (partial(ContentOnly, content=Rotary), RelativePose()),
    "rotary_sum": (partial(Sum, content=Rotary), Distance()),
    "convolution": (Convolution, RadialBasis(3.0)),
    "perceptron_filter": (partial(Convolution, filter=FilterMLP), RelativePose()),
    "filtered": (partial(Filtered, kernel=Product), [Distance(), RadialBasis(3.0)]),
}
NORMALIZERS = {
    "softmax": Softmax(),
    "count": Count(),
    "exponential": Exponential(),
    "linear": Linear(),
    "sigmoid": Sigmoid(),
}
LAYOUTS = {
    "all": AllPairs(),
    "others": AllPairs(loops=False),
    "radius": Radius(2.0),
    "radius_dense": Radius(2.0, layout="dense"),
    "nearest": Nearest(3),
    "nearest_dense": Nearest(3, layout="dense"),
    "random": RandomNearest(2, of=4),
}
# Each kernel once, with each normalizer and each layout somewhere.
QUICK = {
    (kernel, list(NORMALIZERS)[i % 5], list(LAYOUTS)[i % 7]) for i, kernel in enumerate(KERNELS)
}


def suite(group=T3(), **settings):  # noqa: B008
    settings = {"width": 16, "heads": 2, "layers": 1, **settings}
    return network_suite(lambda: LieTransformer(group, 3, 2, **settings))


for kernel, normalizer, layout in product(KERNELS, NORMALIZERS, LAYOUTS):
    make, invariant = KERNELS[kernel]
    cls = suite(
        kernel=make,
        invariant=invariant,
        normalizer=NORMALIZERS[normalizer],
        neighborhood=LAYOUTS[layout],
    )
    if (kernel, normalizer, layout) not in QUICK:
        cls = pytest.mark.slow(cls)
    globals()[f"Test_{kernel}_{normalizer}_{layout}"] = cls

TestReference = suite(backend="reference")
TestStreaming = suite(backend="streaming")
TestStreamingWithCutoff = suite(backend="streaming", neighborhood=Radius(2.0, layout="dense"))
TestFilteredStreaming = suite(
    kernel=partial(Filtered, kernel=Sum), invariant=RadialBasis(3.0), backend="streaming"
)
TestFused = suite(kernel=ContentOnly, backend="fused")
TestFusedWithBias = suite(backend="fused")
TestLinearTime = suite(kernel=KERNELS["rotary"][0], normalizer=Linear(), backend="linear")

TestHaar = suite(SE3(), lift=Haar(2))
TestHaarWithPoseNeighbors = suite(SE3(), lift=Haar(2), neighborhood=Nearest(3, PoseDistance()))
TestHaarOnSpheres = suite(SO3(), lift=Haar(2))
TestFiniteSubgroup = suite(
    SE3(), lift=FullOrbit(OctahedralGroup()), width=8, invariant=RelativeMatrix()
)
TestOrientations = suite(
    SE3(), lift=Grid(3), invariant=LiftedPositionOrientation(), kernel=LocationOnly
)
TestGridOfThePlane = suite(SE2(), lift=Grid(3))
TestFrames = suite(SE3(), lift=Frames())
TestReflections = suite(E(3), lift=Frames(), invariant=RelativeMatrix())
TestScalings = suite(Sim(2), lift=Frames())
TestTrivial = suite(Trivial(3), kernel=ContentOnly)
TestRotaryOfRigidMotions = suite(SE3(), lift=Frames(), kernel=KERNELS["rotary"][0])
TestRotaryOfScalings = suite(Sim(2), lift=Frames(), kernel=KERNELS["rotary"][0])
TestNearestWithLifts = suite(SE3(), lift=Haar(2), neighborhood=Nearest(3))

TestSeparableHaar = suite(SE3(), lift=Haar(2), block=SeparableBlock)
TestSeparableSubgroup = suite(
    SE3(),
    lift=FullOrbit(TetrahedralGroup()),
    width=8,
    invariant=RelativeMatrix(),
    block=SeparableBlock,
)
TestSeparableGrid = suite(SE2(), lift=Grid(3), block=SeparableBlock, neighborhood=Radius(2.0))
TestSeparableOrientations = suite(
    SE3(),
    lift=Grid(3),
    invariant=LiftedPositionOrientation(),
    kernel=partial(Convolution, filter=FilterMLP),
    block=SeparableBlock,
)
TestSeparableVectors = suite(SE3(), lift=Haar(2), head=FrameVectorHead, block=SeparableBlock)
TestGroupConvolution = suite(
    SE3(),
    lift=FullOrbit(TetrahedralGroup()),
    width=8,
    invariant=FrameBasis(3.0, Bessel(3)),
    kernel=Convolution,
    normalizer=Linear(),
    block=GroupConvolutionBlock,
    neighborhood=AllPairs(loops=False),
)
TestGroupConvolutionOfThePlane = suite(SE2(), lift=Grid(4), width=8, block=GroupConvolutionBlock)
TestFrameRotary = suite(
    SE3(),
    lift=FullOrbit(TetrahedralGroup()),
    width=8,
    kernel=partial(ContentOnly, content=partial(FrameRotary, length=2.0)),
    block=GroupConvolutionBlock,
)
TestFrameRotaryWithoutKeys = suite(
    SE2(),
    lift=Grid(4),
    kernel=partial(ContentOnly, content=partial(FrameRotary, keys=False)),
    normalizer=Linear(),
    block=SeparableBlock,
)
TestConvNext = suite(
    SE3(),
    lift=Grid(3),
    invariant=LiftedPositionOrientation(),
    kernel=Convolution,
    block=partial(ConvNextBlock, scale=0.5),
    basis=partial(BasisPerceptron, features=4, hidden=8),
    neighborhood=Radius(2.0),
)
TestConvNextOfDrawnLifts = suite(
    SE3(), lift=Haar(2), kernel=partial(Convolution, filter=FilterMLP), block=ConvNextBlock
)
TestBasis = suite(
    SE3(), invariant=Distance(), basis=partial(BasisPerceptron, features=4, hidden=8, degree=2)
)
TestFrameBasis = suite(
    SE3(),
    lift=Frames(),
    invariant=FrameBasis(3.0, Bessel(3), max_degree=2),
    kernel=Convolution,
    neighborhood=AllPairs(loops=False),
)
TestSeparableWithOneLift = suite(SE3(), invariant=Distance(), block=SeparableBlock)

TestSums = suite(SE3(), invariant=Distance(), head=partial(InvariantHead, pooling="sum"))
TestSoftmaxes = suite(SE3(), invariant=Distance(), pooling="softmax")
TestSoftmaxesOfLifts = suite(SE3(), lift=Haar(2), pooling="softmax")
TestPoints = suite(SE3(), invariant=Distance(), head=PointHead)
TestRelativeVectors = suite(SE3(), invariant=Distance(), head=partial(RelativeVectorHead, heads=2))
TestRelativeVectorsOfLifts = suite(
    SE3(), lift=Haar(2), head=partial(RelativeVectorHead, heads=2), neighborhood=Nearest(3)
)
TestFrameVectors = suite(SE3(), lift=Frames(), head=FrameVectorHead)
TestHaarVectors = suite(SE3(), lift=Haar(2), head=FrameVectorHead)
