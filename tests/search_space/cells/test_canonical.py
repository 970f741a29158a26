"""The canonical form of cells: against an account of NAS-Bench-201's authors, and against what cells compute."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product

import numpy as np
import pytest
import torch

from search_space import PUBLISHED, Cell, Edge, Genotype, Network, SearchSpace
from search_space.cells.canonical import canonical_form

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
WEIGHTED = ("nor_conv_1x1", "nor_conv_3x3", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")
DISTINCT_FUNCTIONS = 5_260  # of 15,625 cells; frozen, and checked below against what cells compute


@pytest.fixture(scope="module")
def classes() -> Mapping[str, Sequence[Genotype]]:
    """All cells of NAS-Bench-201 by canonical form."""
    found = defaultdict(list)
    for a, b, c, d, e, f in product(OPERATIONS, repeat=6):
        genotype = Genotype.from_nasbench201(f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|")
        found[canonical_form(genotype)].append(genotype)
    return found


def authors_form(cell: Cell) -> str:
    """The account by which the benchmark's paper has 6,466 cells: zeros stay terms, equal operations share weights.

    The texts of terms are sorted, and a copied sum is not taken apart first, so that its signs matter: those of the
    authors' program.
    """
    states = ["0"]
    for edges in cell.nodes:
        terms = []
        for edge in edges:
            state = states[edge.source]
            is_zero = edge.operation == "none" or state == "#"
            copies = edge.operation == "skip_connect"
            terms.append("#" if is_zero else state if copies else f"({state})@{edge.operation}")
        states.append("+".join(sorted(terms)))
    return states[-1]


def outputs(cell: Cell, weights: Mapping[int, np.ndarray], inputs: Sequence[np.ndarray]) -> np.ndarray:
    """What a cell computes where operations are any functions that keep zero, in the order of their values."""
    states, edge_number = list(inputs), 0
    for edges in cell.nodes:
        total = np.zeros_like(inputs[0])
        for edge in edges:
            state = states[edge.source]
            if edge.operation in WEIGHTED:
                total = total + np.tanh(weights[edge_number] @ state * (1 + WEIGHTED.index(edge.operation)))
            elif edge.operation == "avg_pool_3x3":
                total = total + state * np.abs(state)
            elif edge.operation == "max_pool_3x3":
                total = total + np.maximum(state, 0)
            elif edge.operation == "skip_connect":
                total = total + state
            edge_number += 1
        states.append(total)
    return np.array(sorted(tuple(states[state].round(9) + 0.0) for state in cell.concat))


def mappings(ours: Cell, theirs: Cell) -> Iterator[dict[int, int]]:
    """Every way to give each weighted edge of `theirs` the weights of one of `ours` of the same operation, or none."""
    places = [
        {name: [place for place, edge in enumerate(cell.edges) if edge.operation == name] for name in WEIGHTED}
        for cell in (ours, theirs)
    ]
    spare = -1
    choices = []
    for name in WEIGHTED:
        available, wanted = places[0][name], places[1][name]
        padded = [*available, *[spare] * max(0, len(wanted) - len(available))]
        choices.append([list(zip(wanted, order, strict=True)) for order in set(permutations(padded, len(wanted)))])
    for chosen in product(*choices):
        yield {edge: source for pairs in chosen for edge, source in pairs}


def computes_the_same(ours: Cell, theirs: Cell, generator: np.random.Generator) -> bool:
    """Whether some weights of `theirs` give what `ours` gives with weights drawn at random."""
    weights = {place: generator.normal(size=(4, 4)) for place in range(len(ours.edges))}
    weights[-1] = generator.normal(size=(4, 4))
    inputs = [generator.normal(size=4) for _ in range(ours.inputs)]
    expected = outputs(ours, weights, inputs)
    return any(
        np.allclose(expected, outputs(theirs, {edge: weights[source] for edge, source in mapping.items()}, inputs))
        for mapping in mappings(ours, theirs)
    )


def test_the_benchmarks_cells_are_as_many_as_its_authors_count(classes: Mapping[str, Sequence[Genotype]]) -> None:
    assert sum(map(len, classes.values())) == 15_625
    assert len({authors_form(genotype.normal) for cells in classes.values() for genotype in cells}) == 6_466
    assert len(classes) == DISTINCT_FUNCTIONS


def test_cells_that_the_authors_call_equal_differ_by_shared_weights_alone(
    classes: Mapping[str, Sequence[Genotype]],
) -> None:
    """Our forms number edges of the same operation on the same state; without the numbers they join what authors do."""
    forms = defaultdict(set)
    for form, cells in classes.items():
        unnumbered = Counter("".join(character for character in form if character not in "#123456789 "))
        for genotype in cells:
            forms[authors_form(genotype.normal)].add(frozenset(unnumbered.items()))
    assert all(len(found) == 1 for found in forms.values())


def test_cells_of_one_form_compute_the_same(classes: Mapping[str, Sequence[Genotype]]) -> None:
    generator = np.random.default_rng(0)
    shared = [cells for cells in classes.values() if len(cells) > 1]
    for index in generator.choice(len(shared), size=60, replace=False):
        first, second = (shared[index][k].normal for k in generator.choice(len(shared[index]), 2, replace=False))
        # the one with more weighted edges may have some that nothing reads
        assert computes_the_same(first, second, generator) or computes_the_same(second, first, generator)


def test_cells_of_different_forms_compute_different_things(classes: Mapping[str, Sequence[Genotype]]) -> None:
    generator = np.random.default_rng(1)
    by_operations = defaultdict(list)
    for form, cells in classes.items():
        by_operations["".join(sorted(form))].append(cells[0])  # the same operations in another order: the hardest pairs
    pairs = [cells for cells in by_operations.values() if len(cells) > 1]
    for index in generator.choice(len(pairs), size=60):
        first, second = (pairs[index][k].normal for k in generator.choice(len(pairs[index]), 2, replace=False))
        assert not computes_the_same(first, second, generator)


def reordered(cell: Cell, order: Sequence[int]) -> Cell:
    """The cell with its nodes in another order. Nodes of it read inputs alone."""
    assert all(edge.source < cell.inputs for edge in cell.edges)
    return Cell(tuple(cell.nodes[node] for node in order), cell.concat, cell.inputs)


def test_the_order_of_nodes_of_a_darts_cell_is_of_no_matter() -> None:
    nodes = (
        (Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)),
        (Edge("max_pool_3x3", 0), Edge("sep_conv_3x3", 1)),
        (Edge("sep_conv_3x3", 0), Edge("dil_conv_3x3", 1)),
        (Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)),
    )
    cell = Cell(nodes, (2, 3, 4, 5))
    forms = {canonical_form(Genotype(reordered(cell, order), cell)) for order in permutations(range(4))}
    assert len(forms) == 1
    generator = np.random.default_rng(2)
    assert all(computes_the_same(cell, reordered(cell, order), generator) for order in permutations(range(4)))


def test_a_darts_network_gives_the_logits_of_its_equal_with_mapped_weights() -> None:
    """Two nodes change places; what reads the cell's output has its input channels permuted."""
    nodes = (
        (Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)),
        (Edge("max_pool_3x3", 0), Edge("dil_conv_3x3", 1)),
    )
    first = Cell(nodes, (2, 3))
    second = Cell((nodes[1], nodes[0]), (2, 3))
    ours, theirs = Genotype(first, first), Genotype(second, second)
    assert canonical_form(ours) == canonical_form(theirs)
    network, other = (Network(genotype, channels=4, layers=3, in_channels=1).eval() for genotype in (ours, theirs))
    state = {}
    for name, values in network.state_dict().items():
        swapped = name
        for a, b in ((0, 2), (1, 3)):
            for here, there in ((a, b), (b, a)):
                if f".operations.{here}." in name:
                    swapped = name.replace(f".operations.{here}.", f".operations.{there}.")
        layer = int(name.split(".")[1]) if name.startswith("cells.") else None
        reads_a_cell = (
            layer is not None and ".inputs." in name and values.ndim == 4
        ) or "classifier.linear.weight" in name
        from_stem = layer == 0 or (layer == 1 and ".inputs.0." in name)
        if reads_a_cell and not from_stem:
            half = values.shape[1] // 2
            values = torch.cat([values[:, half:], values[:, :half]], dim=1)
        state[swapped] = values
    other.load_state_dict(state)
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(images), other(images))


def test_a_skip_that_halves_the_resolution_has_weights() -> None:
    skip = Cell(
        ((Edge("skip_connect", 0), Edge("skip_connect", 1)), (Edge("skip_connect", 2), Edge("none", 0))), (2, 3)
    )
    form = canonical_form(Genotype(skip, skip))
    assert form == "in0 + in1, in0 + in1 / " + ", ".join(["skip_connect(in0) + skip_connect(in1)"] * 2)


def test_published_cells_have_forms_of_their_own() -> None:
    forms = defaultdict(set)
    for name, cell in PUBLISHED.items():
        forms[canonical_form(cell.genotype)].add(name)
    genotypes = {PUBLISHED[name].genotype for name in PUBLISHED}
    assert len(forms) == len(genotypes)


def test_a_cell_with_too_many_equal_edges_is_refused_with_their_number() -> None:
    node = (Edge("sep_conv_3x3", 0), Edge("sep_conv_3x3", 1))
    cell = Cell((node,) * 9, tuple(range(2, 11)))
    with pytest.raises(ValueError, match=r"at most 50,000; this cell of 18 edges has 131,681,894,400"):
        canonical_form(Genotype(cell, cell))


def test_random_cells_of_a_space_have_one_form_however_dead_parts_are_filled() -> None:
    space = SearchSpace(nodes=3, operations=OPERATIONS, family="nasbench201")
    generator = torch.Generator().manual_seed(3)
    for _ in range(50):
        nodes = [list(edges) for edges in space.random_genotype(generator).normal.nodes]
        nodes[2][2] = Edge("none", 2)  # nothing reads node 2 now
        forms = set()
        for operation in OPERATIONS:
            nodes[1] = [Edge(operation, edge.source) for edge in nodes[1]]
            forms.add(canonical_form(Genotype(Cell(tuple(map(tuple, nodes)), (3,), inputs=1), None)))
        assert len(forms) == 1
