"""Genotype files as other projects have them: the same cell in every form, exact sizes, and evil files in one line."""

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from pipeline.errors import RunError
from pipeline.networks.genotype_reference import load_genotype
from search_space import PUBLISHED, Cell, Edge, Genotype, Network, SearchSpace, Supernet, inherit, network_cost
from search_space.cells.formats import from_layout, from_python, to_fair_darts, to_python
from search_space.drawing.draw import draw_cell
from tests.support.cells.genotypes import genotypes

DARTS_V2 = PUBLISHED["DARTS_V2"].genotype
LRNAS = PUBLISHED["LRNAS_cifar10"].genotype


def of_tuples(layout):
    return {name: [tuple(x) if isinstance(x, list) else x for x in items] for name, items in layout.items()}


PAIRS, TRIPLES = of_tuples(DARTS_V2.to_darts()), of_tuples(to_fair_darts(DARTS_V2))
CELLS = ("normal", "reduce")

# Published in the repository of FairDARTS (Chu et al. 2020) with 400 M multiply-accumulates and 2.59 M parameters.
# Edges are (operation, node, source). No edge enters node 3, which ("skip_connect", 5, 3) leaves.
FAIR_DARTS_C = {
    "normal": [
        ("max_pool_3x3", 2, 0),
        ("sep_conv_5x5", 2, 1),
        ("dil_conv_3x3", 4, 0),
        ("dil_conv_5x5", 4, 2),
        ("skip_connect", 5, 3),
        ("sep_conv_3x3", 5, 0),
    ],
    "normal_concat": [2, 3, 4, 5],
    "reduce": [
        ("dil_conv_3x3", 2, 1),
        ("dil_conv_5x5", 2, 0),
        ("dil_conv_3x3", 3, 0),
        ("sep_conv_3x3", 3, 1),
        ("sep_conv_5x5", 4, 0),
        ("sep_conv_5x5", 4, 3),
        ("sep_conv_5x5", 5, 0),
        ("skip_connect", 5, 1),
    ],
    "reduce_concat": [2, 3, 4, 5],
}


def text_of(fields, before="", call="Genotype"):
    arguments = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    return f"{before}\nmine = {call}({arguments})\n"


def nested(layout, group):
    return layout | {name: group(group(layout[name][i : i + 2]) for i in range(0, 8, 2)) for name in CELLS}


def weighed(layout):
    return layout | {name: [(*edge, 0.25) for edge in layout[name]] for name in CELLS}


def swapped(layout):
    return layout | {name: [(operation, source, node) for operation, node, source in layout[name]] for name in CELLS}


POSITIONAL = f"Genotype({PAIRS['normal']}, range(2, 6), {PAIRS['reduce']}, range(2, 6))"
REORDERED = f"{PAIRS['reduce']}, {PAIRS['normal']}, range(2, 6), range(2, 6)"
OTHERS = '''
"""The genotypes of a paper."""
from __future__ import annotations
import operations
from collections import namedtuple

Genotype = namedtuple("Genotype", "normal normal_concat reduce reduce_concat")
PRIMITIVES = {"small": ["none", "skip_connect"], "large": [*range(3)]}
STEPS: int = len(PRIMITIVES)


def to_dag(gene):
    mine = Genotype([], [], [], [])
    return mine


class Decoder:
    mine = 3


if __name__ == "__main__":
    print(to_dag(None))
'''

FORMS = {
    "pairs": text_of(PAIRS),
    "a list of pairs for each node": text_of(nested(PAIRS, list)),
    "a tuple of pairs for each node": text_of(nested(PAIRS, tuple)),
    "triples": text_of(TRIPLES),
    "triples of source and node": text_of(swapped(TRIPLES)),
    "pairs with weights": text_of(weighed(PAIRS)),
    "positional": f"mine = {POSITIONAL}",
    "an expression": POSITIONAL,
    "partly positional": f"mine = Genotype({PAIRS['normal']}, [2, 3, 4, 5], reduce_concat=list(range(2, 6)), "
    f"reduce={PAIRS['reduce']})",
    "fields of another order": "Genotype = namedtuple('Genotype', 'reduce, normal, normal_concat, reduce_concat')\n"
    f"mine = Genotype({REORDERED})",
    "a list of fields": "Genotype = collections.namedtuple('Genotype', ['reduce', 'normal', 'normal_concat', "
    f"'reduce_concat'])\nmine = Genotype({REORDERED})",
    "a class of fields": "class Genotype(NamedTuple):\n    reduce: list\n    normal: list\n    normal_concat: list\n"
    f"    reduce_concat: list\nmine = Genotype({REORDERED})",
    "a module's": text_of(PAIRS, "import genotypes", call="genotypes.Genotype"),
    "annotated": f"mine: Genotype = {POSITIONAL}",
    "further fields": text_of(PAIRS | {"layout": "cell"}),
    "further fields that are code": text_of(PAIRS)[:-2] + ", layout=open('ran'), connects=None)",
    "other statements": OTHERS + text_of(PAIRS),
    "a byte order mark": "\ufeff" + text_of(PAIRS),
    "lines that end as in Windows": text_of(PAIRS).replace("\n", "\r\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_cell_is_read_from_every_form_of_file(tmp_path, form):
    file = tmp_path / "genotypes.py"
    file.write_text(FORMS[form], encoding="utf-8", newline="")
    name, genotype = load_genotype(str(file))
    assert genotype == DARTS_V2
    assert name == (tmp_path.name if form == "an expression" else "mine")
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert sorted(tmp_path.iterdir()) == [file]


def test_a_text_that_a_search_printed_is_read_from_a_file_of_any_name(tmp_path):
    (tmp_path / "architecture.txt").write_text(POSITIONAL)
    assert load_genotype(str(tmp_path / "architecture.txt")) == (tmp_path.name, DARTS_V2)
    (tmp_path / "found.txt").write_text(f"first = {POSITIONAL}\nsecond = {POSITIONAL}\n")
    assert load_genotype(f"{tmp_path / 'found.txt'}:second") == ("second", DARTS_V2)
    with pytest.raises(RunError, match=r"several genotypes; write :NAME behind its path, out of first, second$"):
        load_genotype(str(tmp_path / "found.txt"))


@pytest.mark.parametrize(
    "change",
    [
        "mine = changed(mine)",
        "mine += (1,)",
        "del mine",
        "for mine in range(3): pass",
        "if x:\n    mine = None",
        "def mine(): pass",
        "class mine: pass",
        "import x as y\nmine, other = Genotype([], [], [], [])",
    ],
)
def test_a_name_that_code_goes_on_to_change_is_no_genotype(change):
    with pytest.raises(ValueError, match=r"no genotype mine; write :NAME behind its path, out of kept$"):
        from_python(f"mine = {POSITIONAL}\nkept = {POSITIONAL}\n{change}\n", "mine")


# A node that no edge enters


def test_fair_darts_c_has_its_published_sizes():
    genotype = from_layout(FAIR_DARTS_C)
    assert [len(cell.nodes) for cell in genotype.cells.values()] == [3, 4]
    cost = network_cost(genotype)
    assert cost.parameters == 2_598_814
    assert cost.parameters_with_auxiliary_head == 3_075_240
    assert cost.conv_linear_macs == 399_987_936


@st.composite
def with_isolated_nodes(draw):
    """A genotype, and its layout of FairDARTS with further nodes that no edge enters and edges that leave them."""
    genotype = draw(genotypes)
    layout = to_fair_darts(genotype)
    for name in CELLS:
        last = max(node for _, node, _ in layout[name])
        shift, number = {0: 0, 1: 1}, 2
        isolated = []
        for node in range(2, last + 1):
            if draw(st.booleans()):
                isolated.append(number)
                number += 1
            shift[node] = number
            number += 1
        layout[name] = [[operation, shift[node], shift[source]] for operation, node, source in layout[name]]
        for node in isolated:
            readers = draw(st.lists(st.integers(node + 1, number - 1), max_size=2))
            layout[name] += [["skip_connect", reader, node] for reader in readers]
        layout[f"{name}_concat"] = [shift[state] for state in layout[f"{name}_concat"]] + draw(
            st.lists(st.sampled_from(isolated), unique=True) if isolated else st.just([])
        )
    return genotype, layout


@given(with_isolated_nodes())
def test_a_node_that_no_edge_enters_is_left_out_with_the_edges_that_leave_it(pair):
    genotype, layout = pair
    assert from_layout(layout) == genotype
    assert from_python(to_python(layout)) == ("genotype", genotype)


def test_a_node_whose_edges_all_leave_isolated_nodes_is_left_out_too():
    chain = [("skip_connect", 4, 3), ("sep_conv_3x3", 5, 4), ("skip_connect", 6, 0)]
    layout = {"normal": chain, "normal_concat": [2, 3, 4, 5, 6], "reduce": chain, "reduce_concat": [6]}
    assert from_layout(layout) == Genotype(*[Cell(((Edge("skip_connect", 0),),), (2,))] * 2)
    groups = layout | {"normal": [[], [], [("skip_connect", 2)], [("skip_connect", 4)], [("skip_connect", 0)]]}
    assert from_layout(groups) == from_layout(layout)


# none as an operation of a kept edge


def test_a_cell_of_none_and_skips_computes_what_its_definition_says():
    cell = Cell(((Edge("none", 0), Edge("none", 1)), (Edge("skip_connect", 0), Edge("none", 2))), (2, 3))
    network = Network(Genotype(cell, DARTS_V2.reduction), channels=4, layers=3).eval()
    first = network.cells[0]
    before, last = torch.rand(2, 12, 8, 8), torch.rand(2, 12, 8, 8)
    zeros, second = first(before, last, 0.0).chunk(2, dim=1)
    assert torch.count_nonzero(zeros) == 0
    assert torch.equal(second, first.inputs[0](before))


def test_a_network_of_kept_none_passes_finite_gradients_to_its_first_layer():
    network = Network(LRNAS, channels=4, layers=3, auxiliary=True)
    network.drop_path_probability = 0.2
    logits, auxiliary = network.forward_with_auxiliary(torch.rand(4, 3, 8, 8))
    F.cross_entropy(logits + auxiliary, torch.arange(4)).backward()
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
    assert torch.count_nonzero(network.stem[0].weight.grad) > 0


def test_a_cell_with_none_is_drawn_with_a_box_for_each():
    figure = draw_cell(LRNAS.reduction)
    assert [text.get_text() for text in figure.texts + figure.findobj(lambda x: hasattr(x, "get_text"))].count(
        "none"
    ) >= 2


def test_a_space_of_two_inputs_derives_no_cell_with_none_and_says_so():
    space = SearchSpace(
        operations=("none", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "max_pool_3x3", "avg_pool_3x3")
    )
    supernet = Supernet(space, channels=2, layers=3)
    for refuse in (space.check_member, space.one_hot, lambda genotype: inherit(supernet, genotype)):
        with pytest.raises(ValueError, match=r"not one of the space: .* operations skip_connect, sep"):
            refuse(LRNAS)
    space.check_member(PUBLISHED["DARTS_V1"].genotype)


# Evil files


CALL = "x = Genotype({}, [2], [('skip_connect', 0), ('skip_connect', 1)], [2])"
EVIL = {
    "brackets": "(" * 400_000,
    "brackets in a genotype": CALL.format("[" * 400_000 + "]" * 400_000),
    "brackets that the parser takes": CALL.format("[" * 150 + "]" * 150),
    "signs": CALL.format("-" * 300_000 + "1"),
    "attributes": CALL.format("a" + ".b" * 200_000),
    "attributes that the parser takes": CALL.format("a" + ".b" * 3000),
    "sums": CALL.format("+".join("1" * 100_000)),
    "digits": CALL.format("[('skip_connect', " + "9" * 100_000 + ")]"),
    "hexadecimal digits": CALL.format("[('skip_connect', 0x" + "f" * 100_000 + "), ('skip_connect', 0)]"),
    "a long name": CALL.format("[('" + "x" * 500_000 + "', 0), ('skip_connect', 0)]"),
    "a name with escapes": CALL.format(r"[('\x1b[2J\n', 0), ('skip_connect', 0)]"),
    "many edges": CALL.format("[" + "(1, 2, 3)," * 40_000 + "]"),
    "many fields": "x = Genotype(" + ",".join(f"a{i}=1" for i in range(40_000)) + ")",
    "a long range": CALL.format("range(10 ** 9)"),
    "ranges": CALL.format("range(0, 10000000000000000000000000)"),
    "calls": CALL.format("list(" * 90 + "[]" + ")" * 90),
    "another call": CALL.format("eval('1')"),
    "a comprehension": CALL.format("[('skip_connect', i) for i in range(2)]"),
    "no number of a state": CALL.format("[('skip_connect', None), ('skip_connect', 0)]"),
    "a fraction as a state": CALL.format("[('skip_connect', 0.5), ('skip_connect', 0)]"),
    "a set": CALL.format("{('skip_connect', 0), ('skip_connect', 1)}"),
    "bytes": CALL.format("[(b'skip_connect', 0), (b'skip_connect', 1)]"),
    "not a list": CALL.format("3"),
    "nothing": CALL.format("None"),
    "a null byte": CALL.format("[]") + "\0",
}


@pytest.mark.parametrize("evil", EVIL)
def test_an_evil_file_is_refused_in_one_short_line_and_soon(tmp_path, evil):
    file = tmp_path / "genotypes.py"
    file.write_text(EVIL[evil])
    start = time.process_time()
    with pytest.raises(RunError) as caught:
        load_genotype(str(file))
    line = str(caught.value).removeprefix(str(file))
    assert "\n" not in line
    assert line.isprintable()
    assert len(line) < 500
    assert time.process_time() - start < 10
