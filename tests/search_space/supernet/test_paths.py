"""Single cells of a supernet: what draws them, and what runs them."""

from collections import Counter
from itertools import product

import pytest
import torch
from scipy.stats import chisquare

from search_space import Relaxation, SearchSpace, Supernet, inherit
from search_space.cells.genotype import Cell, Edge, Genotype
from search_space.supernet.paths import Path, PathDistribution, SinglePath
from tests.support.cells.spaces import NAMES, SPACES

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1")
ALL_KEPT = SearchSpace(nodes=2, operations=OPERATIONS, family="nasbench201")
SOME_KEPT = SearchSpace(nodes=2, operations=("none", "skip_connect", "max_pool_3x3"), family="darts")
DRAWS = 2000


def drawn(space, relaxation, alphas, count):
    distribution = PathDistribution(space, relaxation)
    generator = torch.Generator().manual_seed(0)
    return distribution, [distribution.draw(alphas, generator) for _ in range(count)]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "s4"])  # s4 holds noise
def test_a_path_is_the_inherited_network_with_the_supernets_own_weights(name):
    space = SPACES[name]
    torch.manual_seed(1)
    supernet = Supernet(space, channels=4, layers=17 if name == "nasbench201" else 3, in_channels=2, num_classes=3)
    supernet = supernet.double()
    path, images = SinglePath(supernet), torch.rand(3, 2, 8, 8, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    for genotype in (space.random_genotype(generator) for _ in range(2)):
        state = torch.get_rng_state()
        path.take(genotype)
        assert torch.equal(torch.get_rng_state(), state)
        network = inherit(supernet, genotype)
        torch.testing.assert_close(path(images), network(images), rtol=0, atol=0)
        supernet.zero_grad()
        path(images).square().sum().backward()
        network(images).square().sum().backward()
        shared = sum(weight.grad.square().sum() for weight in supernet.parameters() if weight.grad is not None)
        own = sum(weight.grad.square().sum() for weight in network.parameters())
        torch.testing.assert_close(shared, own)
        assert own > 0


def test_all_probabilities_sum_to_one_and_are_those_of_torch_distributions():
    torch.manual_seed(3)
    alphas = torch.randn(ALL_KEPT.alpha_shape, dtype=torch.float64)
    distribution = PathDistribution(ALL_KEPT, Relaxation(paths=2))
    oracle = torch.distributions.Independent(torch.distributions.Categorical(logits=alphas[0]), 1)
    total = 0.0
    for held in product(range(len(OPERATIONS)), repeat=len(ALL_KEPT.edges)):
        path = Path(None, tuple((0, edge, operation) for edge, operation in enumerate(held)), ())
        found = distribution.log_probabilities(alphas, [path])[0]
        torch.testing.assert_close(found, oracle.log_prob(torch.tensor(held)))
        total += found.exp()
    torch.testing.assert_close(total, torch.tensor(1.0, dtype=torch.float64))


@pytest.mark.parametrize(
    ("space", "relaxation"),
    [
        (ALL_KEPT, Relaxation(paths=2)),
        (SOME_KEPT, Relaxation(paths=2)),
        (SOME_KEPT, Relaxation(paths=2, normalised_edges=True)),
    ],
)
def test_cells_come_as_often_as_their_probability_says(space, relaxation):
    torch.manual_seed(4)
    alphas = 0.7 * torch.randn(relaxation.alpha_shape(space))
    distribution, paths = drawn(space, relaxation, alphas, DRAWS)
    normal = [
        Path(None, *(tuple(part for part in parts if part[0] == 0) for parts in (path.held, path.chosen)))
        for path in paths
    ]
    counts = Counter(normal)
    chances = {cell: distribution.log_probabilities(alphas, [cell])[0].exp().item() for cell in counts}
    often = [key for key, chance in chances.items() if chance * DRAWS > 10]
    alive = sum(chances.values())  # nearly all that can be drawn; dead cells are not
    expected = torch.tensor([chances[key] / alive * DRAWS for key in often])
    observed = torch.tensor([float(counts[key]) for key in often])
    assert len(often) > 10
    assert chisquare([*observed, DRAWS - observed.sum()], [*expected, DRAWS - expected.sum()]).pvalue > 1e-3


def test_cells_that_block_their_input_are_not_drawn():
    alphas = torch.zeros(ALL_KEPT.alpha_shape)
    alphas[..., 0] = 3.0  # none
    _, paths = drawn(ALL_KEPT, Relaxation(paths=2), alphas, 50)
    assert all(path.genotype.normal.passes_on(True) for path in paths)


def test_a_path_of_another_space_is_refused():
    supernet = Supernet(ALL_KEPT, channels=2, layers=5, in_channels=1, num_classes=2)
    cell = Cell(((Edge("sep_conv_3x3", 0),), (Edge("skip_connect", 0), Edge("skip_connect", 1))), (2,), 1)
    with pytest.raises(ValueError, match="not one of the space"):
        SinglePath(supernet).take(Genotype(cell, None))


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"paths": 1}, "at least 2, found 1"),
        ({"paths": 4, "operations": "sigmoid"}, "change a mixture"),
        ({"paths": 4, "dropout": 0.1}, "change a mixture"),
        ({"paths": 4, "sampled_operations": 2}, "change a mixture"),
    ],
)
def test_what_changes_a_mixture_is_refused(choices, words):
    with pytest.raises(ValueError, match=words):
        Relaxation(**choices)


@pytest.mark.parametrize("odds", [1.0, 3.0])
def test_cells_that_weights_train_on_hold_parametric_operations_by_their_odds(odds):
    space = SearchSpace(nodes=1, operations=("skip_connect", "avg_pool_3x3", "nor_conv_1x1"), family="nasbench201")
    relaxation = Relaxation(paths=2, parametric_odds=odds)
    alphas = PathDistribution(space, relaxation).training_alphas(torch.randn(space.alpha_shape))
    counts = Counter(path.held[0][2] for path in drawn(space, relaxation, alphas, DRAWS)[1])
    expected = [DRAWS * share / (2 + odds) for share in (1, 1, odds)]
    assert chisquare([counts[operation] for operation in range(3)], expected).pvalue > 0.01


def test_edges_of_the_cells_that_weights_train_on_are_drawn_uniformly():
    relaxation = Relaxation(paths=2, parametric_odds=3.0, normalised_edges=True)
    alphas = torch.randn(relaxation.alpha_shape(SOME_KEPT))
    assert not PathDistribution(SOME_KEPT, relaxation).training_alphas(alphas)[..., -1].any()


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"parametric_odds": 2.0}, "paths draws none"),
        ({"paths": 2, "parametric_odds": 0.0}, "above 0 and finite, found 0"),
        ({"paths": 2, "parametric_odds": float("inf")}, "above 0 and finite, found inf"),
    ],
)
def test_odds_that_draw_nothing_are_refused(choices, words):
    with pytest.raises(ValueError, match=words):
        Relaxation(**choices)
