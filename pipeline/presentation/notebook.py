"""How a notebook shows results."""

from __future__ import annotations

from html import escape


class TextInNotebook:
    """Shown by a notebook as the text that `str` makes of it, in letters of one width."""

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"
