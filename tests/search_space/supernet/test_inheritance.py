"""A cell's network with the weights of a supernet."""

import pytest
import torch

from pipeline.search.selection.continued_search import fix_cell
from search_space import PUBLISHED, SearchSpace, Supernet, inherit
from tests.support.cells.spaces import NAMES, SPACES
from tests.support.slowly import slowly


def supernet_of(space, **options):
    torch.manual_seed(1)
    supernet = Supernet(space, channels=4, layers=options.pop("layers", 4), in_channels=2, num_classes=3, **options)
    supernet.normalize.mean += 0.3
    return supernet.double()


@pytest.mark.parametrize("size", [11, *slowly(8)])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "s4"])  # s4 holds noise
def test_it_is_the_supernet_that_runs_this_cell_alone(name, size):
    space = SPACES[name]
    supernet = supernet_of(space, layers=17 if name == "nasbench201" else 4)
    images = torch.rand(5, 2, size, size, dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    genotypes = [space.random_genotype(generator) for _ in range(2)]
    networks = [inherit(supernet, genotype) for genotype in genotypes]
    for genotype, network in zip(genotypes, networks, strict=True):
        fix_cell(supernet, space.one_hot(genotype))
        supernet.alphas.data = supernet.alphas.double()
        expected = supernet(images)
        assert expected.std(0).max() > 1e-6
        torch.testing.assert_close(network(images), expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(network.eval()(images), expected, rtol=1e-9, atol=1e-12)


def test_its_weights_are_copies():
    supernet = supernet_of(SearchSpace())
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    network = inherit(supernet, PUBLISHED["DARTS_V2"].genotype)
    for parameter in network.parameters():
        parameter.data.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())


def test_what_no_network_can_be_is_refused():
    with pytest.raises(ValueError, match="expected partial_channels=1, found 2"):
        inherit(supernet_of(SearchSpace(), partial_channels=2), PUBLISHED["DARTS_V2"].genotype)
    with pytest.raises(ValueError, match="not one of the space"):
        inherit(supernet_of(SearchSpace()), SPACES["nasbench201"].random_genotype(torch.Generator().manual_seed(0)))
