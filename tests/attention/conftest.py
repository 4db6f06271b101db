import pytest
import torch

from liegroups import SE2, SE3, SO2, SO3, T2, T3

GROUPS = [T2(), T3(), SO2(), SO3(), SE2(), SE3()]


@pytest.fixture(params=GROUPS, ids=lambda group: type(group).__name__)
def group(request):
    return request.param


@pytest.fixture
def clouds(group):
    """Features, points and mask of two clouds; the second has two points of padding."""
    generator = torch.Generator().manual_seed(0)
    dim = group.default_space().point_dim
    features = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    points = torch.randn(2, 5, dim, generator=generator, dtype=torch.float64)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    return features, points, mask
