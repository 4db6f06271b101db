"""Maps over slices against the same maps on everything at once."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from attention.backends.slices import map_slices, map_slices_checkpointed

AXES, OUTPUT_AXES = (0, 1), (1,)


def attend(own, shared):
    """An attention with a loss: one output of rows, and one sum over all rows."""
    (query, bias), (key, value) = own, shared
    weights = (query @ key.T + bias.T).softmax(-1)
    received = weights @ value
    return (received.T,), (received.square().sum(0),)


def inputs(rows=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = [(rows, 3), (4, rows), (4, 3), (4, 2)]
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


def sliced(*tensors, size=2, by=map_slices):
    outputs, sums = by(
        attend, tensors[:2], tensors[2:], axes=AXES, output_axes=OUTPUT_AXES, size=size
    )
    return (*outputs, *sums)


def whole(*tensors):
    outputs, sums = attend(tensors[:2], tensors[2:])
    return (*outputs, *sums)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("by", [map_slices, map_slices_checkpointed])
def test_the_same_value_for_every_size_of_slice(size, by):
    torch.testing.assert_close(sliced(*inputs(), size=size, by=by), whole(*inputs()))


@pytest.mark.parametrize("by", [map_slices, map_slices_checkpointed])
def test_first_and_second_derivatives(by):
    assert gradcheck(lambda *x: sliced(*x, by=by), inputs())
    assert gradgradcheck(lambda *x: sliced(*x, by=by), inputs())


def test_third_derivatives():
    def third(function):
        tensors = inputs()
        value = sum(x.sin().sum() for x in function(*tensors))
        for _ in range(3):
            gradients = torch.autograd.grad(value, tensors, create_graph=True)
            value = sum(g.square().sum() for g in gradients)
        return value

    torch.testing.assert_close(third(sliced), third(whole))


@pytest.mark.parametrize("frozen", range(4))
def test_inputs_that_need_no_gradient(frozen):
    def gradients(function):
        tensors = inputs()
        tensors[frozen] = tensors[frozen].detach()
        asked = [x for x in tensors if x.requires_grad]
        first = torch.autograd.grad(
            sum(x.sin().sum() for x in function(*tensors)), asked, create_graph=True
        )
        return first, torch.autograd.grad(sum(g.square().sum() for g in first), asked)

    torch.testing.assert_close(gradients(sliced), gradients(whole))


@pytest.mark.parametrize("order", [1, 2])
def test_nothing_is_kept_but_the_inputs(order):
    """What autograd saves does not grow with the pairs: rows times keys would."""
    rows = 1000
    tensors, saved = inputs(rows), []

    def pack(tensor):
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = sliced(*tensors)[0].sin().sum()
        if order == 2:
            (gradient,) = torch.autograd.grad(value, tensors[:1], create_graph=True)
            gradient.square().sum()
    assert max(saved) <= 4 * rows  # The bias, an input, is the largest.
    assert sum(saved) < 60 * rows
