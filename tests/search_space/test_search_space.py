"""Derivation, expected cost, supernet and network."""

import math

import numpy as np
import pytest
import torch

from search_space import (
    PUBLISHED,
    Cell,
    CostTable,
    Edge,
    Genotype,
    Network,
    NetworkShape,
    SearchSpace,
    Supernet,
    channels_for_parameters,
    network_cost,
)
from search_space.cost.cost_table import keep_probabilities
from search_space.network.network import drop_path
from search_space.quantities import QUANTITIES
from tests.support.slowly import slowly

SMALL = NetworkShape(channels=4, layers=5, num_classes=10, image_size=8, in_channels=1)


@pytest.fixture(scope="module")
def table():
    return CostTable(SearchSpace(), SMALL)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_derivation_inverts_one_hot_for_random_genotypes():
    space = SearchSpace()
    for seed in range(200):
        genotype = space.random_genotype(generator(seed))
        alphas = torch.log(space.one_hot(genotype) + 1e-6)
        assert space.derive(alphas) == genotype


def test_derivation_ignores_none_however_strong():
    space = SearchSpace()
    alphas = torch.randn(space.alpha_shape, generator=generator(), dtype=torch.float64)
    alphas[..., 0] = 50.0
    names = [
        edge.operation for cell in (space.derive(alphas).normal, space.derive(alphas).reduction) for edge in cell.edges
    ]
    assert "none" not in names


def test_derivation_keeps_the_edges_whose_best_operation_is_most_probable():
    space = SearchSpace(nodes=2, operations=("none", "skip_connect", "sep_conv_3x3"))
    alphas = torch.zeros(space.alpha_shape)
    alphas[:, 2, 1] = 1.0  # node 3: sources 0, 1, 2 are edges 2, 3, 4
    alphas[:, 4, 2] = 2.0
    alphas[:, 3, 0] = 9.0
    edges = space.derive(alphas).normal.nodes[1]
    assert [(edge.operation, edge.source) for edge in edges] == [("skip_connect", 0), ("sep_conv_3x3", 2)]


@pytest.mark.parametrize("bad", [torch.zeros(2, 14, 7), torch.full((2, 14, 8), math.nan)])
def test_derivation_refuses_alphas_of_another_shape_or_not_finite(bad):
    with pytest.raises(ValueError, match="alphas"):
        SearchSpace().derive(bad)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nodes": 0}, "at least one node"),
        ({"operations": ("conv_9x9",)}, "unknown operations"),
        ({"operations": ("none",)}, "other than none"),
        ({"operations": ("skip_connect", "skip_connect")}, "named once"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace(**arguments)


def test_keep_probabilities_are_those_of_drawing_two_edges_in_proportion_to_strength():
    strengths = torch.tensor([[0.5, 0.2, 0.9]], dtype=torch.float64)
    weights = (strengths / strengths.sum()).flatten().numpy()
    rng = np.random.default_rng(0)
    draws = np.array([rng.choice(3, size=2, replace=False, p=weights) for _ in range(20_000)])
    frequency = np.array([(draws == edge).any(axis=1).mean() for edge in range(3)])
    kept = keep_probabilities(strengths, ((0, 1, 2),))
    np.testing.assert_allclose(kept.flatten().numpy(), frequency, atol=0.01)
    assert kept.sum().item() == pytest.approx(2, abs=1e-12)


def test_expected_cost_is_exact_at_one_hot_and_finite_everywhere(table):
    space = table.space
    for seed in range(100):
        genotype = space.random_genotype(generator(seed))
        expected = table.expected(space.one_hot(genotype))
        arguments = {"channels": 4, "layers": 5, "num_classes": 10, "image_size": 8, "in_channels": 1}
        cost = network_cost(genotype, **arguments)
        assert expected.tolist() == [cost.parameters, cost.conv_linear_macs, cost.thop_macs]
        scale = 10.0 ** (seed % 5 - 1)
        alphas = (scale * torch.randn(space.alpha_shape, generator=generator(seed))).requires_grad_()
        value = table.expected(torch.softmax(alphas, -1)).sum()
        (slope,) = torch.autograd.grad(value, alphas)
        assert torch.isfinite(value)
        assert torch.isfinite(slope).all()


def test_expected_cost_has_the_gradient_of_a_numerical_difference(table):
    alphas = torch.randn(table.space.alpha_shape, generator=generator(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: table.expected(torch.softmax(a, -1)) / table.fixed, (alphas,))


def test_reachable_range_and_attainable_bounds_agree_with_all_cells_of_a_small_space():
    space = SearchSpace(nodes=1, operations=("none", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"))
    table = CostTable(space, SMALL)
    # with one node both edges are kept: every cell is a choice of two operations
    choices = [(a, b) for a in space.candidates for b in space.candidates]
    costs = set()
    for normal in choices:
        for reduction in choices:
            total = table.fixed.clone()
            for cell, chosen in enumerate((normal, reduction)):
                for edge, operation in enumerate(chosen):
                    total += table.edges[cell, edge, operation]
            costs.add(tuple(int(value) for value in total))
    parameters = sorted({cost[0] for cost in costs})
    assert table.reachable("parameters") == (parameters[0], parameters[-1])
    for value in (parameters[0], parameters[3], parameters[3] + 1, parameters[-1], parameters[-1] + 1):
        assert table.attainable({"parameters": (value, value)}) == (value in parameters)
    for parameter_count, macs, _ in list(costs)[:20]:
        assert table.attainable({"parameters": (parameter_count,) * 2, "conv_linear_macs": (macs,) * 2})
    assert not table.attainable(
        {"parameters": (None, parameters[0]), "conv_linear_macs": (max(c[1] for c in costs), None)}
    )


def test_channels_for_parameters_is_the_nearest_number_of_channels():
    genotype = Genotype(*[Cell(((Edge("sep_conv_3x3", 0), Edge("dil_conv_5x5", 1)),), (2,))] * 2)
    sizes = [
        network_cost(genotype, channels=c, layers=5, num_classes=10, image_size=8, in_channels=1).parameters
        for c in range(1, 9)
    ]
    for asked in (sizes[0], sizes[3] + 1, (sizes[5] + sizes[6]) // 2):
        channels = channels_for_parameters(genotype, asked, shape=SMALL)
        assert abs(sizes[channels - 1] - asked) == min(abs(size - asked) for size in sizes)
    with pytest.raises(ValueError, match="one channel"):
        channels_for_parameters(genotype, 10, shape=SMALL)


@pytest.mark.parametrize(("size", "in_channels"), [(8, 1), (9, 3), *slowly((15, 1), (28, 3))])
def test_supernet_and_every_published_network_run_at_any_image_size(size, in_channels):
    images = torch.rand(2, in_channels, size, size)
    supernet = Supernet(SearchSpace(), channels=2, layers=3, num_classes=5, in_channels=in_channels)
    assert supernet(images).shape == (2, 5)
    for published in PUBLISHED.values():
        network = Network(
            published.genotype, channels=2, layers=4, num_classes=5, in_channels=in_channels, auxiliary=True
        )
        logits, auxiliary = network.forward_with_auxiliary(images)
        assert logits.shape == auxiliary.shape == (2, 5)


def test_supernet_gives_the_same_logits_in_training_and_evaluation_mode():
    supernet = Supernet(SearchSpace(), channels=2, layers=3, in_channels=1)
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(supernet.train()(images), supernet.eval()(images))


def test_normalisation_is_inside_the_network():
    torch.manual_seed(0)
    genotype = PUBLISHED["PDARTS"].genotype
    plain = Network(genotype, channels=2, layers=3, in_channels=1).eval()
    normalising = Network(genotype, channels=2, layers=3, in_channels=1, mean=[0.25], std=[0.5]).eval()
    weights = {name: value for name, value in plain.state_dict().items() if not name.startswith("normalize.")}
    normalising.load_state_dict(weights, strict=False)
    images = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(normalising(images), plain((images - 0.25) / 0.5))


def test_drop_path_keeps_the_mean_and_drops_whole_images():
    torch.manual_seed(0)
    dropped = drop_path(torch.ones(20_000, 1, 2, 2), 0.3)
    assert sorted(set(dropped.flatten().tolist())) == pytest.approx([0, 1 / 0.7])
    assert (dropped.amax(dim=(1, 2, 3)) == dropped.amin(dim=(1, 2, 3))).all()
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)


def test_drop_path_is_for_training_alone():
    network = Network(PUBLISHED["PDARTS"].genotype, channels=2, layers=3, in_channels=1)
    network.drop_path_probability = 0.5
    images = torch.rand(4, 1, 8, 8)
    network.eval()
    assert torch.equal(network(images), network(images))
    network.train()
    torch.manual_seed(0)
    first = network(images)
    torch.manual_seed(1)
    assert not torch.equal(first, network(images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 2}, "layers must be a whole number of at least 3"),
        ({"channels": 0}, "channels must be"),
        ({"num_classes": 1}, "at least 2 classes"),
        ({"mean": [0.5]}, "mean has 1 values for images of 3 channels"),
        ({"std": [0.5, 0.0, 1.0]}, "std must be positive"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Network(PUBLISHED["DARTS_V2"].genotype, **({"channels": 4, "layers": 3} | arguments))


def test_quantities_are_in_the_order_of_the_table(table):
    cost = network_cost(
        table.space.random_genotype(generator()), channels=4, layers=5, num_classes=10, image_size=8, in_channels=1
    )
    exact = table.exact(table.space.random_genotype(generator()))
    assert [getattr(cost, quantity) for quantity in QUANTITIES] == exact.tolist()
