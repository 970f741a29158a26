"""What all figures share: colours, lettering, axes, legends, and the finished picture.

Colours are Okabe & Ito's, which stay apart for colour-blind readers; legends stand outside the axes. A run keeps its
colour in all figures: it has its place in every mapping of runs, with nothing in it where it has no data.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.options.objectives import OBJECTIVES
from pipeline.presentation.words import printable
from search_space.drawing.draw import CELL_STYLE as CELL_STYLE

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#222222",
)
MARKERS = "osD^vPX"
OBJECTIVE_COLOURS = dict(zip(OBJECTIVES, cycle(COLOURS)))
GREY = "#6b6b6b"

WIDTH, HEIGHT, LEGEND_ROW = 4.8, 2.9, 0.2  # inches; narrow, so that letters stay readable on a phone
LEGEND_LETTERS = 62  # that fit beside one another over a figure of this width, an entry's line and gaps counted as 7
LABEL_LETTERS = 24  # of a run's name; longer ones are cut
DPI = 200
TOP = 1.08  # of axes of accuracies: room for what stands on 100 %
STYLE: Any = CELL_STYLE | {
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.5,
}


@dataclass(frozen=True)
class Picture:
    """A finished figure. name: of its file, without suffix. alt: what is to be seen, in words and numbers.

    inches: its width.  is_wide: shown at its own scale and not beside another.  is_folded: shown once it is asked for.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: bytes
    inches: float
    is_wide: bool = False
    is_folded: bool = False


def shortened_label(label: str) -> str:
    """A name that fits in a legend, with no sign in it that matplotlib would read as mathematics."""
    text = printable(label).replace("$", r"\$")
    text = f" {text}" if text.startswith("_") else text  # a legend leaves out what starts with _
    return text if len(text) <= LABEL_LETTERS else text[: LABEL_LETTERS - 1] + "…"


def make_axes(x_label: str, y_label: str, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """An empty figure of the common width, and its axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set(xlabel=x_label, ylabel=y_label)
    return figure, axes


def whole_numbers(axes: Axes) -> None:
    """Steps or epochs along the x axis, whole ones also where there is one alone."""
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))


def in_percent(axes: Axes) -> None:
    """Shares up the y axis, written as percentages."""
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))


def make_picture(name: str, title: str, caption: str, alt: str, figure: Figure, *, is_wide: bool = False) -> Picture:
    """Render a figure."""
    return Picture(name, title, caption, alt, rendered(figure), figure.get_figwidth(), is_wide)


def rendered(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def add_legend(figure: Figure, handles: Iterable[Line2D] | None = None) -> None:
    """Put a legend over the axes, in as many columns as fit; the figure grows by the rows."""
    entries = figure.axes[0].get_legend_handles_labels()[0] if handles is None else list(handles)
    if not entries:
        return
    letters = [len(str(entry.get_label())) + 7 for entry in entries]
    room = int(LEGEND_LETTERS * figure.get_figwidth() / WIDTH)
    columns = len(entries) if sum(letters) <= room else max(1, room // max(letters))
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * math.ceil(len(entries) / columns))
    figure.legend(handles=entries, loc="outside upper left", ncols=columns, columnspacing=1.2, handlelength=1.8)


def padded(values: Sequence[float]) -> tuple[float, float]:
    """Limits that leave room beside the points, also when all are about the same."""
    low, high = min(values), max(values)
    room = max(0.15 * (high - low), 0.05 * abs(high)) or 1.0
    return max(0.0, low - room), high + room
