"""Genotypes in the Python files of DARTS and its relatives, written and read.

What is read is parsed and never executed: of the genotypes at the top level of a file, literals and range(...) are
understood, and everything beside them is passed over.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from reprlib import repr as shortened
from typing import Any, TypeGuard

from search_space.cells.genotype import CELL_INPUTS, Cell, Edge, Genotype

KEYS = ("normal", "normal_concat", "reduce", "reduce_concat")
UNNAMED = "genotype"
"""Name of a genotype that stands in a file without one."""

LONGEST_RANGE = 1000

_Arguments = tuple[ast.Call, Sequence[str]]  # a call, and the fields in the order of its positional arguments


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


def from_layout(layout: Mapping[str, Any]) -> Genotype:
    """Read the fields KEYS in any layout of DARTS and its relatives; further fields are passed over.

    A cell is a flat list of (operation, source), two edges a node (DARTS); a list of such edges for each node
    (pt.darts); or a flat list of (operation, node, source), of whose states, which may change places, the larger is the
    node (FairDARTS). A fraction behind (operation, source) is a weight of the edge and not needed.
    A node that no edge enters is left out with the edges that leave it, and later ones move up, as FairDARTS's own
    networks are built. Raises ValueError that names the cell and what is wrong.
    """
    if not isinstance(layout, Mapping) or not set(KEYS) <= set(layout):
        found = shortened(list(layout)) if isinstance(layout, Mapping) else type(layout).__name__
        raise ValueError(f"expected the fields {', '.join(KEYS)}; found {found}")
    cells = []
    for name in ("normal", "reduce"):
        try:
            cells.append(_cell(layout[name], layout[f"{name}_concat"]))
        except ValueError as error:
            raise ValueError(f"{name} cell: {error}") from None
    return Genotype(*cells)


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
    try:
        return _named(_genotype_calls(text), name)
    except (RecursionError, MemoryError):
        raise ValueError("expected Python text with NAME = Genotype(...); this one is nested too deeply") from None


def _named(calls: Mapping[str, _Arguments], name: str | None) -> tuple[str, Genotype]:
    if not calls:
        raise ValueError("expected Python text with NAME = Genotype(normal=..., ...) at its top level; there is none")
    if name is None and len(calls) == 1:
        name = next(iter(calls))
    if name is None or name not in calls:
        found = "several genotypes" if name is None else f"no genotype {name}"
        raise ValueError(f"the file holds {found}; write :NAME behind its path, out of {', '.join(calls)}")
    call, fields = calls[name]
    try:
        return name, from_layout(_arguments(call, fields))
    except ValueError as error:
        raise ValueError(f"{name} in line {call.lineno}: {error}") from None


def _genotype_calls(text: str) -> dict[str, _Arguments]:
    """Yield every name that the text gives a genotype, with the call and the fields that its positional arguments fill.

    A name that the text goes on to change in another way is none: what it holds is known to those alone who run it.
    """
    calls: dict[str, _Arguments] = {}
    fields: Sequence[str] = KEYS
    for statement in _parsed(text).body:
        fields = _fields(statement) or fields
        names, value = _assigned(statement)
        held = calls.get(value.id) if isinstance(value, ast.Name) else None
        if _is_genotype(value):
            held = value, fields
        for name in _changed(statement):
            calls.pop(name, None)
        if held is not None:
            calls |= dict.fromkeys(names, held)
    return calls


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"expected Python text; this is not: {error}") from None


def _assigned(statement: ast.stmt) -> tuple[list[str], ast.expr | None]:
    """Return the names that a statement gives a value, and the value, which without a name has UNNAMED."""
    match statement:
        case ast.Assign(targets=targets, value=value):
            return [target.id for target in targets if isinstance(target, ast.Name)], value
        case ast.AnnAssign(target=ast.Name(id=name), value=value):
            return [name], value
        case ast.Expr(value=value):
            return [UNNAMED], value
    return [], None


def _changed(statement: ast.stmt) -> Iterable[str]:
    """Yield the names to which a statement may give another value; those inside a function or class are its own."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    nodes = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return [node.id for node in nodes if not isinstance(node.ctx, ast.Load)]


def _fields(statement: ast.stmt) -> Sequence[str] | None:
    """Return the fields of a genotype in their order, where the statement is its definition as a named tuple."""
    match statement:
        case ast.Assign(targets=[ast.Name(id="Genotype")], value=ast.Call(args=[_, ast.Constant(value=str(names))])):
            return names.replace(",", " ").split()
        case ast.Assign(targets=[ast.Name(id="Genotype")], value=ast.Call(args=[_, ast.List(elts=names)])):
            return [str(name.value) for name in names if isinstance(name, ast.Constant)]
        case ast.ClassDef(name="Genotype", body=body):
            return [x.target.id for x in body if isinstance(x, ast.AnnAssign) and isinstance(x.target, ast.Name)]
    return None


def _is_genotype(value: object) -> TypeGuard[ast.Call]:
    match value:
        case ast.Call(func=ast.Name(id="Genotype") | ast.Attribute(attr="Genotype")):
            return True
    return False


def _arguments(call: ast.Call, fields: Sequence[str]) -> dict[str, Any]:
    """Return the values of KEYS among the arguments of a call; of others the names alone are known."""
    if len(call.args) > len(fields):
        raise ValueError(f"expected at most {len(fields)} arguments ({', '.join(fields)}), found {len(call.args)}")
    given = [*zip(fields, call.args, strict=False), *((keyword.arg, keyword.value) for keyword in call.keywords)]
    values = dict(given)
    if None in values or len(values) < len(given):
        found = shortened([name for name, _ in given])
        raise ValueError(f"expected the fields {', '.join(fields)}, each once; found {found}")
    return {str(name): _value(value) if name in KEYS else None for name, value in values.items()}


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
            if states[LONGEST_RANGE:]:  # len() fails where the length has more than 64 bits
                raise ValueError(_not_understood(node))
            return list(states)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise ValueError(_not_understood(node)) from None


def _not_understood(node: ast.expr) -> str:
    found = ast.unparse(node).partition("\n")[0]
    return (
        f"line {node.lineno}: expected NAME = Genotype({'=..., '.join(KEYS)}=...) of literals and range(...), found "
        f"{found[:60]!r}; nothing is executed"
    )


def _cell(edges: Any, concat: Any) -> Cell:
    if not _is_list(edges) or not _is_list(concat):
        raise ValueError("expected a list of edges and one of states")
    odd = [state for state in concat if not isinstance(state, int)]
    if odd:
        raise ValueError(f"a state is a whole number from 0 up, found {shortened(odd[0])}")
    nodes = _nodes(edges, concat)
    place = {state: state for state in range(CELL_INPUTS)}
    kept: list[tuple[Edge, ...]] = []
    for node in sorted(nodes):
        late = [edge.source for edge in nodes[node] if edge.source >= node]
        if late:
            raise ValueError(f"node {node} reads state {late[0]}; only states 0 to {node - 1} come before it")
        entering = tuple(replace(edge, source=place[edge.source]) for edge in nodes[node] if edge.source in place)
        if entering:
            place[node] = CELL_INPUTS + len(kept)
            kept.append(entering)
    unknown = [state for state in concat if state not in place and state not in nodes]
    if unknown:
        raise ValueError(f"concat names state {unknown[0]}; the nodes are {', '.join(map(str, nodes)) or 'none'}")
    return Cell(tuple(kept), tuple(place[state] for state in concat if state in place))


def _nodes(edges: Sequence[Any], concat: Sequence[int]) -> dict[int, list[Edge]]:
    """Return the edges that enter each node, by the node's number in the file."""
    if any(_is_list(edge) and edge and _is_list(edge[0]) for edge in edges):
        if not all(map(_is_list, edges)):
            raise ValueError("expected a list of edges for each node")
        return {node: list(map(_pair, group)) for node, group in enumerate(edges, start=CELL_INPUTS)}
    if any(_is_list(edge) and len(edge) == 3 and not isinstance(edge[2], float) for edge in edges):
        # what the output reads is a node, even where no edge enters it
        nodes: dict[int, list[Edge]] = {state: [] for state in concat if state >= CELL_INPUTS}
        for node, edge in map(_triple, edges):
            nodes.setdefault(node, []).append(edge)
        return nodes
    pairs = list(map(_pair, edges))
    if len(pairs) % 2:
        raise ValueError(f"expected two edges a node, found {len(pairs)} edges")
    return {CELL_INPUTS + i // 2: pairs[i : i + 2] for i in range(0, len(pairs), 2)}


def _pair(pair: Any) -> Edge:
    match pair:
        case [str(operation), source] | [str(operation), source, float()] if _is_list(pair):
            return Edge(operation, source)
    raise ValueError(f"an edge is (operation, source), found {shortened(pair)}")


def _triple(triple: Any) -> tuple[int, Edge]:
    match triple:
        case [str(operation), int(), int()] if _is_list(triple):
            states = triple[1:]
        case _:
            raise ValueError(f"an edge is (operation, node, source), found {shortened(triple)}")
    if any(isinstance(state, bool) or state < 0 for state in states):
        raise ValueError(f"an edge is (operation, node, source), states from 0 up, found {shortened(triple)}")
    if max(states) < CELL_INPUTS:
        raise ValueError(f"nodes are numbered from {CELL_INPUTS}, found the edge {shortened(triple)}")
    return max(states), Edge(operation, min(states))


def _is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)
