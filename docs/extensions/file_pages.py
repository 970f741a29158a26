"""What the reference says of the files of a run folder, made of the schemas that read them."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from extensions.settings_pages import cell

ROOT = Path(__file__).parents[2]
DEFINED = re.compile(
    r'^class ((?!Foreign)\w+(?:File|Record|Description))\(.*\):\n    """.*?(\w+\.json)\b', re.MULTILINE
)


def schemas() -> dict[str, type[BaseModel]]:
    """Return the schema of each file by the file's name: those whose docstring names the file at once."""
    found = {}
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        for name, file in DEFINED.findall(path.read_text(encoding="utf-8")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[file] = getattr(importlib.import_module(module), name)
    return dict(sorted(found.items()))


def files() -> Iterator[str]:
    """Yield a section for each file, with a table for it and for each object inside it."""
    for name, schema in schemas().items():
        described = schema.model_json_schema()
        yield from (f"## {name}", "", *sentences(described), *table(described))
        for inner, part in described.get("$defs", {}).items():
            if "properties" in part:
                yield from (f"**{inner}.** {' '.join(sentences(part))}", "", *table(part))


def sentences(described: dict[str, Any]) -> Iterator[str]:
    """Yield what the class says of itself, in one paragraph."""
    yield cell(described.get("description", ""))
    yield ""


def table(described: dict[str, Any]) -> Iterator[str]:
    """Yield the table of an object's keys."""
    yield from ("| key | holds | may be left out |", "|---|---|---|")
    required = described.get("required", [])
    for key, part in described["properties"].items():
        yield f"| `{key}` | {cell(kind(part))} | {'no' if key in required else 'yes'} |"
    yield ""


def kind(part: dict[str, Any]) -> str:
    """Return the type of a value in words.

    >>> kind({"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}})
    'list of: number or null'
    """
    match part:
        case {"$ref": where}:
            return where.rpartition("/")[2]
        case {"const": value}:
            return repr(value)
        case {"enum": values}:
            return "one of " + ", ".join(map(str, values))
        case {"anyOf": parts} | {"oneOf": parts}:
            return " or ".join(dict.fromkeys(kind(each) for each in parts))
        case {"prefixItems": parts}:
            return "list: " + ", ".join(kind(each) for each in parts)
        case {"type": "array", "items": items}:
            return f"list of: {kind(items)}"
        case {"type": "object", "additionalProperties": dict() as values}:
            return f"by name: {kind(values)}"
        case {"type": name}:
            return {"integer": "whole number", "string": "text", "boolean": "true or false"}.get(name, name)
    return "anything"
