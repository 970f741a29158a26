"""Docstrings of this project, in plain sentences with `names`, as the reStructuredText that Sphinx reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

NAMES = r"[a-zA-Z_]\w*(?:, [a-zA-Z_]\w*)*"
ARGUMENT = re.compile(rf"({NAMES}): (.*)")
SPECIAL = re.compile(r"([*|_\\])")


def escaped(text: str) -> str:
    r"""Make `names` literals, and of all other signs what they are.

    >>> escaped("the sum of w_i |g_i| over `params`")
    'the sum of w\\_i \\|g\\_i\\| over ``params``'
    """
    parts = re.split(r"(``?[^`]+``?)", text)
    return "".join(f"``{part.strip('`')}``" if part.startswith("`") else SPECIAL.sub(r"\\\1", part) for part in parts)


def paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """Yield runs of lines between empty ones."""
    run: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            run.append(line)
        elif run:
            yield run
            run = []


def converted(lines: list[str]) -> Iterator[str]:
    """Yield a docstring as reStructuredText.

    "name: meaning" begins an item of a list, an indented paragraph is shown as it is, and so are examples.
    """
    for paragraph in paragraphs(lines):
        is_list = False
        if paragraph[0].lstrip().startswith(">>>"):
            margin = len(paragraph[0]) - len(paragraph[0].lstrip())
            yield from (line[margin:] for line in paragraph)
        elif paragraph[0].startswith("    "):
            yield from ("::", "", *paragraph)
        else:
            for line in _separated(paragraph):
                argument = ARGUMENT.fullmatch(line)
                if argument and is_list is False:
                    yield ""
                is_list = is_list or argument is not None
                if argument:
                    yield f"- ``{argument[1]}``: {escaped(argument[2])}"
                else:
                    yield ("  " if is_list else "") + escaped(line.strip())
        yield ""


def _separated(paragraph: list[str]) -> Iterator[str]:
    """Yield the lines, those apart that hold two arguments: "a: one.  b, c: two."."""
    for line in paragraph:
        yield from re.split(rf"  +(?={NAMES}: )", line.strip())


def convert(app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]) -> None:
    """Convert a docstring that autodoc has found, in its place; of a package, its first paragraph."""
    lines[:] = converted(next(paragraphs(lines), []) if what == "module" else lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect with autodoc."""
    app.connect("autodoc-process-docstring", convert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
