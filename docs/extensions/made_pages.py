"""Pages of the site that end with what is made of the code, so that they cannot fall behind it."""

from __future__ import annotations

from sphinx.application import Sphinx

from extensions import file_pages, settings_pages

MADE = {
    "docs/reference/settings": settings_pages.settings,
    "docs/reference/command_line": settings_pages.programs,
    "docs/reference/run_files": file_pages.files,
}


def add(app: Sphinx, page: str, source: list[str]) -> None:
    """Add to a page's Markdown, in its place, what is made for it."""
    if page in MADE:
        source[0] += "\n" + "\n".join(MADE[page]())


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect with the reading of pages."""
    app.connect("source-read", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
