"""A cell architecture as a value: validated when it is made, immutable afterwards, stored as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import Any

FORMAT_VERSION = 1
CELL_INPUTS = 2  # states 0 and 1 of a DARTS cell are the outputs of the two cells before it

OPERATION_NAMES = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "conv_7x1_1x7",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "noise",
)
"""What an edge of a genotype may hold beside `none`, which is no connection.

A search of DARTS's spaces leaves an edge of `none` out. NAS-Bench-201 keeps all edges, and some cells of others hold it
too: a node that only such edges enter is zero and yet takes its place in the output.
"""

BLOCKING = frozenset({"none", "noise"})
"""Operations whose output does not depend on what they are applied to."""


@dataclass(frozen=True, order=True)
class Edge:
    """One operation applied to one earlier state of the cell."""

    operation: str
    source: int

    def __post_init__(self) -> None:
        if self.operation not in (*OPERATION_NAMES, "none"):
            raise ValueError(_unknown(self.operation))
        if not _is_index(self.source):
            raise ValueError(f"an edge's source is the number of a state, found {shortened(self.source)}")


@dataclass(frozen=True)
class Cell:
    """A directed acyclic graph: the first states are inputs, each node is one more, the sum of the edges that enter it.

    nodes: the edges that enter each node.  concat: the states that form the cell's output, concatenated.
    inputs: 2, the outputs of the two cells before (DARTS), or 1, that of the cell before (NAS-Bench-201), where the
    edges of a node are kept in the order of their sources, as in the benchmark's strings.
    """

    nodes: tuple[tuple[Edge, ...], ...]
    concat: tuple[int, ...]
    inputs: int = CELL_INPUTS

    def __post_init__(self) -> None:
        if self.inputs not in (1, CELL_INPUTS):
            raise ValueError(f"a cell has one or two inputs, found inputs={self.inputs!r}")
        if not self.nodes:
            raise ValueError("a cell needs at least one node")
        if self.inputs == 1:
            ordered = (tuple(sorted(edges, key=lambda edge: edge.source)) for edges in self.nodes)
            object.__setattr__(self, "nodes", tuple(ordered))
        for state, edges in enumerate(self.nodes, start=self.inputs):
            if not edges:
                raise ValueError(f"node {state} has no edge that enters it")
            for edge in edges:
                if edge.source >= state:
                    raise ValueError(
                        f"node {state} reads state {edge.source}; only states 0 to {state - 1} come before it"
                    )
        states = range(self.inputs, self.inputs + len(self.nodes))
        if not self.concat or len(set(self.concat)) != len(self.concat) or not set(self.concat) <= set(states):
            raise ValueError(
                f"concat names each output node once, from {states[0]} to {states[-1]}; "
                f"found {shortened(list(self.concat))}"
            )

    @property
    def edges(self) -> tuple[Edge, ...]:
        """List all edges, node by node."""
        return tuple(edge for edges in self.nodes for edge in edges)

    def passes_on(self, *inputs: bool) -> bool:
        """Whether the output depends on the images, given whether each input does: none and noise pass nothing on."""
        reached = list(inputs)
        for edges in self.nodes:
            reached.append(any(reached[edge.source] and edge.operation not in BLOCKING for edge in edges))
        return any(reached[state] for state in self.concat)

    @property
    def width(self) -> int:
        """Return the number of concatenated states: the cell's output has this many times its channels."""
        return len(self.concat)


@dataclass(frozen=True)
class Genotype:
    """A normal cell and a reduction cell, which halves the resolution; a network is a stack of both.

    A genotype of NAS-Bench-201 has one kind of cell, of one input: its reduction is None, and residual blocks halve the
    resolution of its network (Dong & Yang 2020).
    """

    normal: Cell
    reduction: Cell | None

    def __post_init__(self) -> None:
        inputs = [cell.inputs for cell in self.cells.values()]
        if inputs not in ([CELL_INPUTS] * 2, [1]):
            raise ValueError(
                f"a genotype is two cells of two inputs, or one of one input; found cells of {inputs} inputs"
            )
        if inputs == [1] and self.normal.concat != (len(self.normal.nodes),):
            raise ValueError(
                f"the output of a cell of one input is its last node, {len(self.normal.nodes)}; "
                f"found {list(self.normal.concat)}"
            )

    @property
    def cells(self) -> dict[str, Cell]:
        """Return the kinds of cells by name, in the order of the alphas: normal and reduction, or normal alone."""
        return {"normal": self.normal} | ({} if self.reduction is None else {"reduction": self.reduction})

    @property
    def widths(self) -> tuple[int, ...]:
        """Return the number of concatenated states of each kind of cell."""
        return tuple(cell.width for cell in self.cells.values())

    @property
    def operations(self) -> frozenset[str]:
        """Return the names of all operations that it holds."""
        return frozenset(edge.operation for cell in self.cells.values() for edge in cell.edges)

    def __str__(self) -> str:
        """Write a line a node, `2 = sep_conv_3x3(0) + skip_connect(1)`, below the name of each cell."""
        lines = []
        for name, cell in self.cells.items():
            lines.append(f"{name}, output {', '.join(map(str, cell.concat))}")
            for node, edges in enumerate(cell.nodes, start=cell.inputs):
                lines.append(f"  {node} = {' + '.join(f'{edge.operation}({edge.source})' for edge in edges)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from search_space.drawing.draw import cells_as_html  # matplotlib, which takes a second to import

        return cells_as_html(self.cells)

    def to_json(self) -> str:
        """JSON text with a format version; `from_json` reads it back to an equal genotype."""
        content: dict[str, Any] = {"format": "genotype", "version": FORMAT_VERSION}
        if self.reduction is None:
            content["nasbench201"] = self.to_nasbench201()
        else:
            content |= {name: _cell_to_plain(cell) for name, cell in self.cells.items()}
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Genotype:
        """Read what `to_json` wrote. Raises ValueError that names what is wrong, never anything else."""
        try:
            content = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"a genotype file holds JSON; this is not: {error}") from None
        if not isinstance(content, dict) or content.get("format") != "genotype":
            raise ValueError('expected a JSON object with "format": "genotype"')
        version = content.get("version")
        if type(version) is not int or version != FORMAT_VERSION:  # to Python, true and 1.0 equal 1
            raise ValueError(f"genotype format version {FORMAT_VERSION} expected, found {shortened(version)}")
        cells = {"nasbench201"} if "nasbench201" in content else {"normal", "reduction"}
        if unknown := sorted(content.keys() - cells - {"format", "version"}):
            found = shortened(unknown[0])
            raise ValueError(f"expected {', '.join(sorted(cells))} beside format and version, found {found}")
        if "nasbench201" in content:
            return cls.from_nasbench201(content["nasbench201"])
        return cls(
            normal=_cell_from_plain(content.get("normal"), "normal"),
            reduction=_cell_from_plain(content.get("reduction"), "reduction"),
        )

    def to_nasbench201(self) -> str:
        """NAS-Bench-201's string: nodes joined by +, each its edges `operation~source` between bars.

        Raises ValueError for a genotype of two kinds of cells, which that form cannot say.
        """
        if self.reduction is not None:
            raise ValueError("NAS-Bench-201's string is for one cell of one input; this genotype has two of two")
        nodes = ("".join(f"|{edge.operation}~{edge.source}" for edge in edges) for edges in self.normal.nodes)
        return "+".join(f"{node}|" for node in nodes)

    @classmethod
    def from_nasbench201(cls, text: str) -> Genotype:
        """Read NAS-Bench-201's string, such as `|nor_conv_3x3~0|+|none~0|skip_connect~1|+|...|`."""
        nodes = text.split("+") if isinstance(text, str) else []
        if not nodes or not all(re.fullmatch(r"(\|[a-z0-9_]+~[0-9]{1,4})+\|", node) for node in nodes):
            raise ValueError(
                f"expected a string such as |nor_conv_3x3~0|+|none~0|skip_connect~1|, found {shortened(text)}"
            )
        pairs = ([edge.split("~") for edge in node.strip("|").split("|")] for node in nodes)
        cell = tuple(tuple(Edge(name, int(source)) for name, source in node) for node in pairs)
        return cls(Cell(cell, (len(cell),), inputs=1), None)

    def to_darts(self) -> dict[str, list[Any]]:
        """Return the layout of DARTS: flat lists of (operation, source), two edges a node.

        Raises ValueError when a node has another number of edges, or there is no reduction cell, which that layout
        cannot say.
        """
        if self.reduction is None:
            raise ValueError("the DARTS layout has a normal and a reduction cell; this genotype has one cell")
        layout: dict[str, list[Any]] = {}
        for name, cell in (("normal", self.normal), ("reduce", self.reduction)):
            if any(len(edges) != 2 for edges in cell.nodes):
                raise ValueError(f"the DARTS layout has two edges a node; the {name} cell has another number")
            layout[name] = [[edge.operation, edge.source] for edge in cell.edges]
            layout[f"{name}_concat"] = list(cell.concat)
        return layout

    @classmethod
    def from_darts(cls, layout: Mapping[str, Any]) -> Genotype:
        """Read the layout of DARTS: keys normal, normal_concat, reduce, reduce_concat; two edges a node, in order."""
        expected = {"normal", "normal_concat", "reduce", "reduce_concat"}
        if not isinstance(layout, Mapping) or set(layout) != expected:
            raise ValueError(f"expected the keys {', '.join(sorted(expected))}; found {_keys(layout)}")
        cells = []
        for name in ("normal", "reduce"):
            flat = layout[name]
            if not _is_sequence(flat) or len(flat) % 2:
                raise ValueError(f"{name}: expected a list of (operation, source), two a node")
            pairs = [flat[i : i + 2] for i in range(0, len(flat), 2)]
            cells.append(_cell_from_plain({"nodes": pairs, "concat": layout[f"{name}_concat"]}, name))
        return cls(*cells)


def _unknown(operation: str) -> str:
    return f"unknown operation {shortened(operation)}; known are {', '.join((*OPERATION_NAMES, 'none'))}"


def _cell_to_plain(cell: Cell) -> dict[str, Any]:
    nodes = [[[edge.operation, edge.source] for edge in edges] for edges in cell.nodes]
    return {"nodes": nodes, "concat": list(cell.concat)}


def _cell_from_plain(plain: Any, name: str) -> Cell:
    if not isinstance(plain, Mapping) or set(plain) != {"nodes", "concat"}:
        raise ValueError(f"{name}: expected an object with the keys nodes and concat, found {_keys(plain)}")
    try:
        nodes = tuple(tuple(_edge_from_plain(edge) for edge in _items(edges)) for edges in _items(plain["nodes"]))
        return Cell(nodes, tuple(_index(state) for state in _items(plain["concat"])))
    except ValueError as error:
        raise ValueError(f"{name} cell: {error}") from None


def _edge_from_plain(plain: Any) -> Edge:
    if not _is_sequence(plain) or len(plain) != 2 or not isinstance(plain[0], str):
        raise ValueError(f"an edge is [operation, source], found {shortened(plain)}")
    return Edge(plain[0], plain[1])


def _items(value: Any) -> Iterable[Any]:
    if not _is_sequence(value):
        raise ValueError(f"expected a list, found {shortened(value)}")
    items: Iterable[Any] = value
    return items


def _index(value: Any) -> int:
    if not _is_index(value):
        raise ValueError(f"a state is a whole number from 0 up, found {shortened(value)}")
    return int(value)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _keys(value: Any) -> str:
    return shortened(list(value)) if isinstance(value, Mapping) else type(value).__name__
