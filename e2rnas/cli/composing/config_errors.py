"""What is said of a configuration that cannot be used, and which keys there are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from e2rnas.cli.composing import groups
from e2rnas.cli.sweeps import sweeps
from pipeline.settings import Experiment, OneOf

LONGEST_SHOWN = 200  # characters of a value in a message


class Refused(Exception):  # noqa: N818 - said of a configuration, not of a fault
    """A configuration that cannot be used; the message says why and what is allowed."""


def keys(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Each key with its value and what it means, as text."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _shown(value), f"{field.description} ({_type(field.annotation, field.metadata)})"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(_shown(item) for item in value) + "]"
    return "null" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type in words: "number or null", "one of sgd, adamw", "list of ..."."""
    kind, parts = get_origin(annotation), get_args(annotation)
    for registry in (each for each in metadata if isinstance(each, OneOf)):
        return "one of " + ", ".join(registry.allowed())
    if kind is Annotated:
        return _type(parts[0], parts[1:])
    if kind is Literal:
        return "one of " + ", ".join(map(str, parts))
    if kind is dict:
        return "names with values: " + _type(parts[1])
    if kind is tuple:
        return "list: " + ", ".join(_type(part) for part in parts if part is not Ellipsis)
    if parts:
        return " or ".join(_type(part) for part in parts)
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
    return names.get(annotation, str(annotation))


def reason(message: str, overrides: Sequence[str] = ()) -> str:
    """Hydra's message as one line; unknown keys get those there are, groups their options, launchers their extra."""
    missing = re.search(r"Could not find 'hydra/(launcher|sweeper)/(\w+)'", message)
    if missing and missing.group(2) in sweeps.EXTRAS:
        kind, name = missing.groups()
        return f"hydra/{kind}={name} is not installed; pip install -e '.[{sweeps.EXTRAS[name]}]'"
    chosen = re.search(r"Could not (?:find|load) '([\w/]+)/([^/']+)'", message)
    if chosen and (options := _options(chosen[1], message)):
        return _no_option(f"{chosen[1]}={chosen[2]}", chosen[2], options)
    unknown = re.search(r"(?:Could not override|Error merging override) '?([\w.@/]+)", message)
    if unknown:
        return unknown_key(unknown.group(1).split("=")[0])
    if message.startswith("Config group override must be"):
        return "; ".join(_no_options(overrides))
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    keys = [line.removeprefix("full_key: ") + ":" for line in lines if line.startswith("full_key: ")]
    kept = [
        line for line in lines if not line.startswith(("Config search path", "provider=", "full_key", "object_type"))
    ]
    return " ".join([*keys, *kept])


def _no_options(overrides: Sequence[str]) -> Iterator[str]:
    """Of each override whose key is a group, or nothing, what is allowed there."""
    for override in overrides:
        key, _, value = override.partition("=")
        options = _options(key)
        if not key:
            yield f"{override}: expected group=option or key=value"
        elif options and value not in options:
            yield _no_option(override, value, options)


def _options(group: str, message: str = "") -> list[str]:
    """Options of a group: those that Hydra's message lists, with the user's own, or those of this project."""
    listed = re.search(r"Available options in '[^']*':\s+(.*?)\s*(?:Config search path|$)", message, re.DOTALL)
    return listed[1].split() if listed else groups.options(group)


def _no_option(override: str, found: str, options: Iterable[str]) -> str:
    """What to say of a group's option that there is not: those there are, the nearest first."""
    nearest = sorted(options, key=lambda option: -difflib.SequenceMatcher(None, found, option).ratio())
    return f"{override}: expected one of {', '.join(nearest)}"


def unknown_key(key: str) -> str:
    """What to say of a key that does not exist."""
    if key.startswith("hydra."):
        return f"unknown key {key} of Hydra's own settings; +{key}=... adds one that a launcher passes on"
    known = [name for name, _, _ in keys(Experiment())]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if near:
        return f"unknown key {key}; did you mean {near[0]}?"
    parent = key.rpartition(".")[0]
    siblings = [name for name in known if parent and name.rpartition(".")[0] == parent] or Experiment.model_fields
    return f"unknown key {key}. Known here: {', '.join(siblings)}"


def described(error: ValidationError) -> str:
    """All that is wrong in one line; what is wrong with several keys alike, as with one that others take over, once."""
    keys: dict[str, list[str]] = {}
    for item in error.errors():
        key, message = _describe(item)
        keys.setdefault(message, []).append(key)
    return "; ".join(", ".join(of) + ": " + message if any(of) else message for message, of in keys.items())


def _describe(item: Any) -> tuple[str, str]:
    """The key, empty where the message names it, and the message."""
    key, given = ".".join(str(part) for part in item["loc"]), item["input"]
    if item["type"] == "extra_forbidden":
        return "", unknown_key(key)
    plain = {
        "tuple_type": "expected a list, such as [a,b]",
        "missing": "a value is missing here",
        "model_type": f"this is a group of keys: {key}.<key>=..., or an option of a group (see --help)",
        "too_long": "too many values",
    }
    message = plain.get(item["type"], item["msg"].removeprefix("Value error, "))
    if item["type"] == "value_error" and isinstance(given, dict):  # said of a group of keys
        return ("" if message.startswith(key) else key), message
    return key, message if given is PydanticUndefined else f"{message}, found {shortened(repr(given))}"


def shortened(text: str) -> str:
    """A value that is not too long for a line."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
