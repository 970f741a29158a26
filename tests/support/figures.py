"""Figures of pages, that are left blank unless a test looks at them: drawing them takes most of a page's time."""

import base64
from contextlib import contextmanager

import pytest

from pipeline.presentation import style

BLANK = base64.b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)  # a PNG of one grey pixel
RENDERED = style.rendered


@contextmanager
def _rendered_by(function):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "rendered", function)
        yield


def undrawn():
    """Give a blank for each figure, which is made and not drawn."""
    return _rendered_by(lambda figure: BLANK)


def drawing():
    """Draw figures, in a fixture of a module or of a session; a test asks for `drawn`."""
    return _rendered_by(RENDERED)
