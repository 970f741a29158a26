"""A genotype is valid or does not exist, and survives being written and read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_space import PUBLISHED, Cell, Edge, Genotype
from tests.support.cells.genotypes import genotypes


@given(genotypes)
def test_json_there_and_back_gives_the_same_genotype(genotype):
    assert Genotype.from_json(genotype.to_json()) == genotype


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_darts_layout_there_and_back_gives_the_same_genotype(name):
    genotype = PUBLISHED[name].genotype
    assert Genotype.from_darts(json.loads(json.dumps(genotype.to_darts()))) == genotype


def test_darts_layout_refuses_a_node_with_three_edges():
    cell = Cell(((Edge("skip_connect", 0),) * 3,), (2,))
    with pytest.raises(ValueError, match="two edges a node"):
        Genotype(cell, cell).to_darts()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
        max_leaves=20,
    )
)
def test_any_json_that_is_not_a_genotype_is_a_value_error(content):
    with pytest.raises(ValueError, match=r"expected|version"):
        Genotype.from_json(json.dumps(content))


def broken(change):
    content = json.loads(PUBLISHED["DARTS_V2"].genotype.to_json())
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=2), "version 1 expected, found 2"),
        (lambda c: c.update(format="cell"), '"format": "genotype"'),
        (lambda c: c.pop("reduction"), "reduction: expected an object"),
        (lambda c: c["normal"].update(nodes=[]), "at least one node"),
        (lambda c: c["normal"]["nodes"].__setitem__(0, []), "node 2 has no edge"),
        (lambda c: c["normal"]["nodes"][0].__setitem__(0, ["conv_9x9", 0]), "unknown operation 'conv_9x9'; known are"),
        (lambda c: c["normal"]["nodes"][0].__setitem__(0, ["skip_connect", 2]), "only states 0 to 1 come before"),
        (lambda c: c["normal"]["nodes"][0].__setitem__(0, ["skip_connect", -1]), "the number of a state, found -1"),
        (lambda c: c["normal"]["nodes"][0].__setitem__(0, ["skip_connect", True]), "the number of a state, found True"),
        (lambda c: c["normal"]["nodes"][0].__setitem__(0, "skip_connect"), r"an edge is \[operation, source\]"),
        (lambda c: c["reduction"].update(concat=[2, 2]), "names each output node once"),
        (lambda c: c["reduction"].update(concat=[1]), "from 2 to 5"),
        (lambda c: c["reduction"].update(concat=["2"]), "a whole number from 0 up"),
        (lambda c: c["reduction"].update(concat=[]), "names each output node once"),
    ],
)
def test_what_is_wrong_with_a_genotype_file_is_said(change, message):
    with pytest.raises(ValueError, match=message):
        Genotype.from_json(broken(change))


def test_text_that_is_not_json_is_a_value_error():
    for text in ("", "{", "[" * 100_000):
        with pytest.raises(ValueError, match="JSON"):
            Genotype.from_json(text)
