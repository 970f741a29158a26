"""Tables as text, for a terminal and in Markdown."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from pipeline.presentation.terminal import printable, printable_lines

UNLIMITED_WIDTH = 1000  # letters: a table is as wide as it needs to be, and never folded
NAME_WIDTH = 28  # letters: of the first column, which is


def text_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, words: Collection[str] = ()) -> list[str]:
    """Return the lines of a table; the first column is a name, the others are figures, on the right.

    words: headings of those that are not, on the left.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(Text(printable(headings[0])), overflow="fold", max_width=NAME_WIDTH)
    for heading in headings[1:]:
        justify: JustifyMethod = "left" if heading in words else "right"
        table.add_column(Text(printable(heading)), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(Text(printable(row[0])), *(Text(printable_lines(cell)) for cell in row[1:]))
    file = io.StringIO()
    Console(file=file, width=UNLIMITED_WIDTH, color_system=None).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown; what Markdown would obey in a text is the caller's to escape.

    >>> print(markdown_table(["cell", "MACs"], [["a", "5"]]))
    | cell | MACs |
    | --- | --- |
    | a | 5 |
    """
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, ["---"] * len(headings), *rows))
