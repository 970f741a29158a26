"""The site's first page is docs/index.md, though the source folder is the whole checkout."""

from __future__ import annotations

from docutils.nodes import document
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder


class FirstPageBuilder(StandaloneHTMLBuilder):
    """Write the page of `root_doc` as index.html at the top of the site, and lead every link to it there."""

    def placed(self, page: str) -> str:
        """Return the place of a page in the site, without its suffix."""
        return "index" if page == self.config.root_doc else page

    def get_target_uri(self, docname: str, typ: str | None = None) -> str:
        """Return the place that links to a page lead to."""
        return super().get_target_uri(self.placed(docname), typ)

    def get_outfilename(self, pagename: str) -> str:
        """Return the file that a page is written to."""
        return super().get_outfilename(self.placed(pagename))

    def index_page(self, pagename: str, doctree: document, title: str) -> None:
        """Let the search know a page, but for the first, which only lists the others."""
        if pagename != self.config.root_doc:  # the search would look for it by its name, where it is not
            super().index_page(pagename, doctree, title)


def setup(app: Sphinx) -> dict[str, bool]:
    """Take the place of Sphinx's own builder of HTML."""
    app.add_builder(FirstPageBuilder, override=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
