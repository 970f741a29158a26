"""Networks' gradients on the CPU are PyTorch's, also where other code computes them."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad, grad
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from search_space import PUBLISHED, Network
from search_space.kernels.fast_gradients import fast_gradients
from search_space.network import network

CELLS = ("DARTS_V2", "NASNet", "RACL")
SIZES = {"channels": 8, "layers": 3, "num_classes": 5}


def made(cell="RACL", dtype=torch.float64):
    torch.manual_seed(0)
    return Network(PUBLISHED[cell].genotype, **SIZES).to(dtype)


def batch(dtype=torch.float64, size=16):
    torch.manual_seed(1)
    return torch.rand(6, 3, size, size, dtype=dtype), torch.arange(6) % 5


@pytest.fixture
def plainly(monkeypatch):
    """A function called without the faster gradients."""

    def call(function):
        with monkeypatch.context() as patch:
            patch.setattr(network, "fast_gradients", nullcontext)
            return function()

    return call


def names_of_graph(output):
    """Of all functions that a gradient will go through."""
    names, waiting = set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in names:
            names.add(node)
            waiting += [following for following, _ in node.next_functions]
    return {node.name() for node in names}


@pytest.mark.parametrize("size", [16, 13])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("mode", ["training", "attacked"])
def test_logits_and_gradients_are_those_of_torch_nn(cell, mode, size, plainly):
    model = made(cell).train(mode == "training").requires_grad_(mode == "training")
    images, labels = batch(size=size)

    def found():
        inputs = images.clone().requires_grad_()
        loss = F.cross_entropy(model(inputs), labels)
        return loss, *grad(loss, [inputs, *(p for p in model.parameters() if p.requires_grad)])

    ours, theirs = found(), plainly(found)
    assert len(ours) == (2 if mode == "attacked" else 2 + len(list(model.parameters())))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_running_statistics_move_as_those_of_torch_nn(plainly):
    images, _ = batch()
    ours, theirs = made(), made()
    ours(images)
    plainly(lambda: theirs(images))
    for one, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_second_derivatives_are_those_of_torch_nn(plainly):
    model = made().eval().requires_grad_(False)
    images, labels = batch()
    along = torch.randn_like(images)

    def product():
        inputs = images.clone().requires_grad_()
        (slope,) = grad(F.cross_entropy(model(inputs), labels), inputs, create_graph=True)
        return grad(slope, inputs, along)[0]

    ours = product()
    assert ours.norm() > 0
    torch.testing.assert_close(ours, plainly(product), rtol=1e-8, atol=1e-12)


def test_float32_gradients_are_as_exact_as_those_of_torch_nn(plainly):
    exact, single = made().eval().requires_grad_(False), made(dtype=torch.float32).eval().requires_grad_(False)

    def slope(model, dtype):
        images, labels = batch(dtype)
        images.requires_grad_()
        return grad(F.cross_entropy(model(images), labels), images)[0]

    expected = plainly(lambda: slope(exact, torch.float64))
    ours, theirs = slope(single, torch.float32), plainly(lambda: slope(single, torch.float32))
    errors = [((found - expected).norm() / expected.norm()).item() for found in (ours, theirs)]
    assert errors[0] < max(2 * errors[1], 1e-6)


def test_the_faster_functions_are_taken_where_gradients_are_wanted_and_nowhere_else(plainly):
    model = made().eval().requires_grad_(False)
    images, _ = batch()
    inputs = images.clone().requires_grad_()
    assert "_DepthwiseBackward" in names_of_graph(model(inputs))
    assert "NativeBatchNormBackward0" not in names_of_graph(model(inputs))
    assert "_DepthwiseBackward" not in names_of_graph(plainly(lambda: model(inputs)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = names_of_graph(made(dtype=torch.float32)(inputs.float()))
    assert "_DepthwiseBackward" not in autocast
    with torch.no_grad():
        torch.testing.assert_close(model(images), plainly(lambda: model(images)), rtol=0, atol=0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=True),
        nn.Conv2d(8, 8, 3, padding=1, groups=4, bias=False),
        nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 8, 3, padding=0, groups=8, bias=False),
        nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False),
        nn.Conv2d(8, 8, 4, padding=2, groups=8, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, stride=3, groups=8, bias=False),
        nn.Conv2d(8, 8, 3, padding=(1, 2), dilation=(1, 2), groups=8, bias=False),
        nn.Conv2d(8, 8, (1, 3), padding=(0, 1), groups=8, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect", groups=8, bias=False),
        nn.BatchNorm2d(8, affine=False),
        nn.BatchNorm2d(8, track_running_stats=False),
        nn.BatchNorm2d(8, momentum=None),
        nn.BatchNorm2d(8, eps=0.5),
        nn.BatchNorm2d(8).eval(),
        nn.BatchNorm2d(8, affine=False).eval(),
    ],
    ids=str,
)
def test_any_layer_of_torch_nn_gives_what_it_gives_without(layer):
    torch.manual_seed(0)
    images = torch.randn(2, 8, 9, 9).to(memory_format=torch.channels_last).requires_grad_()
    expected = layer(images)
    with fast_gradients():
        found = layer(images)
    slope = torch.randn_like(expected)
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        grad(found, [images, *layer.parameters()], slope),
        grad(expected, [images, *layer.parameters()], slope),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_networks_can_be_transformed_by_torch_func():
    model, (images, labels) = made(), batch()
    weights, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    model.eval()

    def loss(weights):
        return F.cross_entropy(functional_call(model, (weights, buffers), (images,)), labels)

    by_transform = torch.func.grad(loss)(weights)
    expected = grad(loss(weights), list(weights.values()))
    for one, other in zip(by_transform.values(), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_operations_are_counted_as_before(plainly):
    model, (images, _) = made(), batch()

    def operations():
        with FlopCounterMode(display=False) as counter:
            model(images).sum()
        return counter.get_total_flops()

    assert operations() == plainly(operations) > 0


def test_weights_keep_torchs_layout_and_features_take_the_faster_one():
    model, (images, _) = made(), batch()
    assert all(weight.is_contiguous() for weight in model.parameters())
    assert model._cell_outputs(images)[0].is_contiguous(memory_format=torch.channels_last)


def test_batches_of_backward_passes_are_those_of_torch_nn(plainly):
    model, (images, _) = made().eval(), batch()

    def jacobian():
        return torch.autograd.functional.jacobian(model, images[:2], vectorize=True)

    torch.testing.assert_close(jacobian(), plainly(jacobian), rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # of decompositions in torch itself
def test_forward_mode_goes_through(plainly):
    model, (images, _) = made().eval(), batch()

    def directional():
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(model(forward_ad.make_dual(images, images))).tangent

    torch.testing.assert_close(directional(), plainly(directional))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_networks_can_be_traced_by_torch_jit():
    model, (images, _) = made().eval(), batch()
    traced = torch.jit.trace(model, images)
    torch.testing.assert_close(traced(images), model(images))


def test_names_of_arguments_are_those_of_torch():
    images = torch.randn(2, 8, 9, 9).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(8, 1, 3, 3)
    with fast_gradients():
        found = F.conv2d(input=images, weight=weight, padding=1, groups=8)
    assert found.grad_fn.name() == "_DepthwiseBackward"
    torch.testing.assert_close(found, F.conv2d(images, weight, padding=1, groups=8))


def test_a_norm_of_other_channels_is_refused_as_by_torch():
    norm = nn.BatchNorm2d(8).eval().requires_grad_(False)
    with fast_gradients(), pytest.raises(RuntimeError, match="running_mean"):
        norm(torch.randn(2, 1, 9, 9, requires_grad=True))
