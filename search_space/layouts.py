"""Genotypes in the Python files of DARTS and FairDARTS, written and read.

What is read is parsed and never executed: literals, range(...) and Genotype(...) are understood, imports are passed
over, and anything else is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from search_space.genotype import CELL_INPUTS, Cell, Edge, Genotype

KEYS = ("normal", "normal_concat", "reduce", "reduce_concat")
UNNAMED = "genotype"
"""Name of a genotype that stands in a file without one."""

LONGEST_RANGE = 1000


def to_fair_darts(genotype: Genotype) -> dict[str, list[Any]]:
    """The layout of FairDARTS (Chu et al. 2020): flat lists of (operation, node, source), any number of edges a node.

    Raises ValueError when there is no reduction cell, which that layout cannot say.
    """
    if genotype.reduction is None:
        raise ValueError("the FairDARTS layout has a normal and a reduction cell; this genotype has one cell")
    layout: dict[str, list[Any]] = {}
    for name, cell in (("normal", genotype.normal), ("reduce", genotype.reduction)):
        nodes = enumerate(cell.nodes, start=cell.inputs)
        layout[name] = [[edge.operation, node, edge.source] for node, edges in nodes for edge in edges]
        layout[f"{name}_concat"] = list(cell.concat)
    return layout


def from_fair_darts(layout: Mapping[str, Any]) -> Genotype:
    """Read the layout of FairDARTS; of node and source, which may change places, the larger is the node.

    A node that no edge enters is left out, and later ones move up: the normal cell of FairDARTS-A has one, and without
    it the network has the published 2.83 M parameters. Raises ValueError that names what is wrong.
    """
    if not isinstance(layout, Mapping) or set(layout) != set(KEYS):
        raise ValueError(f"expected the fields {', '.join(KEYS)}; found {', '.join(map(str, layout)) or 'none'}")
    cells = []
    for name in ("normal", "reduce"):
        try:
            cells.append(_cell_of_triples(layout[name], layout[f"{name}_concat"]))
        except ValueError as error:
            raise ValueError(f"{name} cell: {error}") from None
    return Genotype(*cells)


def from_layout(layout: Mapping[str, Any]) -> Genotype:
    """Read either layout: that of FairDARTS where an edge has three parts. Raises ValueError."""
    lists = [layout.get(name) for name in ("normal", "reduce")]
    edges = [edge for items in lists if _is_list(items) for edge in items]
    has_triples = any(_is_list(edge) and len(edge) == 3 for edge in edges)
    return from_fair_darts(layout) if has_triples else Genotype.from_darts(layout)


def to_python(layout: Mapping[str, Sequence[Any]]) -> str:
    """Python text that makes a namedtuple of a layout, as code built on DARTS reads it; `from_python` reads it back."""
    fields = []
    for name, content in layout.items():
        items = content if name.endswith("concat") else [tuple(edge) for edge in content]
        fields.append(f"    {name}={list(items)},".replace("'", '"'))
    return "\n".join(
        [
            "from collections import namedtuple",
            "",
            f'Genotype = namedtuple("Genotype", "{" ".join(KEYS)}")',
            "",
            f"{UNNAMED} = Genotype(",
            *fields,
            ")",
            "",
        ]
    )


def from_python(text: str, name: str | None = None) -> tuple[str, Genotype]:
    """The name and genotype that Python text in the form of DARTS's genotypes.py holds; `name` chooses among several.

    Raises ValueError that says in which line what is wrong, or which names there are. Nothing in the text is executed.
    """
    calls = _genotype_calls(text)
    if name is None and len(calls) == 1:
        name = next(iter(calls))
    if not calls:
        raise ValueError("expected Python text with NAME = Genotype(normal=..., ...); there is none")
    if name not in calls:
        found = "several genotypes" if name is None else f"no genotype {name}"
        raise ValueError(f"the file holds {found}; write :NAME behind its path, out of {', '.join(calls)}")
    call = calls[name]
    try:
        return name, from_layout({str(keyword.arg): _value(keyword.value) for keyword in call.keywords})
    except ValueError as error:
        raise ValueError(f"{name} in line {call.lineno}: {error}") from None


def _genotype_calls(text: str) -> dict[str, ast.Call]:
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"expected Python text; this is not: {error}") from None
    calls: dict[str, ast.Call] = {}
    for statement in body:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                continue
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not _is_definition(value):
                call = calls.get(value.id) if isinstance(value, ast.Name) else value
            case ast.Assign(targets=[ast.Name()]):
                continue
            case ast.Expr(value=value):
                name, call = UNNAMED, value
            case _:
                raise ValueError(_not_understood(statement))
        if not _is_genotype(call):
            raise ValueError(_not_understood(statement))
        calls[name] = call
    return calls


def _is_definition(value: ast.expr) -> bool:
    """Whether a value is the namedtuple itself, or a literal such as DARTS's list of primitives: neither is needed."""
    match value:
        case ast.Call(func=ast.Name(id="namedtuple") | ast.Attribute(attr="namedtuple")):
            return True
    return _is_literal(value)


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True


def _is_genotype(value: ast.expr | None) -> TypeGuard[ast.Call]:
    match value:
        case ast.Call(func=ast.Name(id="Genotype"), args=[], keywords=keywords):
            return all(keyword.arg is not None for keyword in keywords)
    return False


def _not_understood(node: ast.stmt | ast.expr) -> str:
    found = ast.unparse(node).partition("\n")[0]
    return (
        f"line {node.lineno}: expected NAME = Genotype({'=..., '.join(KEYS)}=...) of literals and range(...), found "
        f"{found[:60]!r}; nothing is executed"
    )


def _value(node: ast.expr) -> Any:
    """A literal, or a range as a list."""
    match node:
        case ast.Call(func=ast.Name(id="list" | "tuple"), args=[inner], keywords=[]):
            return _value(inner)
        case ast.Call(func=ast.Name(id="range"), args=[_, *_] as bounds, keywords=[]):
            numbers = [_value(bound) for bound in bounds]
            if len(numbers) > 3 or not all(isinstance(number, int) for number in numbers):
                raise ValueError(_not_understood(node))
            states = range(*numbers)
            if len(states) > LONGEST_RANGE:
                raise ValueError(_not_understood(node))
            return list(states)
    if not _is_literal(node):
        raise ValueError(_not_understood(node))
    return ast.literal_eval(node)


def _cell_of_triples(triples: Any, concat: Any) -> Cell:
    if not _is_list(triples) or not _is_list(concat):
        raise ValueError("expected a list of (operation, node, source) and one of states")
    odd = [state for state in concat if not isinstance(state, int)]
    if odd:
        raise ValueError(f"a state is a whole number from 0 up, found {odd[0]!r}")
    edges: dict[int, list[tuple[str, int]]] = {}
    for triple in triples:
        operation, node, source = _triple(triple)
        edges.setdefault(node, []).append((operation, source))
    place = {state: state for state in range(CELL_INPUTS)}
    place |= {node: CELL_INPUTS + index for index, node in enumerate(sorted(edges))}
    unknown = [source for pairs in edges.values() for _, source in pairs if source not in place]
    if unknown:
        raise ValueError(f"state {unknown[0]} is read, but no edge enters it")
    nodes = tuple(tuple(Edge(operation, place[source]) for operation, source in edges[node]) for node in sorted(edges))
    return Cell(nodes, tuple(place[state] for state in concat if state in place))


def _triple(triple: Any) -> tuple[str, int, int]:
    if not _is_list(triple) or len(triple) != 3 or not isinstance(triple[0], str):
        raise ValueError(f"an edge is (operation, node, source), found {triple!r}")
    operation, *states = triple
    if not all(isinstance(state, int) and not isinstance(state, bool) and state >= 0 for state in states):
        raise ValueError(f"an edge is (operation, node, source), states from 0 up, found {triple!r}")
    if max(states) < CELL_INPUTS:
        raise ValueError(f"nodes are numbered from {CELL_INPUTS}, found the edge {triple!r}")
    return operation, max(states), min(states)


def _is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)
