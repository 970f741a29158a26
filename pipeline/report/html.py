"""Values laid out: as a page without scripts or references, and as a table for the terminal."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.evaluation.accuracy import interval_in_words
from pipeline.presentation.words import magnitude, percent, printable
from pipeline.report.figures import Picture
from pipeline.runs.files import write_atomically
from pipeline.runs.run_folder import check_folders

TEMPLATES = Path(__file__).with_name("templates")
UNLIMITED_WIDTH = 1000  # letters: a table is as wide as it needs to be, and never folded
NAME_WIDTH = 28  # letters: of the first column, which is


def page(template: str, values: Mapping[str, Any]) -> str:
    """A template of templates/ as HTML, in which every value is escaped."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    """Make the environment of all templates, each of which is compiled once."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # names and paths come from files
        finalize=_without_control,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "magnitude": magnitude,
        "percent": percent,
        "interval": interval_in_words,
        "data_uri": _data_uri,
    }
    return environment


def write_page(folder: Path, html: str, pictures: Iterable[Picture]) -> Path:
    """Write figures/*.png and, last, report.html; returns the page's path. Raises RunError as `check_folders` does."""
    check_folders(folder)
    for picture in pictures:
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
    write_atomically(folder / "report.html", html)
    return folder / "report.html"


def text_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; the first column is a name, the others are figures."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(Text(printable(headings[0])), overflow="fold", max_width=NAME_WIDTH)
    for heading in headings[1:]:
        table.add_column(Text(printable(heading)), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(printable(row[0])), *(Text(_without_control(cell)) for cell in row[1:]))
    file = io.StringIO()
    Console(file=file, width=UNLIMITED_WIDTH, color_system=None).print(table)
    return [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]


def _without_control(value: Any) -> Any:
    """Escape what is not seen in a text, such as a change of the direction of reading; line ends stay."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(map(printable, value.split("\n")))


def _data_uri(png: bytes) -> Markup:
    """Base64 has no sign that HTML reads, and escaping a megabyte takes time."""
    return Markup("data:image/png;base64," + base64.b64encode(png).decode())  # noqa: S704 - see above
