"""The canonical form of a cell: one text for all cells that compute the same function of their inputs.

Different genotypes can describe one network: a skip is the state that it copies, an operation on zeros adds nothing, a
node that nothing reads can be anything, and the order of equal nodes is of no matter. NAS-Bench-201's 15,625 cells are
6,466 by its authors' account, which keeps the zeros as terms of a sum (Dong & Yang 2020, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product
from math import factorial, prod

from search_space.cells.genotype import BLOCKING, CELL_INPUTS, Cell, Edge, Genotype

WITHOUT_WEIGHTS = frozenset({"none", "max_pool_3x3", "avg_pool_3x3"})
"""Operations that give the same output wherever they are applied to the same state; of others each has its weights."""

MOST_ORDERS = 50_000
ZERO = "0"
Value = tuple[str, ...]  # terms of a sum, sorted


def canonical_form(genotype: Genotype) -> str:
    """Return the text that this genotype shares with all that compute the same function, and with no others.

    Equal texts mean that the weights of one network can be put into the other so that both give the same logits. Cells
    count as equal when they are after these steps: operations on zeros are left out (none, and whatever reads only
    none; the shift of a batch norm there is taken as zero, which it is at first), skips of stride 1 are replaced by
    what they copy, nodes that nothing reads are dropped, and neither the order of a sum nor that of nodes counts, since
    the layer that reads a cell's output can be permuted with it. Two uses of one node differ from two nodes of the same
    operations, which have weights each.
    Raises ValueError for cells with so many equal nodes that their orders cannot be compared.

    >>> a = Genotype.from_nasbench201("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|")
    >>> b = Genotype.from_nasbench201("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|")
    >>> canonical_form(a) == canonical_form(b)
    True
    """
    return " / ".join(_cell_form(cell, reduces=name == "reduction") for name, cell in genotype.cells.items())


def _cell_form(cell: Cell, *, reduces: bool) -> str:
    """Return the smallest text of the cell over all numbers of the edges that could be taken for one another."""
    alike = _alike(cell, reduces)
    orders = prod(factorial(len(edges)) for edges in alike)
    if orders > MOST_ORDERS:
        raise ValueError(
            f"a canonical form compares all orders of a cell's equal edges, at most {MOST_ORDERS:,}; this cell of "
            f"{len(cell.edges)} edges has {orders:,}"
        )
    return min(_output(cell, reduces, numbers) for numbers in _numberings(alike))


def _alike(cell: Cell, reduces: bool) -> list[list[int]]:
    """Return the edges whose own weights the output depends on, those together that do the same to the same."""
    values = _values(cell, reduces, {})
    read = _read(cell, values)
    alike: dict[str, list[int]] = {}
    for place, (node, edge) in enumerate(_edges(cell)):
        if node in read and _has_weights(edge, reduces):
            for term in _term(edge, reduces, values, ""):
                alike.setdefault(term, []).append(place)
    return list(alike.values())


def _read(cell: Cell, values: Sequence[Value]) -> set[int]:
    """Return the states that the output depends on."""
    read = set(cell.concat)
    for node, edge in reversed(list(_edges(cell))):
        if node in read and edge.operation not in BLOCKING and values[edge.source]:
            read.add(edge.source)
    return read


def _edges(cell: Cell) -> Iterator[tuple[int, Edge]]:
    """Yield each edge with the node that it enters, node by node."""
    for node, edges in enumerate(cell.nodes, start=cell.inputs):
        yield from ((node, edge) for edge in edges)


def _numberings(alike: Sequence[Sequence[int]]) -> Iterator[dict[int, str]]:
    """Yield every way to number edges that are alike from 1; one that has no like gets no number."""
    for orders in product(*map(permutations, alike)):
        yield {edge: f"#{number}" for edges in orders if len(edges) > 1 for number, edge in enumerate(edges, start=1)}


def _output(cell: Cell, reduces: bool, numbers: Mapping[int, str]) -> str:
    values = _values(cell, reduces, numbers)
    return ", ".join(sorted(" + ".join(values[state]) or ZERO for state in cell.concat))


def _values(cell: Cell, reduces: bool, numbers: Mapping[int, str]) -> list[Value]:
    """Return the terms whose sum each state is.  numbers: of edges, written behind the operation."""
    values: list[Value] = [(f"in{state}",) for state in range(cell.inputs)]
    values += [()] * len(cell.nodes)
    for place, (node, edge) in enumerate(_edges(cell)):
        values[node] = tuple(sorted(values[node] + _term(edge, reduces, values, numbers.get(place, ""))))
    return values


def _term(edge: Edge, reduces: bool, values: Sequence[Value], number: str) -> Value:
    """Return what the edge adds to its node: nothing, what it copies, or one term."""
    if edge.operation == "noise":
        return (f"noise{number}()",)
    if edge.operation == "none" or not values[edge.source] or _copies(edge, reduces):
        return values[edge.source] if _copies(edge, reduces) else ()
    return (f"{edge.operation}{number}({' + '.join(values[edge.source])})",)


def _copies(edge: Edge, reduces: bool) -> bool:
    """Return whether the edge gives on what it reads; a skip that halves the resolution has weights."""
    return edge.operation == "skip_connect" and not (reduces and edge.source < CELL_INPUTS)


def _has_weights(edge: Edge, reduces: bool) -> bool:
    """Return whether two such edges from one state can differ, by weights or by what they draw."""
    return edge.operation not in WITHOUT_WEIGHTS and not _copies(edge, reduces)
