"""Packages whose names are imported one by one, when they are first asked for (PEP 562)."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def exports(package: str, file: str) -> Callable[[str], Any]:
    """Return a package's `__getattr__`: it imports, a name at a time, what the file imports `if TYPE_CHECKING`.

    package, file: __name__ and __file__ of the package, whose imports a type checker and a run read from the same
    lines. No name may be that of a module of the package, which would take its place once it is imported.
    """
    found = dict(_imports(Path(file).read_text(encoding="utf-8")))

    def get(name: str) -> Any:
        if name not in found:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; expected one of {', '.join(found)}")
        value = getattr(importlib.import_module(found[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get


def _imports(source: str) -> Iterator[tuple[str, str]]:
    """Each name that is imported inside an `if`, with its module."""
    for block in ast.parse(source).body:
        for line in block.body if isinstance(block, ast.If) else ():
            if isinstance(line, ast.ImportFrom):
                yield from ((alias.name, str(line.module)) for alias in line.names)
