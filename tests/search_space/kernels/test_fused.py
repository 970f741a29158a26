"""The fused supernet is the plain one, to the rounding of float64, in value and in every gradient."""

import pytest
import torch
from plain_supernet import PlainSupernet, copy_weights, fused_order
from torch import nn
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional as F

from search_space import SearchSpace, Supernet
from search_space.kernels.batch_norm import normalise_batch
from search_space.kernels.depthwise import depthwise
from search_space.kernels.fused import normalised_relus, normalised_sum
from tests.support.slowly import slowly

OTHER_OPERATIONS = ("none", "skip_connect", "sep_conv_7x7", "conv_7x1_1x7", "dil_conv_3x3")


def pair(space, *, channels=4, layers=4, in_channels=3):
    torch.manual_seed(0)
    sizes = {"channels": channels, "layers": layers, "num_classes": 5, "in_channels": in_channels}
    plain = PlainSupernet(space, **sizes).double()
    fused = Supernet(space, **sizes).double().to(memory_format=torch.channels_last)
    with torch.no_grad():
        plain.alphas.normal_()
    copy_weights(plain, fused)
    return plain, fused


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("size", "channels"), [(8, 3), (9, 4), *slowly((13, 3), (13, 4), (8, 4), (9, 3))])
def test_logits_and_all_gradients_are_those_of_the_plain_supernet(size, channels):
    plain, fused = pair(SearchSpace(), channels=channels)
    images, labels = torch.rand(4, 3, size, size, dtype=torch.float64), torch.arange(4)
    found = {}
    for name, model in (("plain", plain), ("fused", fused)):
        inputs = images.clone().requires_grad_()
        loss = F.cross_entropy(model(inputs), labels)
        found[name] = loss, *grad(loss, [inputs, model.alphas, *model.weights()])
    for index in range(3):  # loss, images, alphas
        close(found["fused"][index], found["plain"][index])
    slopes = dict(zip([plain.alphas, *plain.weights()], found["plain"][2:], strict=True))
    joined = fused_order(plain, fused, slopes)
    for weight, slope in zip(fused.weights(), found["fused"][3:], strict=True):
        close(slope, joined[weight])


def test_hessian_vector_products_are_those_of_the_plain_supernet():
    plain, fused = pair(SearchSpace(nodes=2), channels=2, layers=3)
    images, labels = torch.rand(4, 3, 8, 8, dtype=torch.float64), torch.arange(4)
    vectors = {weight: torch.randn_like(weight) for weight in plain.weights()} | {
        plain.alphas: torch.zeros_like(plain.alphas)
    }
    joined = fused_order(plain, fused, vectors)
    products = []
    for model, along in ((plain, vectors), (fused, joined)):
        slopes = grad(F.cross_entropy(model(images), labels), model.weights(), create_graph=True)
        products.append(grad(slopes, model.alphas, [along[weight] for weight in model.weights()])[0])
    assert products[0].norm() > 0
    close(products[1], products[0])


def test_operations_without_a_fused_form_are_mixed_one_by_one():
    fused = Supernet(SearchSpace(nodes=2, operations=OTHER_OPERATIONS), channels=2, layers=3, in_channels=1)
    images = torch.rand(3, 1, 8, 8)
    before = fused(images)
    with torch.no_grad():
        for node in (node for cell in fused.cells for node in cell.nodes):
            for module in node.others["conv_7x1_1x7"]:
                module[1].weight.mul_(-1)
    assert not torch.allclose(fused(images), before)


def test_an_operation_of_probability_zero_does_not_count():
    space = SearchSpace()
    fused = Supernet(space, channels=2, layers=3, in_channels=1).double()
    images = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        fused.alphas[..., space.operations.index("sep_conv_5x5")] = -1e9
        before = fused(images)
        for node in (node for cell in fused.cells for node in cell.nodes):
            for parameter in node.separable["sep_conv_5x5"].parameters():
                parameter.add_(1.0)
        close(fused(images), before)


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [5, *slowly(6)])
def test_depthwise_convolution_and_its_two_derivatives_are_right(kernel, dilation, stride, size):
    torch.manual_seed(0)
    images = torch.randn(2, 2, size, size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)

    def ours(images, weight):
        return depthwise(images, weight, stride=stride, dilation=dilation)

    expected = F.conv2d(images, weight, None, stride, dilation * (kernel // 2), dilation, groups=2)
    torch.testing.assert_close(ours(images, weight), expected)
    assert gradcheck(ours, (images, weight))
    assert gradgradcheck(ours, (images, weight))


def batch_norm_of_convolution(images, weight):
    """By torch.nn: [N, groups * C, H, W], [groups, C, D] -> [N, groups * D, H, W]."""
    kernel = weight.transpose(1, 2).reshape(-1, weight.shape[1], 1, 1)
    convolved = F.conv2d(images, kernel, groups=len(weight))
    return nn.BatchNorm2d(len(kernel), affine=False, track_running_stats=False)(convolved)


def doubles(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def test_normalised_relus_are_convolution_batch_norm_and_relu_of_each():
    torch.manual_seed(0)
    images, weights = (doubles(2, 4, 2, 2), doubles(2, 2, 2, 2)), (doubles(2, 2, 3), doubles(1, 2, 3))
    for found, *each in zip(normalised_relus(images, weights), images, weights, strict=True):
        torch.testing.assert_close(found, F.relu(batch_norm_of_convolution(*each)))

    def ours(*tensors):
        return normalised_relus(tensors[:2], tensors[2:])

    assert gradcheck(ours, (*images, *weights))
    assert gradgradcheck(ours, (*images, *weights), atol=1e-4)


def test_normalised_sum_is_a_sum_of_scaled_batch_norms():
    torch.manual_seed(0)
    images, weights, scales = (
        (doubles(3, 4, 3, 3), doubles(3, 2, 3, 3)),
        (doubles(2, 2, 3), doubles(1, 2, 3)),
        (doubles(2), doubles(1)),
    )
    terms = zip(images, weights, scales, strict=True)
    expected = sum(
        (batch_norm_of_convolution(x, w).unflatten(1, (len(w), -1)) * s.view(1, -1, 1, 1, 1)).sum(dim=1)
        for x, w, s in terms
    )
    torch.testing.assert_close(normalised_sum(images, weights, scales), expected)

    def ours(*tensors):
        return normalised_sum(tensors[:2], tensors[2:4], tensors[4:])

    assert gradcheck(ours, (*images, *weights, *scales))
    assert gradgradcheck(ours, (*images, *weights, *scales), atol=1e-4)


def test_one_seed_gives_the_same_genotype_by_plain_and_fused_supernet():
    space = SearchSpace()
    plain, fused = pair(space, channels=2, layers=3, in_channels=1)
    images, labels = torch.rand(8, 1, 8, 8, dtype=torch.float64), torch.arange(8) % 5
    for model in (plain, fused):
        optimizer = torch.optim.Adam([model.alphas], lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            model.alphas.grad = grad(F.cross_entropy(model(images), labels), model.alphas)[0]
            optimizer.step()
    assert space.derive(plain.alphas) == space.derive(fused.alphas)
    close(fused.alphas.detach(), plain.alphas.detach())


@pytest.mark.parametrize("shape", [(3, 2, 4, 4), (2, 5, 3, 2)])
def test_batch_norm_is_that_of_torch_and_twice_differentiable(shape):
    torch.manual_seed(0)
    images = doubles(*shape)
    torch.testing.assert_close(normalise_batch(images), F.batch_norm(images, None, None, training=True))
    assert gradcheck(normalise_batch, (images,))
    assert gradgradcheck(normalise_batch, (images,), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 4, 8, 48])
def test_batch_norm_in_channels_last_is_as_exact_as_float32_allows(channels):
    torch.manual_seed(0)
    images = (2 + torch.randn(8, channels, 16, 16)).to(memory_format=torch.channels_last).requires_grad_()
    slope = torch.randn_like(images)
    exact = images.detach().double().requires_grad_()
    expected = F.batch_norm(exact, None, None, training=True)
    found = normalise_batch(images)
    assert (found - expected).norm() < 5e-7 * expected.norm()
    (expected,) = grad(expected, exact, slope.double())
    assert (grad(found, images, slope)[0] - expected).norm() < 1e-6 * expected.norm()
