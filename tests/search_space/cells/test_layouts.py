"""Genotypes in the layouts of other projects, there and back, and read without being executed."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RunError
from pipeline.networks.genotype_reference import load_genotype
from search_space import PUBLISHED, Cell, Edge, Genotype, network_cost
from search_space.cells.formats import from_layout, from_python, to_fair_darts, to_python
from search_space.cells.genotype import OPERATION_NAMES
from tests.support.cells.genotypes import genotypes, one_input_genotypes

# Published in the repository of FairDARTS (Chu et al. 2020) with 373 M multiply-accumulates and 2.83 M parameters, and
# 536 M and 3.88 M; edges are (operation, node, source). No edge enters node 3 of the first.
FAIR_DARTS = """
from collections import namedtuple
Genotype = namedtuple('Genotype', 'normal normal_concat reduce reduce_concat')
PRIMITIVES = ['max_pool_3x3', 'skip_connect']
FairDARTS_a = Genotype(
    normal=[('sep_conv_3x3', 2, 0), ('sep_conv_5x5', 2, 1), ('max_pool_3x3', 4, 0), ('sep_conv_3x3', 5, 0)],
    normal_concat=range(2, 6),
    reduce=[('max_pool_3x3', 2, 0), ('avg_pool_3x3', 2, 1), ('avg_pool_3x3', 3, 0), ('dil_conv_5x5', 3, 1),
            ('avg_pool_3x3', 4, 0), ('sep_conv_5x5', 4, 1), ('skip_connect', 5, 0), ('skip_connect', 5, 1)],
    reduce_concat=range(2, 6))
FairDARTS_b = Genotype(
    normal=[('sep_conv_3x3', 2, 0), ('sep_conv_3x3', 2, 1), ('sep_conv_3x3', 3, 1), ('dil_conv_3x3', 4, 0),
            ('sep_conv_5x5', 4, 1), ('dil_conv_5x5', 5, 1)],
    normal_concat=range(2, 6),
    reduce=[('skip_connect', 2, 0), ('dil_conv_3x3', 2, 1), ('skip_connect', 3, 0), ('dil_conv_3x3', 3, 1),
            ('max_pool_3x3', 4, 0), ('sep_conv_3x3', 4, 1), ('skip_connect', 5, 2), ('max_pool_3x3', 5, 0)],
    reduce_concat=range(2, 6))
BEST = FairDARTS_b
"""


@st.composite
def cells_of_pairs(draw):
    edges = [st.builds(Edge, st.sampled_from(OPERATION_NAMES), st.integers(0, state - 1)) for state in range(2, 6)]
    nodes = tuple((draw(edge), draw(edge)) for edge in edges[: draw(st.integers(1, 4))])
    concat = draw(st.lists(st.integers(2, 1 + len(nodes)), min_size=1, unique=True))
    return Cell(nodes, tuple(concat))


@given(genotypes)
def test_triples_there_and_back_as_python_text_give_the_same_genotype(genotype):
    assert from_layout(to_fair_darts(genotype)) == genotype
    assert from_python(to_python(to_fair_darts(genotype))) == ("genotype", genotype)


@given(st.builds(Genotype, cells_of_pairs(), cells_of_pairs()))
def test_pairs_there_and_back_as_python_text_give_the_same_genotype(genotype):
    assert from_python(to_python(genotype.to_darts())) == ("genotype", genotype)


@given(one_input_genotypes())
def test_a_string_of_nasbench201_and_json_there_and_back_give_the_same_genotype(genotype):
    assert Genotype.from_nasbench201(genotype.to_nasbench201()) == genotype
    assert Genotype.from_json(genotype.to_json()) == genotype


@given(genotypes)
def test_the_pairs_of_darts_say_a_genotype_or_refuse_it(genotype):
    if all(len(edges) == 2 for cell in genotype.cells.values() for edges in cell.nodes):
        assert Genotype.from_darts(genotype.to_darts()) == genotype
    else:
        with pytest.raises(ValueError, match="two edges a node"):
            genotype.to_darts()
    with pytest.raises(ValueError, match="one cell of one input"):
        genotype.to_nasbench201()


@given(one_input_genotypes())
def test_layouts_of_two_cells_refuse_a_genotype_of_one(genotype):
    for layout in (Genotype.to_darts, to_fair_darts):
        with pytest.raises(ValueError, match="this genotype has one cell"):
            layout(genotype)


def test_the_order_of_a_nodes_edges_in_nasbench201_makes_no_other_genotype():
    swapped = Genotype.from_nasbench201("|nor_conv_3x3~0|+|none~1|skip_connect~0|")
    assert swapped == Genotype.from_nasbench201("|nor_conv_3x3~0|+|skip_connect~0|none~1|")
    assert swapped.to_nasbench201() == "|nor_conv_3x3~0|+|skip_connect~0|none~1|"


@pytest.mark.parametrize("write", [Genotype.to_darts, to_fair_darts])
def test_python_itself_reads_the_text_as_the_layout(write):
    layout = write(PUBLISHED["NASNet"].genotype)
    namespace = {}
    exec(to_python(layout), namespace)  # noqa: S102 - our own text, read as its users do
    found = namespace["genotype"]._asdict()
    assert {name: [list(x) if isinstance(x, tuple) else x for x in items] for name, items in found.items()} == layout


def test_fair_darts_as_published_has_its_published_sizes():
    first, second = (from_python(FAIR_DARTS, f"FairDARTS_{letter}")[1] for letter in "ab")
    assert [len(cell.nodes) for cell in first.cells.values()] == [3, 4]
    assert network_cost(first).parameters_with_auxiliary_head // 10_000 == 283
    assert network_cost(second).parameters_with_auxiliary_head // 10_000 == 388
    assert network_cost(first).conv_linear_macs == pytest.approx(373e6, rel=0.005)
    assert network_cost(second).conv_linear_macs // 1_000_000 == 536


def test_node_and_source_of_a_triple_may_change_places():
    _, genotype = from_python(FAIR_DARTS, "FairDARTS_b")
    layout = to_fair_darts(genotype)
    for name in ("normal", "reduce"):
        layout[name] = [[operation, source, node] for operation, node, source in layout[name]]
    assert from_layout(layout) == genotype


def test_a_second_name_and_another_form_of_a_file_are_read():
    assert from_python(FAIR_DARTS, "BEST") == ("BEST", from_python(FAIR_DARTS, "FairDARTS_b")[1])
    layout = PUBLISHED["DARTS_V2"].genotype.to_darts()
    text = f"Genotype(normal={layout['normal']}, normal_concat=list(range(2, 6)), reduce={layout['reduce']}, "
    assert from_python(text + "reduce_concat=(2, 3, 4, 5))") == ("genotype", PUBLISHED["DARTS_V2"].genotype)


def test_a_file_serves_as_genotype_with_the_name_in_it(tmp_path):
    path = tmp_path / "genotypes.py"
    path.write_text(FAIR_DARTS)
    assert load_genotype(f"{path}:FairDARTS_a")[0] == "FairDARTS_a"
    with pytest.raises(RunError, match="several genotypes; write :NAME behind its path, out of FairDARTS_a, Fair"):
        load_genotype(str(path))
    with pytest.raises(RunError, match="no genotype DARTS; write :NAME"):
        load_genotype(f"{path}:DARTS")
    genotype = PUBLISHED["PDARTS"].genotype
    path.write_text(to_python(genotype.to_darts()))
    assert load_genotype(str(path)) == (tmp_path.name, genotype)
    string = tmp_path / "genotype_nasbench201.txt"
    string.write_text("|nor_conv_3x3~0|\n")
    assert load_genotype(str(string)) == (tmp_path.name, Genotype.from_nasbench201("|nor_conv_3x3~0|"))


def darts_text(reduce):
    skips = "normal=[('skip_connect', 0), ('skip_connect', 1)], normal_concat=[2]"
    return f"x = Genotype({skips}, reduce={reduce}, reduce_concat=[2])"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is none"),
        ("x = 3", "there is none"),
        ("def f(:", "expected Python text"),
        ("(" * 500, "expected Python text"),
        ("x = 1 + y", "there is none"),
        ("x = A", "there is none"),
        ("class Genotype:\n    pass", "there is none"),
        ("x = y = Genotype()", "several genotypes; write :NAME behind its path, out of x, y"),
        ("Genotype(1)", r"line 1: expected the fields normal, normal_concat.*; found \['normal'\]"),
        ("Genotype(*[1])", "line 1: expected"),
        ("Genotype(**{})", r"line 1: expected .* each once; found \[None\]"),
        ("Genotype([], [], normal=[])", r"each once; found \['normal', 'normal_concat', 'normal'\]"),
        ("Genotype(1, 2, 3, 4, 5)", r"expected at most 4 arguments \(normal, .*\), found 5"),
        ("x = Genotype(normal=[])", r"x in line 1: expected the fields normal.*; found \['normal'\]"),
        ("x = Genotype(normal=f(), normal_concat=[], reduce=[], reduce_concat=[])", "found 'f\\(\\)'"),
        (darts_text("range(2, 1000000000)"), "nothing is executed"),
        (darts_text("range(3.5, 4)"), "nothing is executed"),
        (darts_text("range(2, 4, 0)"), "x in line 1: .*must not be zero"),
        (darts_text("[(1, 0), (2, 0)]"), r"reduce cell: an edge is \(operation, source\), found \(1, 0\)"),
        (darts_text("[('skip_connect', 0)]"), "reduce cell: expected two edges a node, found 1 edges"),
        (darts_text("[('skip_connect', 0), ('skip_connect', 2)]"), "node 2 reads state 2; only states 0 to 1 come"),
        (darts_text("[[('skip_connect', 0)], 2]"), "reduce cell: expected a list of edges for each"),
        (darts_text("[[('skip_connect', 0)], [('skip_connect', 9)]]"), "node 3 reads state 9; only states 0 to 2 come"),
        (darts_text("[[('skip_connect', 3)], [('skip_connect', 0)]]"), "node 2 reads state 3; only states 0 to 1 come"),
        (darts_text("[('skip_connect', 0), ('skip_connect', 1)]").replace("[2])", "[5])"), "state 5; the nodes are 2"),
        (darts_text("[('skip_connect', 0), ('skip_connect', 1)]").replace("[2])", "['2'])"), "a whole number from 0"),
        (darts_text("[('conv_9x9', 0), ('skip_connect', 1)]"), "unknown operation 'conv_9x9'"),
        (darts_text("[('skip_connect', 2, 0), ('skip_connect', 1)]"), "reduce cell: an edge is \\(operation, node"),
    ],
)
def test_what_is_wrong_with_python_text_is_said(text, message):
    with pytest.raises(ValueError, match=message):
        from_python(text)


TRIPLES = {"normal": [["skip_connect", 2, 0]], "normal_concat": [2], "reduce_concat": [2]}


@pytest.mark.parametrize(
    ("reduce", "message"),
    [
        ([["skip_connect", 2, 2]], "only states 0 to 1 come before"),
        ([["skip_connect", 1, 0]], "nodes are numbered from 2"),
        ([["skip_connect", 2, -1]], "states from 0 up"),
        ([["skip_connect", 2, True]], "states from 0 up"),
        ([["skip_connect", 4, 3]], "at least one node"),
        ([["conv_9x9", 4, 3]], "unknown operation 'conv_9x9'"),
        ([], "concat names state 2; the nodes are none"),
        ("skip", "expected a list of edges and one of states"),
    ],
)
def test_what_is_wrong_with_triples_is_said_with_their_cell(reduce, message):
    with pytest.raises(ValueError, match=f"^reduce cell: .*{message}"):
        from_layout(TRIPLES | {"reduce": reduce})


@pytest.mark.parametrize(
    "planted",
    [
        "good = Genotype(normal=[open({path!r}, 'w')], normal_concat=[2], reduce=[], reduce_concat=[2])",
        "good = Genotype(normal=[], normal_concat=range(open({path!r}, 'w').write('1')), reduce=[], reduce_concat=[2])",
        "good = Genotype([('skip_connect', 0), *open({path!r}, 'w')], [2], [], [2])",
        "good = Genotype(f\"{{open({path!r}, 'w')}}\", [2], [], [2])",
    ],
)
def test_code_in_a_genotype_is_refused_and_not_run(tmp_path, planted):
    file = tmp_path / "genotypes.py"
    file.write_text(textwrap.dedent(FAIR_DARTS) + planted.format(path=str(tmp_path / "ran")) + "\n")
    with pytest.raises(RunError, match=r"genotypes\.py: good in line .*nothing is executed"):
        load_genotype(f"{file}:good")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "planted",
    [
        "open({path!r}, 'w').write('x')",
        "x = open({path!r}, 'w')",
        "x = __import__('pathlib').Path({path!r}).touch()",
        "@open({path!r}, 'w').write\ndef f(): ...",
        "def f(x=open({path!r}, 'w')): ...",
        "class A(open({path!r}, 'w')): ...",
        "for x in open({path!r}, 'w'): ...",
        "Genotype = [open({path!r}, 'w') for x in 'a']",
        "FairDARTS_b = open({path!r}, 'w')",
    ],
)
def test_code_beside_a_genotype_is_passed_over_and_not_run(tmp_path, planted):
    file = tmp_path / "genotypes.py"
    file.write_text(textwrap.dedent(FAIR_DARTS) + planted.format(path=str(tmp_path / "ran")) + "\n")
    assert load_genotype(f"{file}:FairDARTS_a")[1] == from_python(FAIR_DARTS, "FairDARTS_a")[1]
    assert not (tmp_path / "ran").exists()
