"""Figures of pages and cells, that are left blank unless a test looks at them: drawing takes most of a page's time."""

import base64
import itertools
from contextlib import contextmanager

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline.presentation import style
from search_space.drawing import draw

BLANK = base64.b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)  # a PNG of one grey pixel
BLANK_CELLS = {
    ".png": BLANK,
    ".svg": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>\n',
    ".pdf": b"%PDF-1.4\n",
}


class Nothing:
    """Axes of a figure that is not drawn, and all that they give: takes any call, and holds nothing."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *arguments, **named):
        return self

    def __getitem__(self, place):
        return self

    def __iter__(self):
        return iter(())

    def __len__(self):
        return 0

    def get_xlim(self):
        return 0.0, 1.0

    get_ylim = get_xlim


def _axes_of_nothing(figure, *place, **named):
    figure.blank = [Nothing()]
    return figure.blank[0]


def _grid_of_nothing(figure, rows=1, columns=1, *, squeeze=True, **named):
    figure.blank = [Nothing()]
    grid = np.empty((rows, columns), dtype=object)
    for place in itertools.product(range(rows), range(columns)):
        grid[place] = Nothing()
    return grid.squeeze() if squeeze else grid


DRAWN = {
    (style, "rendered"): style.rendered,
    (draw, "encoded"): draw.encoded,
    **{(Figure, name): getattr(Figure, name) for name in ("axes", "add_subplot", "subplots", "colorbar")},
}
UNDRAWN = {
    (style, "rendered"): lambda figure: BLANK,
    (draw, "encoded"): lambda cell, suffix, title: BLANK_CELLS[suffix],
    (Figure, "axes"): property(lambda figure: getattr(figure, "blank", [])),
    (Figure, "add_subplot"): _axes_of_nothing,
    (Figure, "subplots"): _grid_of_nothing,
    (Figure, "colorbar"): lambda figure, *what, **named: Nothing(),
}


@contextmanager
def _with(functions):
    with pytest.MonkeyPatch.context() as patch:
        for place, function in functions.items():
            patch.setattr(*place, function)
        yield


def undrawn():
    """Give a blank for each figure, whose axes take what is drawn on them and hold nothing."""
    return _with(UNDRAWN)


def drawing():
    """Draw figures, in a fixture of a module or of a session; a test asks for `drawn`."""
    return _with(DRAWN)
