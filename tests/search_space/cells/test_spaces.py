"""Search spaces by configuration: S1 to S4, NAS-Bench-201, and one that the documentation adds."""

import json
import re
from itertools import product

import pytest
import torch

from e2rnas.cli.app import compose_experiment
from search_space import CostTable, Genotype, Network, NetworkShape, SearchSpace, Supernet, network_cost
from search_space.cells.genotype import Cell, Edge
from search_space.network.operations import OPERATIONS, batch_norm
from search_space.quantities import QUANTITIES
from tests.support.cells.generators import generator
from tests.support.cells.spaces import DOCUMENT, NAMES, SPACES, block
from tests.support.scripts import ROOT

FOUND = json.loads((ROOT / "tests/data/robustdarts_cells.json").read_text())


SMALL = NetworkShape(channels=4, layers=5, num_classes=10, image_size=8, in_channels=1)


each_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


# Laws of every space


@pytest.mark.parametrize("name", NAMES)
def test_an_option_of_the_command_line_is_the_space_of_its_file(name):
    assert compose_experiment([f"space={name}"]).space.build() == SPACES[name]


@each_space
def test_what_is_derived_is_of_the_space_and_survives_one_hot_and_json(space):
    for seed in range(30):
        alphas = 3 * torch.randn(space.alpha_shape, generator=generator(seed))
        for genotype in (space.derive(alphas), space.random_genotype(generator(seed))):
            probabilities = space.one_hot(genotype)
            assert (probabilities[~space.mask] == 0).all()
            assert space.derive(torch.log(probabilities + 1e-6)) == genotype
            assert Genotype.from_json(genotype.to_json()) == genotype


@each_space
def test_expected_cost_at_one_hot_is_the_cost_of_the_network_and_has_finite_slopes(space):
    table = CostTable(space, SMALL)
    for seed in range(10):
        genotype = space.random_genotype(generator(seed))
        cost = network_cost(genotype, channels=4, layers=5, num_classes=10, image_size=8, in_channels=1)
        exact = [getattr(cost, quantity) for quantity in QUANTITIES]
        assert table.expected(space.one_hot(genotype)).tolist() == table.exact(genotype).tolist() == exact
        for quantity, value in zip(QUANTITIES, exact, strict=True):
            low, high = table.reachable(quantity)
            assert low <= value <= high
        assert table.attainable(dict(zip(QUANTITIES, ((value, value) for value in exact), strict=True)))
        alphas = torch.randn(space.alpha_shape, generator=generator(seed), requires_grad=True)
        (slope,) = torch.autograd.grad(table.expected(space.probabilities(alphas)).sum(), alphas)
        assert torch.isfinite(slope).all()
        assert (slope[~space.mask] == 0).all()


@each_space
def test_a_supernet_has_gradients_of_what_edges_may_hold_and_of_nothing_else(space):
    torch.manual_seed(0)
    supernet = Supernet(space, channels=2, layers=4, num_classes=3, in_channels=1)
    with torch.no_grad():
        supernet.alphas.normal_()
    loss = torch.nn.functional.cross_entropy(supernet(torch.rand(4, 1, 9, 9)), torch.arange(4) % 3)
    slopes = torch.autograd.grad(loss, [supernet.alphas, *supernet.weights()], allow_unused=True)
    assert (slopes[0][~space.mask] == 0).all()
    assert (slopes[0][space.mask] != 0).float().mean() > 0.7
    assert supernet.derive() == space.derive(supernet.alphas)


@each_space
def test_forbidden_alphas_change_nothing(space):
    torch.manual_seed(0)
    supernet = Supernet(space, channels=2, layers=3, in_channels=1)
    images = torch.rand(2, 1, 8, 8)

    def logits():
        torch.manual_seed(1)  # for noise
        return supernet(images)

    before, derived = logits(), supernet.derive()
    with torch.no_grad():
        supernet.alphas[~space.mask] = 50.0
    assert torch.equal(logits(), before)
    assert supernet.derive() == derived
    with torch.no_grad():
        supernet.alphas[space.mask] = torch.randn(int(space.mask.sum()))
    assert not torch.equal(logits(), before)


@each_space
def test_probabilities_are_those_of_a_softmax_over_what_an_edge_may_hold(space):
    alphas = torch.randn(space.alpha_shape, generator=generator(), dtype=torch.float64)
    found = space.probabilities(alphas)
    for kind, edge in product(range(space.cells), range(len(space.edges))):
        held = space.mask[kind, edge]
        torch.testing.assert_close(found[kind, edge][held], torch.softmax(alphas[kind, edge][held], dim=0))
        assert (found[kind, edge][~held] == 0).all()


def test_a_derived_edge_holds_what_it_may_even_where_all_of_that_underflows():
    edges = (("none", "skip_connect"), ("none", "sep_conv_3x3"))
    space = SearchSpace(1, ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3"), edges, edges)
    alphas = torch.full(space.alpha_shape, -2000.0)
    alphas[..., 0] = 2000.0
    assert [edge.operation for edge in space.derive(alphas).normal.edges] == ["skip_connect", "sep_conv_3x3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normal": (("skip_connect",),)}, "normal: a cell of 4 nodes has 14 edges, found operations of 1"),
        ({"reduction": (("skip_connect",),) * 13 + (("noise",),)}, "reduction: edge 13 holds some of operations"),
        ({"normal": (("none",),) * 14}, "normal: edge 0 has no operation to keep"),
        ({"normal": ((),) * 14}, "normal: edge 0 has no operation to keep"),
        ({"normal": (("none", "none"),) * 14}, "each once"),
        ({"family": "nasbench101"}, "out of darts, nasbench201, found 'nasbench101'"),
        ({"family": "nasbench201", "reduction": (("skip_connect",),) * 10}, "has no reduction cell"),
        ({"family": "nasbench201", "operations": ("none", "noise")}, "other than noise and none"),
    ],
)
def test_a_space_with_wrong_edges_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SearchSpace(**arguments)


# RobustDARTS


@pytest.mark.parametrize("name", ["s1", "s2", "s3", "s4"])
def test_the_published_cells_of_a_space_are_members_of_it_and_of_no_smaller_one(name):
    for layout in FOUND[name]:
        concat = {"normal_concat": [2, 3, 4, 5], "reduce_concat": [2, 3, 4, 5]}
        genotype = Genotype.from_darts(layout | concat)
        SPACES[name].check_member(genotype)
        for other in set(NAMES[1:]) - {name} - ({"s2", "s3"} if name in ("s2", "s3") else set()):
            with pytest.raises(ValueError, match="not one of the space"):
                SPACES[other].check_member(genotype)


def test_s1_has_two_operations_on_every_edge_and_each_of_its_six_somewhere():
    mask = SPACES["s1"].mask
    assert (mask.sum(dim=-1) == 2).all()
    assert mask.any(dim=0).any(dim=0).all()
    assert SPACES["s1"].alpha_shape == (2, 14, 6)


@pytest.mark.parametrize(("stride", "size"), [(1, 7), (2, 7), (2, 8)])
def test_noise_is_standard_normal_new_at_each_call_and_free(stride, size):
    noise = OPERATIONS["noise"](3, stride, batch_norm).eval()
    images = torch.full((200, 3, size, size), 5.0, requires_grad=True)
    torch.manual_seed(0)
    first, second = noise(images), noise(images)
    torch.manual_seed(0)
    assert torch.equal(noise(images), first)
    assert not torch.equal(first, second)
    assert first.shape == OPERATIONS["max_pool_3x3"](3, stride, batch_norm)(images).shape
    assert first.mean().item() == pytest.approx(0, abs=0.05)
    assert first.std().item() == pytest.approx(1, abs=0.05)
    assert not first.requires_grad
    assert not list(noise.parameters())


def test_a_network_that_no_image_reaches_is_refused():
    blocked = Cell(((Edge("noise", 0), Edge("noise", 1)),), (2,))
    reading = Cell(((Edge("noise", 0), Edge("skip_connect", 1)),), (2,))
    # the cell behind the blocked reductions reads around one of them, but not around two in a row
    both = Cell(((Edge("skip_connect", 0), Edge("skip_connect", 1)),), (2,))
    Network(Genotype(both, blocked), channels=2, layers=8, in_channels=1)
    for normal, layers in ((reading, 8), (both, 3), (blocked, 8)):
        with pytest.raises(ValueError, match="the same logits"):
            Network(Genotype(normal, blocked), channels=2, layers=layers, in_channels=1)


def test_a_finite_difference_of_noise_is_refused():
    with pytest.raises(Exception, match="under two draws of the operation noise"):
        compose_experiment(["space=s4", "search.order=unrolled", "search.hessian=finite_difference"])


# Documentation and stages


def test_the_documented_example_in_python_prints_what_it_says(capsys):
    exec(block("python"), {})  # noqa: S102 - our own file
    said = re.search(r"# ([0-9]+)", block("python")).group(1)
    assert capsys.readouterr().out == f"{said}\n"


def test_every_space_is_documented():
    files = {path.stem for path in (ROOT / "conf/space").glob("*.yaml")}
    assert files == set(NAMES)
    assert all(f"| `{name}` |" in DOCUMENT for name in files)
