"""What the reference says of settings and programs, made of the code: Markdown for the ends of two pages."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from e2rnas.cli.composing.config_errors import keys
from e2rnas.cli.programs import PROGRAMS
from pipeline.settings import Experiment

LONGEST_LINE = 40  # characters of a default that are kept together: more leave no room for the meaning


def cell(text: str) -> str:
    """Return text as a cell of a table of Markdown: with the signs that it has itself."""
    return " ".join(text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;").split())


def settings() -> Iterator[str]:
    """Yield the tables of all settings, those of the run itself first."""
    experiment = Experiment()
    own = {name for name, value in experiment if not isinstance(value, BaseModel)}
    yield from ("## run", "", "Of the whole run.", "")
    yield from table([row for row in keys(experiment) if row[0] in own])
    for name, value in experiment:
        if isinstance(value, BaseModel):
            yield from ("", f"## {name}", "", (type(value).__doc__ or "").strip().split("\n")[0], "")
            yield from table(list(keys(value, f"{name}.")))


def table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    """Yield the table of keys with their values and meanings; a long list may be broken between two of its values."""
    yield from ("| key | default | meaning |", "|---|---|---|")
    for key, value, meaning in rows:
        shown = value if len(value) <= LONGEST_LINE else value.replace(",", ", ")
        yield f"| `{key}` | `{shown}` | {cell(meaning)} |"


def programs() -> Iterator[str]:
    """Yield a section for each program: its sentence, its examples, and the keys that its --help shows."""
    for name, program in PROGRAMS.items():
        command = program.command or name
        examples = [f"python scripts/{name}.py {example}".rstrip() for example in program.examples]
        own = ", ".join(f"`{key}`" for key in program.keys)
        yield from (f"### scripts/{name}.py", "", program.description, "", "```bash", *examples, "```", "")
        yield from (f"Its own settings: {own}. Installed, it is `e2rnas {command}`.", "")
