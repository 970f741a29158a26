"""The text of --help."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from e2rnas.cli.command_line import HELP_ALL
from e2rnas.cli.composing import groups
from e2rnas.cli.composing.config_errors import keys
from e2rnas.cli.programs import PROGRAMS
from pipeline.settings import Experiment, OneOf


def page(name: str, experiment: Experiment, *, everything: bool = False) -> str:
    """Return examples, groups with their options, and each key of the program with value and meaning.

    everything: the keys of all programs, and what each option does, for --help=all.
    """
    program = PROGRAMS[name]
    found = {key: f"  {key}={value}  {meaning}" for key, value, meaning in keys(experiment)}
    own = [line for key, line in found.items() if everything or key.split(".")[0] in program.keys]
    lines = [
        program.description,
        "",
        *(f"  python scripts/{name}.py {example}".rstrip() for example in program.examples),
        "",
        f"usage: python scripts/{name}.py [group=option]... [key=value]...",
        "",
        "Groups:",
        *(f"  {group}: {', '.join(groups.options(group))}" for group in groups.groups()),
        "",
        *(["Options of keys:", *_options(experiment), ""] if everything else []),
        "Keys (value, meaning):",
        *own,
    ]
    if len(own) < len(found):
        lines.append(f"{HELP_ALL} shows the other {len(found) - len(own)} keys.")
    lines += ["Numbers may be fractions (attack.eps=8/255). -m sweeps over lists (seed=0,1,2): docs/how_to/sweeps.md."]
    return "\n".join(lines)


def _options(model: BaseModel, prefix: str = "") -> Iterator[str]:
    """What each option does that a key may name, by key."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _options(value, f"{prefix}{name}.")
        for registry in OneOf.within(field.annotation, field.metadata):
            yield f"  {prefix}{name}"
            yield from (f"    {option}: {each.meaning}" for option, each in registry.allowed().items())
