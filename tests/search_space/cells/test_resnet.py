"""The ResNet of a comparison: its blocks written out, its published size, and the sizes that thop counts."""

import copy

import pytest
import thop
import torch
from torch.nn import functional as F

from search_space import Network, network_cost
from search_space.cells.resnet import BASIC_BLOCK, resnet_layers


def convolved(images, layers, stride=1):
    """ReLU, 3x3 convolution and batch norm as in evaluation, with the values of a network's own layers."""
    _, convolution, norm = layers
    found = F.conv2d(images.relu(), convolution.weight, stride=stride, padding=1)
    return F.batch_norm(found, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def test_the_network_is_a_resnet_written_out():
    torch.manual_seed(0)
    network = Network(BASIC_BLOCK, channels=4, layers=resnet_layers(14))
    network(torch.rand(32, 3, 16, 16))  # moves the statistics of batch norm
    images, network = torch.rand(2, 3, 16, 16), network.eval()
    state = network.stem(network.normalize(images))
    for place, layer in enumerate(network.cells):
        if place in (2, 4):  # three stages of two blocks
            first, second = layer.block.convolutions
            shortcut = F.conv2d(F.avg_pool2d(state, 2), layer.block.shortcut[1].weight)
            state = shortcut + convolved(convolved(state, first, stride=2), second)
        else:
            first, _, second = layer.operations  # between them the skip, whose source comes first
            state = state + convolved(convolved(state, first), second)
    torch.testing.assert_close(network(images), network.classifier(state), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("depth", "published"), [(20, 269_722), (56, 853_018)])
def test_its_parameters_are_those_published_and_those_of_its_shortcuts_and_last_norm(depth, published):
    """Published: with shortcuts that hold no weights (He et al. 2016a, 0.27 M and 0.85 M, exact by Y. Idelbayev)."""
    cost = network_cost(BASIC_BLOCK, channels=16, layers=resnet_layers(depth))
    assert cost.parameters == published + 16 * 32 + 32 * 64 + 2 * 64


def test_its_size_is_that_of_thop():
    network = Network(BASIC_BLOCK, channels=9, layers=resnet_layers(8), in_channels=1).eval()
    cost = network_cost(BASIC_BLOCK, channels=9, layers=resnet_layers(8), image_size=8, in_channels=1)
    macs, parameters = thop.profile(copy.deepcopy(network), (torch.zeros(1, 1, 8, 8),), verbose=False)
    assert (cost.thop_macs, cost.parameters) == (macs, parameters)


@pytest.mark.parametrize("depth", [2, 18, 34])
def test_other_depths_are_refused(depth):
    with pytest.raises(ValueError, match=rf"expected a depth of 6 n \+ 2, such as 8, 14 or 20, found {depth}"):
        resnet_layers(depth)
