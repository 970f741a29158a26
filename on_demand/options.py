"""Options that a setting chooses by name. A registry is a mapping from names to options, beside what they stand for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar


@dataclass(frozen=True, kw_only=True)
class Option:
    """An entry of a registry. Registries import nothing that computes: `load` does.

    label: how a person calls it.
    meaning: what it does, a sentence without a full stop.
    code: "module:name" of what does it; none where the entry itself says all.
    arguments: by name, of `code`, where it stands for several options.
    settings: values of other settings that are chosen with it on the command line, where they are not the default.
    """

    label: str
    meaning: str
    code: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Any:
        """Import what the option stands for."""
        module, _, name = self.code.partition(":")
        found = getattr(importlib.import_module(module), name)
        return partial(found, **self.arguments) if self.arguments else found


T = TypeVar("T")


def chosen(kind: str, options: Mapping[str, T], name: str) -> T:
    """Look an option up by name. kind: with its article. Raises ValueError that lists the names."""
    if name not in options:
        raise ValueError(f"expected {kind} out of {', '.join(options)}, found {name!r}")
    return options[name]


def label(options: Mapping[str, Option], name: str) -> str:
    """Return how a person calls an option; the name itself of one that is not there any more."""
    return options[name].label if name in options else name


def table(options: Mapping[str, Option]) -> str:
    """Return a registry as the documentation has it: a table in Markdown, a row an option."""
    rows = [("name", "called", "meaning"), ("---",) * 3]
    rows += [(f"`{name}`", option.label, option.meaning) for name, option in options.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
