"""Muon against the polar factor of a singular value decomposition, and AdamW for the rest."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from attention import LieTransformer
from liegroups import SE3, Distance
from tasks.training.muon import Muon, hidden_matrices, orthogonalized


def polar(x):
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    return u @ v


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 32, 96), (2, 96, 32), (1, 40, 41)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    found = orthogonalized(x)
    u, _, v = torch.linalg.svd(x, full_matrices=False)
    inner = u.mT @ found @ v.mT
    diagonal = inner.diagonal(dim1=-2, dim2=-1)
    assert (diagonal > 0.4).all() and (diagonal < 1.3).all()
    assert (inner - torch.diag_embed(diagonal)).abs().max() < 1e-10
    assert (orthogonalized(1e-6 * x) - found).abs().max() < 1e-9  # The size does not matter.
    assert torch.equal(orthogonalized(torch.zeros(shape)), torch.zeros(shape))


def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 64),
        nn.SiLU(),
        nn.Linear(64, 32),
        nn.SiLU(),
        nn.Linear(32, 32),
        nn.Linear(32, 1),
    )


def train(module, optimizer, steps):
    torch.manual_seed(1)
    x = torch.randn(64, 3)
    for _ in range(steps):
        optimizer.zero_grad()
        (module(x)[:, 0] - x.square().sum(1)).square().mean().backward()
        optimizer.step()


def test_matrices_of_hidden_layers_alone():
    module = model()
    assert [id(w) for w in hidden_matrices(module)] == [id(module[2].weight), id(module[4].weight)]
    network = LieTransformer(SE3(), 5, 1, invariant=Distance(), width=32, layers=1)
    found = {id(w) for w in hidden_matrices(network)}
    assert id(network.embedding.weight) not in found
    assert id(network.head.pooled[-1].weight) not in found
    assert id(network.blocks[0].attention.value.weight) in found
    assert not hidden_matrices(nn.Embedding(100, 64))


def test_other_weights_move_as_by_adamw():
    module, other = model(), model()
    train(module, Muon(module, lr=1e-2, weight_decay=0.1), 1)
    train(other, torch.optim.AdamW(other.parameters(), lr=1e-2, weight_decay=0.1), 1)
    matrices = {id(w) for w in hidden_matrices(module)}
    for weight, expected in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, expected) == (id(weight) not in matrices)


def test_a_step_is_along_the_polar_factor_at_the_size_of_one_of_adamw():
    module = model()
    optimizer = Muon(module, lr=1e-2, weight_decay=0.5)
    before = {id(w): w.detach().clone() for w in hidden_matrices(module)}
    for weight in module.parameters():
        weight.grad = torch.randn_like(weight)
    optimizer.step()
    for weight in hidden_matrices(module):
        step = weight.detach() - before[id(weight)] * (1 - 1e-2 * 0.5)
        assert 0.6 * 0.2 * 1e-2 < float(step.square().mean().sqrt()) < 1.2 * 0.2 * 1e-2
        direction = polar(weight.grad)
        assert -(step * direction).sum() / step.norm() / direction.norm() > 0.95


def test_goes_on_bit_for_bit():
    module = model()
    optimizer = Muon(module, lr=1e-2, fused=True)
    train(module, optimizer, 5)
    other = deepcopy(module)
    resumed = Muon(other, lr=1e-2, fused=True)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    train(module, optimizer, 5)
    train(other, resumed, 5)
    for weight, expected in zip(other.parameters(), module.parameters(), strict=True):
        assert torch.equal(weight, expected)


def test_a_closure_is_called_with_gradients():
    module = model()
    optimizer, calls = Muon(module, lr=1e-2), []

    def closure():
        optimizer.zero_grad()
        loss = module(torch.ones(2, 3)).square().mean()
        loss.backward()
        calls.append(loss)
        return loss

    assert optimizer.step(closure) is calls[0]
    assert len(calls) == 1
    assert all(w.grad is not None for w in module.parameters())


def test_weights_without_gradients_stay():
    module = model()
    module[2].weight.requires_grad_(False)
    kept = module[2].weight.detach().clone()
    train(module, Muon(module, lr=1e-2), 2)
    assert torch.equal(module[2].weight, kept)
    only = nn.Linear(3, 1)
    assert len(Muon(only, lr=1e-2).param_groups) == 1
