"""Search spaces by configuration: S1 to S4, NAS-Bench-201, and one that the documentation adds."""

import json
import re
import warnings
from itertools import product

import pytest
import thop
import torch

from e2rnas.cli.app import compose_experiment
from pipeline.errors import RunError
from search_space import CostTable, Genotype, Network, NetworkShape, SearchSpace, Supernet, network_cost
from search_space.cells.genotype import Cell, Edge
from search_space.drawing.cell_layout import plan_cell
from search_space.network.operations import OPERATIONS, batch_norm
from search_space.quantities import QUANTITIES
from tests.support.scripts import ROOT, TINY
from tests.support.spaces import DOCUMENT, NAMES, SPACES, block

ALL_3X3 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
BENCHMARK = {"channels": 16, "layers": 17}
FOUND = json.loads((ROOT / "tests/data/robustdarts_cells.json").read_text())
SMALL = NetworkShape(channels=4, layers=5, num_classes=10, image_size=8, in_channels=1)


each_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
by_cell = SPACES["nasbench201"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


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


# NAS-Bench-201


@pytest.mark.parametrize(
    ("text", "classes", "size", "parameters", "mega_flops"),
    [
        # smallest and largest of the benchmark's 15,625 networks: CIFAR-10, CIFAR-100, ImageNet16-120 (its API's
        # tables, as quoted by github.com/ayushi-3536/mo_hyperband)
        (ALL_3X3.replace("nor_conv_3x3", "none"), 10, 32, 73_306, 7.78305),
        (ALL_3X3.replace("nor_conv_3x3", "none"), 100, 32, 79_156, 7.7889),
        (ALL_3X3.replace("nor_conv_3x3", "none"), 120, 16, 80_456, 1.9534),
        (ALL_3X3, 10, 32, 1_531_546, 220.11969),
        (ALL_3X3, 100, 32, 1_537_396, 220.12554),
        (ALL_3X3, 120, 16, 1_538_696, 55.03756),
        # github.com/D-X-Y/NATS-Bench, issue 36
        (
            "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|avg_pool_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
            10,
            32,
            802_426,
            113.95137,
        ),
    ],
)
def test_networks_have_the_benchmarks_parameters_and_flops(text, classes, size, parameters, mega_flops):
    cost = network_cost(Genotype.from_nasbench201(text), num_classes=classes, image_size=size, **BENCHMARK)
    assert cost.parameters == parameters
    assert cost.conv_linear_macs + classes == round(mega_flops * 1e6)  # the benchmark counts the classifier's bias


def test_sizes_of_the_space_are_the_benchmarks_smallest_and_largest():
    table = CostTable(by_cell, NetworkShape(**BENCHMARK))
    assert table.reachable("parameters") == (73_306, 1_531_546)
    assert table.reachable("conv_linear_macs") == (7_783_040, 220_119_680)
    assert by_cell.alpha_shape == (1, 6, 5)


def test_thops_count_of_the_largest_network_is_that_of_its_parts():
    normalised = (
        30 * (16 * 32**2 + 32 * 16**2 + 64 * 8**2) + 16 * 32**2 + 4 * 32 * 16**2 // 2 + 2 * 64 * 8**2 + 64 * 8**2
    )
    pooled = 16 * 16**2 + 32 * 8**2 + 64 * (8**2 + 1)
    cost = network_cost(Genotype.from_nasbench201(ALL_3X3), **BENCHMARK)
    assert cost.thop_macs - cost.conv_linear_macs == 4 * normalised + pooled


@pytest.mark.parametrize("size", [8, 9])
def test_cost_without_building_is_that_of_the_built_network(size):
    for seed in range(3):
        genotype = by_cell.random_genotype(generator(seed))
        network = Network(genotype, channels=3, layers=7, in_channels=1, auxiliary=True).eval()
        cost = network_cost(genotype, channels=3, layers=7, in_channels=1, image_size=size)
        assert cost.parameters_with_auxiliary_head == sum(p.numel() for p in network.parameters())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            macs, _ = thop.profile(network, inputs=(torch.rand(1, 1, size, size),), verbose=False)
        assert cost.thop_macs == int(macs)


def test_all_architectures_are_written_and_read_and_those_with_a_way_through_are_members():
    names, connected = by_cell.operations, 0
    for chosen in list(product(names, repeat=6))[::7]:
        edges = [f"|{name}~{source}" for name, source in zip(chosen, by_cell.edges, strict=True)]
        text = f"{edges[0]}|+{''.join(edges[1:3])}|+{''.join(edges[3:])}|"
        genotype = Genotype.from_nasbench201(text)
        assert genotype.to_nasbench201() == text
        adjacency = torch.zeros(4, 4)
        for name, source, node in zip(chosen, by_cell.edges, (1, 2, 2, 3, 3, 3), strict=True):
            adjacency[source, node] = name != "none"
        has_way = bool(torch.linalg.matrix_power(torch.eye(4) + adjacency, 3)[0, 3] > 0)
        assert genotype.normal.passes_on(True) == has_way
        connected += has_way
    assert 0 < connected < 15_625 // 7


def test_the_derived_cell_is_the_most_probable_one_with_a_way_through():
    for seed in range(6):
        alphas = torch.randn(by_cell.alpha_shape, generator=generator(seed), dtype=torch.float64)
        alphas[..., 0] += 2
        logs = torch.log_softmax(alphas, dim=-1)[0]

        def score(genotype, logs=logs):
            return float((by_cell.one_hot(genotype)[0] * logs).sum())

        found = by_cell.derive(alphas)
        best = max(
            (
                Genotype(
                    Cell(((Edge(a, 0),), (Edge(b, 0), Edge(c, 1)), (Edge(d, 0), Edge(e, 1), Edge(f, 2))), (3,), 1), None
                )
                for a, b, c, d, e, f in product(*(_likely(row) for row in logs))
            ),
            key=lambda genotype: score(genotype) if genotype.normal.passes_on(True) else -torch.inf,
        )
        assert found == best


def _likely(row):
    """None and the best other operation: no optimum holds another."""
    return by_cell.operations[0], by_cell.operations[1 + int(row[1:].argmax())]


def test_a_cell_is_mixed_as_its_definition_says():
    torch.manual_seed(0)
    cell = Supernet(by_cell, channels=2, layers=5, in_channels=1).double().cells[0]
    state, probabilities = torch.rand(2, 2, 6, 6, dtype=torch.float64), torch.rand(1, 6, 5, dtype=torch.float64)
    states, edge = [state], 0
    for node in (1, 2, 3):
        total = torch.zeros_like(state)
        for source in range(node):
            for name, module in cell.edges[edge].items():
                total += probabilities[0, edge, by_cell.operations.index(name)] * module(states[source])
            edge += 1
        states.append(total)
    torch.testing.assert_close(cell(state, state, probabilities), states[3])


def test_a_picture_of_a_cell_of_one_input_shows_its_input_and_all_edges():
    plan = plan_cell(Genotype.from_nasbench201(ALL_3X3).normal)
    assert [box.text for box in plan.states] == ["$c_{k\\!-\\!1}$", "1", "2", "3"]
    assert len(plan.operations) == 6


@pytest.mark.parametrize(
    "text",
    ["", "nor_conv_3x3~0", "|nor_conv_3x3~0", "|nor_conv_3x3~0|+", "|conv_9x9~0|", "|none~1|", "|none~-1|", 3, None],
)
def test_a_string_that_names_no_cell_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"expected a string|unknown operation|come before"):
        Genotype.from_nasbench201(text)


def test_a_genotype_has_two_cells_of_two_inputs_or_one_of_one():
    one = Genotype.from_nasbench201(ALL_3X3).normal
    two = SPACES["s2"].random_genotype(generator()).normal
    for cells in ((one, one), (two, None), (one, two)):
        with pytest.raises(ValueError, match="a genotype is two cells of two inputs, or one of one input"):
            Genotype(*cells)
    with pytest.raises(ValueError, match="its last node"):
        Genotype(Cell(one.nodes, (2,), 1), None)
    with pytest.raises(ValueError, match="this genotype has one cell"):
        Genotype(one, None).to_darts()


# Documentation and stages


def test_the_documented_example_in_python_prints_what_it_says(capsys):
    exec(block("python"), {})  # noqa: S102 - our own file
    said = re.search(r"# ([0-9]+)", block("python")).group(1)
    assert capsys.readouterr().out == f"{said}\n"


def test_every_space_is_documented():
    files = {path.stem for path in (ROOT / "conf/space").glob("*.yaml")}
    assert files == set(NAMES)
    assert all(f"| `{name}` |" in DOCUMENT for name in files)


def test_nasbench201_goes_from_search_to_report(tmp_path, call_script):
    folder = tmp_path / "run"
    bounds = ("objectives.parameters=[2000,6000]", "objectives.macs=[null,2e5]", "export.formats=[nasbench201]")
    for script in ("search", "retrain", "evaluate", "export", "report"):
        status, _, err = call_script(script, *TINY, *bounds, f"run={folder}", "space=nasbench201", "space.nodes=3")
        assert status == 0, err
    genotype = Genotype.from_json((folder / "genotype.json").read_text())
    by_cell.check_member(genotype)
    assert (folder / "genotype_nasbench201.txt").read_text() == genotype.to_nasbench201() + "\n"
    assert (folder / "figures/cell-normal.png").exists()
    assert not (folder / "figures/cell-reduction.png").exists()


def test_a_string_is_a_genotype_for_retraining_and_a_wrong_one_is_refused():
    from pipeline.networks.genotype_reference import load_genotype

    assert load_genotype(ALL_3X3) == (ALL_3X3, Genotype.from_nasbench201(ALL_3X3))
    with pytest.raises(RunError, match="expected a string such as"):
        load_genotype("|nor_conv_3x3~0")


def test_a_cell_whose_convolution_leads_nowhere_is_retrained(tmp_path, call_script):
    idle = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
    overrides = (*TINY, "retrain.epochs=1", "retrain.layers=5", f"run={tmp_path}", f'genotype="{idle}"')
    status, _, err = call_script("retrain", *overrides)
    assert status == 0, err
