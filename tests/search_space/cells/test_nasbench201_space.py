"""The space of NAS-Bench-201: its sizes are the benchmark's, and one cell goes through every stage."""

import warnings
from itertools import product

import pytest
import thop
import torch

from pipeline.errors import RunError
from search_space import CostTable, Genotype, Network, NetworkShape, Supernet, network_cost
from search_space.cells.genotype import Cell, Edge
from search_space.drawing.cell_layout import plan_cell
from tests.support.cells.generators import generator
from tests.support.cells.spaces import SPACES
from tests.support.scripts import IN_ANY_SPACE

ALL_3X3 = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"


BENCHMARK = {"channels": 16, "layers": 17}


by_cell = SPACES["nasbench201"]


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


def test_nasbench201_goes_from_search_to_report(tmp_path, call_script):
    folder = tmp_path / "run"
    bounds = ("objectives.parameters=[2000,6000]", "objectives.macs=[null,2e5]", "export.formats=[nasbench201]")
    for script in ("search", "retrain", "evaluate", "export", "report"):
        status, _, err = call_script(
            script, *IN_ANY_SPACE, *bounds, f"run={folder}", "space=nasbench201", "space.nodes=3"
        )
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
    overrides = (*IN_ANY_SPACE, "retrain.epochs=1", "retrain.layers=5", f"run={tmp_path}", f'genotype="{idle}"')
    status, _, err = call_script("retrain", *overrides)
    assert status == 0, err
