"""Values laid out as a page without scripts or references."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.evaluation.accuracy import interval_in_words
from pipeline.presentation.terminal import printable_lines
from pipeline.presentation.words import magnitude, percent
from pipeline.report.figures import Picture
from pipeline.runs.files import write_atomically
from pipeline.runs.run_folder import check_folders

TEMPLATES = Path(__file__).with_name("templates")


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


def _without_control(value: Any) -> Any:
    """Escape what is not seen in a text, such as a change of the direction of reading; line ends stay."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable_lines(value)


def _data_uri(png: bytes) -> Markup:
    """Base64 has no sign that HTML reads, and escaping a megabyte takes time."""
    return Markup("data:image/png;base64," + base64.b64encode(png).decode())  # noqa: S704 - see above
