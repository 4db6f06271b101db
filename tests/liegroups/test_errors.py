"""What the user reads after a mistake."""

import pytest
import torch

from liegroups import SE3, SO3, T3, GeneralLinear, LieGroup, Translation
from liegroups.testing import (
    GROUP_LAWS,
    commutation_error,
    equivariance_error,
    homogeneous_space_suite,
    invariant_suite,
    lie_group_suite,
)


@pytest.mark.parametrize("name", ["log", "inverse", "vee", "adjoint", "contains", "project"])
def test_wrong_matrices(name):
    message = r"SE3\(\) takes elements of shape \(\*batch, 4, 4\); got \(2, 3, 3\)"
    with pytest.raises(ValueError, match=message):
        getattr(SE3(), name)(torch.zeros(2, 3, 3))


@pytest.mark.parametrize("name", ["exp", "hat"])
def test_wrong_coordinates(name):
    message = (
        r"SE3\(\) takes algebra coordinates of shape \(\*batch, 6\), in the order "
        r"\('x', 'y', 'z', 'rx', 'ry', 'rz'\); got \(2, 3\)"
    )
    with pytest.raises(ValueError, match=message):
        getattr(SE3(), name)(torch.zeros(2, 3))


def test_scalars_are_refused():
    with pytest.raises(ValueError, match=r"got \(\)"):
        SO3().exp(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"got \(\)"):
        SO3().log(torch.tensor(1.0))


def test_matrices_that_are_singular_once_rounded():
    group = GeneralLinear(2)
    g = torch.tensor([[1.0, 1.0], [1.0, 1.0 + 1e-9]], dtype=torch.float64).expand(3, 2, 2)
    assert group.inverse(g).isfinite().all()
    message = r"takes invertible matrices; of those of shape \(3, 2, 2\) one is singular in torch.f"
    with pytest.raises(ValueError, match=message):
        group.inverse(g.float())


@pytest.mark.parametrize("n", [0, -1])
def test_dimension_of_translations(n):
    with pytest.raises(ValueError, match=f"Translation.n: {n}; accepted: 1 to 100"):
        Translation(n)


def test_a_group_without_a_default_space_says_what_to_do():
    from liegroups import SL2

    with pytest.raises(NotImplementedError, match="override default_space, or give a space"):
        SL2().default_space()


def test_an_incomplete_group_cannot_be_made():
    class Incomplete(LieGroup):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Incomplete()


def test_unknown_laws_cannot_be_skipped():
    with pytest.raises(ValueError, match="no law 'log_is_nice' to skip; the laws are"):
        lie_group_suite(SO3(), skip={"log_is_nice": "because"})
    with pytest.raises(ValueError, match="needs a reason"):
        homogeneous_space_suite(SO3().default_space(), skip={"space_is_a_value": "  "})
    from liegroups import Distance

    with pytest.raises(ValueError, match="no law"):
        invariant_suite(Distance(), T3().default_space(), skip={GROUP_LAWS[0].__name__: "why"})


def test_measuring_what_cannot_be_measured():
    x = torch.randn(5, 3)
    with pytest.raises(ValueError, match=r"shape \(5, 3\), but .* has shape \(3, 5\)"):
        commutation_error(lambda x: x, lambda x: x, lambda y: y.mT, x)
    with pytest.raises(ValueError, match="is not finite"):
        commutation_error(lambda x: x / 0, lambda x: x, lambda y: y, x)
    with pytest.raises(ValueError, match="count of at least 1"):
        equivariance_error(lambda x: x, SE3(), x, elements=torch.zeros(0, 4, 4))
