"""Steerable networks by the laws of the testing kit."""

from functools import partial

import pytest

from attention import AllPairs, Filtered, Linear, Nearest, Radius, RandomNearest, Softmax, Sum
from attention.steerable import ChannelwiseTransformer, HarmonicTransformer, SteerableTransformer
from attention.testing import network_suite
from liegroups import SE3, Distance, E, InverseDistance, RadialBasis


def suite(make, skip=None):
    made = network_suite(make, skip=skip)
    made.test_it_compiles = pytest.mark.slow(made.test_it_compiles)
    return made


def steerable(irreps_in, irreps_out, group=SE3(), skip=None, **settings):  # noqa: B008
    settings = {"types": [0, 1], "channels": 2, "layers": 2, "heads": 2, **settings}
    return suite(lambda: SteerableTransformer(irreps_in, irreps_out, group=group, **settings), skip)


def channelwise(**settings):
    settings = {"max_degree": 1, "channels": 4, "layers": 2, "heads": 2, **settings}
    return suite(lambda: ChannelwiseTransformer(3, 2, **settings))


def harmonic(**settings):
    settings = {"channels": 8, "layers": 2, "invariant": RadialBasis(3.0), **settings}
    return suite(lambda: HarmonicTransformer(3, 2, **settings))


OTHERS = AllPairs(loops=False)
ALL = {"norm": True, "gate": True, "residual": True}

TestPooled = steerable("2x0e", "1x0e", pooling="sum", neighborhood=OTHERS)
TestVectors = steerable("2x0e + 1x1o", "1x0e + 1x1o", neighborhood=Nearest(3, loops=False))
TestReflectedVectors = steerable(
    "2x0e + 1x1o + 1x1e", "1x1o", E(3), neighborhood=Radius(3.0, loops=False)
)
TestRandomNeighbors = steerable(
    "2x0e", "1x0e", E(3), pooling="mean", neighborhood=RandomNearest(2, of=4, loops=False)
)
TestHarmonic = harmonic(pooling="softmax")
TestHarmonicAttention = harmonic(
    kernel=partial(Filtered, kernel=Sum),
    normalizer=Softmax(),
    heads=2,
    invariant=[Distance(), RadialBasis(3.0)],
)
TestHarmonicWithRadius = harmonic(
    max_degree=2, pooling="sum", neighborhood=Radius(2.0, loops=False)
)
TestHarmonicOfNearest = harmonic(neighborhood=Nearest(3, loops=False), pooling="mean")
TestHarmonicVectors = harmonic(output="vectors", neighborhood=Radius(2.0, loops=False))
TestHarmonicVectorsOfClouds = harmonic(output="vectors", max_degree=2, pooling="sum")
TestWithoutHarmonics = harmonic(max_degree=0)
TestChannelwise = channelwise(invariant=Distance(), neighborhood=OTHERS)
TestChannelwiseBounded = channelwise(
    invariant=Distance(), neighborhood=OTHERS, bounded=True, by_kind=True
)
TestChannelwiseOfBothParities = channelwise(
    invariant=Distance(), neighborhood=OTHERS, layers=3, parities="both", pooling="sum"
)
TestChannelwiseConvolution = channelwise(
    invariant=RadialBasis(3.0), neighborhood=OTHERS, attention=False, normalizer=Linear()
)
TestChannelwiseWithRadius = channelwise(
    invariant=Distance(), neighborhood=Radius(2.0, cutoff=None, loops=False), pooling="mean"
)


@pytest.mark.slow
class TestReflectedAndPooled(
    steerable("1x0e + 1x1o", "1x0e + 1x1o", E(3), pooling="mean", neighborhood=OTHERS, **ALL)
):
    pass


@pytest.mark.slow
class TestTensors(
    steerable(
        "2x0e + 1x1o",
        "1x0e + 1x1o + 1x2e",
        types=[0, 1, 2],
        invariant=[Distance(), InverseDistance()],
        stacks=2,
        neighborhood=Radius(3.0, loops=False, layout="dense"),
        **ALL,
    )
):
    pass


E3NN = "the code that e3nn makes has constants in single precision, which a trace keeps"
TestByE3nn = steerable(
    "2x0e + 1x1o",
    "1x1o",
    product="e3nn",
    neighborhood=OTHERS,
    skip={"it_compiles": E3NN, "it_exports": E3NN},
)


@pytest.mark.slow
class TestChannelwiseTensors(
    channelwise(
        invariant=[RadialBasis(5.0), InverseDistance()],
        max_degree=2,
        layers=3,
        neighborhood=Nearest(3),
        pooling="sum",
    )
):
    pass
