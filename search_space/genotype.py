"""A cell architecture as a value: validated when it is made, immutable afterwards, stored as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FORMAT_VERSION = 1
CELL_INPUTS = 2  # states 0 and 1 of every cell are the outputs of the two cells before it

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
)
"""What an edge of a genotype may hold. `none` exists in a search alone: an edge that holds it is left out."""


@dataclass(frozen=True, order=True)
class Edge:
    """One operation applied to one earlier state of the cell."""

    operation: str
    source: int

    def __post_init__(self) -> None:
        if self.operation not in OPERATION_NAMES:
            raise ValueError(f"unknown operation {self.operation!r}; known are {', '.join(OPERATION_NAMES)}")
        if not _is_index(self.source):
            raise ValueError(f"an edge's source is the number of a state, found {self.source!r}")


@dataclass(frozen=True)
class Cell:
    """A directed acyclic graph: states 0 and 1 are inputs, state i + 2 is the sum of the edges of nodes[i].

    nodes: the edges that enter each intermediate node.  concat: the states that form the cell's output, concatenated.
    """

    nodes: tuple[tuple[Edge, ...], ...]
    concat: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError("a cell needs at least one node")
        for state, edges in enumerate(self.nodes, start=CELL_INPUTS):
            if not edges:
                raise ValueError(f"node {state} has no edge that enters it")
            for edge in edges:
                if edge.source >= state:
                    raise ValueError(
                        f"node {state} reads state {edge.source}; only states 0 to {state - 1} come before it"
                    )
        states = range(CELL_INPUTS, CELL_INPUTS + len(self.nodes))
        if not self.concat or len(set(self.concat)) != len(self.concat) or not set(self.concat) <= set(states):
            raise ValueError(
                f"concat names each output node once, from {states[0]} to {states[-1]}; found {list(self.concat)}"
            )

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All edges, node by node."""
        return tuple(edge for edges in self.nodes for edge in edges)

    @property
    def width(self) -> int:
        """Number of concatenated states: the cell's output has this many times its channels."""
        return len(self.concat)


@dataclass(frozen=True)
class Genotype:
    """A normal cell and a reduction cell, which halves the resolution; a network is a stack of both."""

    normal: Cell
    reduction: Cell

    def to_json(self) -> str:
        """JSON text with a format version; `from_json` reads it back to an equal genotype."""
        content = {"format": "genotype", "version": FORMAT_VERSION}
        content |= {
            name: _cell_to_plain(cell) for name, cell in (("normal", self.normal), ("reduction", self.reduction))
        }
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
        if content.get("version") != FORMAT_VERSION:
            raise ValueError(f"genotype format version {FORMAT_VERSION} expected, found {content.get('version')!r}")
        return cls(
            normal=_cell_from_plain(content.get("normal"), "normal"),
            reduction=_cell_from_plain(content.get("reduction"), "reduction"),
        )

    def to_darts(self) -> dict[str, list[Any]]:
        """The layout of DARTS: flat lists of (operation, source), two edges a node.

        Raises ValueError when a node has another number of edges, which that layout cannot say.
        """
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
        raise ValueError(f"an edge is [operation, source], found {plain!r}")
    return Edge(plain[0], plain[1])


def _items(value: Any) -> Iterable[Any]:
    if not _is_sequence(value):
        raise ValueError(f"expected a list, found {value!r}")
    items: Iterable[Any] = value
    return items


def _index(value: Any) -> int:
    if not _is_index(value):
        raise ValueError(f"a state is a whole number from 0 up, found {value!r}")
    return int(value)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _keys(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
