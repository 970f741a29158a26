"""Every published cell's network has its published size, to the last integer."""

import warnings

import pytest
import thop
import torch
from torch.utils.flop_counter import FlopCounterMode

from search_space import PUBLISHED, CostTable, Network, NetworkShape, SearchSpace, network_cost
from tests.support.slowly import slowly

NAMES = list(PUBLISHED)
DARTS_NAMES = ["DARTS_V1", "DARTS_V2", "PC_DARTS_cifar", "PDARTS", "ADVRUSH", "RACL"]


@pytest.mark.parametrize("name", NAMES)
def test_cost_of_a_published_cell_is_the_published_one(name):
    published = PUBLISHED[name]
    assert network_cost(published.genotype) == published.cost


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "shape",
    [
        NetworkShape(channels=5, layers=5, num_classes=3, image_size=9, in_channels=1),
        *slowly(NetworkShape(channels=8, layers=4, num_classes=10, image_size=28, in_channels=2)),
    ],
)
def test_cost_without_building_equals_thop_and_flop_counter_on_the_built_network(name, shape):
    genotype = PUBLISHED[name].genotype
    arguments = {
        "channels": shape.channels,
        "layers": shape.layers,
        "num_classes": shape.num_classes,
        "in_channels": shape.in_channels,
    }
    network = Network(genotype, auxiliary=True, **arguments).eval()
    images = torch.rand(1, shape.in_channels, shape.image_size, shape.image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images)
    everything = sum(parameter.numel() for parameter in network.parameters())
    head = sum(parameter.numel() for parameter in network.auxiliary_head.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        thop_macs, _ = thop.profile(network, inputs=(images,), verbose=False)
    cost = network_cost(genotype, image_size=shape.image_size, **arguments)
    assert cost.parameters == everything - head
    assert cost.parameters_with_auxiliary_head == everything
    assert cost.conv_linear_macs == counter.get_total_flops() // 2
    assert cost.thop_macs == int(thop_macs)


@pytest.mark.parametrize("name", DARTS_NAMES)
def test_expected_cost_of_a_one_hot_genotype_is_its_exact_cost(name):
    published, space = PUBLISHED[name], SearchSpace()
    table = CostTable(space, NetworkShape())
    expected = torch.tensor(
        [published.cost.parameters, published.cost.conv_linear_macs, published.cost.thop_macs], dtype=torch.float64
    )
    assert torch.equal(table.expected(space.one_hot(published.genotype)), expected)
    assert torch.equal(table.exact(published.genotype), expected)
