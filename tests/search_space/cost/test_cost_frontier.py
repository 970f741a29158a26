"""The likeliest genotype inside bounds is that of an enumeration of all."""

from itertools import combinations, product

import pytest
import torch

from search_space import CostTable, NetworkShape, SearchSpace
from tests.support.slowly import slowly

SHAPE = NetworkShape(channels=4, layers=3, image_size=8, in_channels=1)
THREE = ("none", "skip_connect", "sep_conv_3x3")
SPACES = {
    "darts": SearchSpace(nodes=2, operations=THREE),
    "masked": SearchSpace(
        nodes=2,
        operations=THREE,
        normal=(THREE[1:], THREE[:2], THREE, THREE[2:], THREE),
        reduction=(THREE, THREE, THREE[1:], THREE, THREE[1:2]),
    ),
    "nasbench201": SearchSpace(
        nodes=2, operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"), family="nasbench201"
    ),
}


def cells_of(space, kind):
    """Every cell of a kind, as scores that derive it: 1 on the operations of its edges."""
    choices = [mask.nonzero().flatten().tolist() for mask in space.keepable[kind]]
    first, nodes = 0, []
    for read in space.sources:
        own = range(first, first + len(read))
        kept = [own] if space.keeps_all else list(combinations(own, 2))
        nodes.append(
            [list(zip(edges, held, strict=True)) for edges in kept for held in product(*(choices[e] for e in edges))]
        )
        first += len(read)
    for cell in product(*nodes):
        scores = torch.zeros(space.alpha_shape[1:], dtype=torch.float64)
        for edge, operation in (held for node in cell for held in node):
            scores[edge, operation] = 1
        yield scores


def all_genotypes(space):
    """Every genotype, with its scores."""
    for cells in product(*(list(cells_of(space, kind)) for kind in range(space.cells))):
        scores = torch.stack(cells)
        genotype = space.strongest(scores)
        if torch.equal(space.one_hot(genotype)[scores > 0], scores[scores > 0]):  # else it passes nothing on
            yield genotype, scores


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("part", [0.5, *slowly(0.1, 0.9)])
def test_it_is_the_best_of_all_inside(name, part):
    space = SPACES[name]
    table = CostTable(space, SHAPE)
    generator = torch.Generator().manual_seed(int(100 * part))
    strengths = torch.rand(space.alpha_shape, generator=generator, dtype=torch.float64)
    low, high = table.reachable("parameters")
    middle = low + part * (high - low)
    bounds = {"parameters": (0.9 * middle, 1.1 * middle), "conv_linear_macs": (None, None)}
    best, found = -1.0, None
    for genotype, scores in all_genotypes(space):
        if bounds["parameters"][0] <= table.exact(genotype)[0] <= bounds["parameters"][1]:
            likelihood = strengths[scores > 0].prod().item()
            if likelihood > best:
                best, found = likelihood, genotype
    assert (found is None) == (not table.attainable(bounds))
    assert table.likeliest(strengths, bounds) == found


@pytest.mark.parametrize("name", SPACES)
def test_without_bounds_it_is_the_derived_one(name):
    space = SPACES[name]
    table = CostTable(space, SHAPE)
    for seed in range(5):
        alphas = torch.randn(space.alpha_shape, generator=torch.Generator().manual_seed(seed))
        open_bounds = {"parameters": (None, None)}
        assert table.likeliest(space.probabilities(alphas), open_bounds) == space.derive(alphas)


def test_there_is_none_where_no_network_keeps_the_bounds():
    table = CostTable(SearchSpace(), SHAPE)
    low, high = table.reachable("parameters")
    strengths = torch.ones(table.space.alpha_shape)
    assert table.likeliest(strengths, {"parameters": (low + 1, low + 1)}) is None
    smallest = table.likeliest(strengths, {"parameters": (None, low)})
    assert table.exact(smallest)[0] == low
    assert table.exact(table.likeliest(strengths, {"parameters": (high, None)}))[0] == high
