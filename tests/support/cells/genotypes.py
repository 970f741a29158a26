"""Genotypes as Hypothesis draws them, and a small one for what is trained."""

from hypothesis import strategies as st

from search_space import Cell, Edge, Genotype
from search_space.cells.genotype import OPERATION_NAMES
from tests.support.scripts import SMALL_CELL_FILE

SMALL_GENOTYPE = Genotype.from_json(SMALL_CELL_FILE.read_text())


@st.composite
def cells(draw):
    nodes = []
    for state in range(2, 2 + draw(st.integers(1, 6))):
        edges = st.builds(Edge, st.sampled_from((*OPERATION_NAMES, "none")), st.integers(0, state - 1))
        nodes.append(tuple(draw(st.lists(edges, min_size=1, max_size=4))))
    concat = draw(st.lists(st.integers(2, 1 + len(nodes)), min_size=1, unique=True))
    return Cell(tuple(nodes), tuple(concat))


genotypes = st.builds(Genotype, cells(), cells())


@st.composite
def one_input_genotypes(draw):
    names = st.sampled_from((*OPERATION_NAMES, "none"))
    orders = [draw(st.permutations(range(state))) for state in range(1, 1 + draw(st.integers(1, 4)))]
    nodes = [tuple(Edge(draw(names), source) for source in order) for order in orders]
    return Genotype(Cell(tuple(nodes), (len(nodes),), inputs=1), None)
