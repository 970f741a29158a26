"""Draw docs/architecture.svg, the way of the data through the system: python docs/draw_architecture.py [picture].

The suffix of `picture` chooses the format, .svg or .png.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

GREY = "#6b6b6b"
PIPELINE, SPACE, METHODS = "#0072b2", "#009e73", "#cc79a7"  # of pipeline; search_space; mgda and attacks
WIDTH, HEIGHT = 10.85, 5.9  # inches, which are also the units of all places below
TITLE, FILE = 9.0, 6.6  # sizes of letters in points
LINE, GAP = 1.2 / 72, 0.05  # inches of a line for each point of its letters; from a title to its file
Point = tuple[float, float]
STYLE = {"font.family": "DejaVu Sans", "svg.hashsalt": "architecture"}  # the salt: the same file in every run


class Box(NamedTuple):
    """A box around (x, y): what is there, the file that makes it, and the colour of its room."""

    x: float
    y: float
    title: str
    file: str
    colour: str
    width: float = 1.68
    height: float = 0.8

    def side(self, dx: float, dy: float) -> Point:
        """The point of its border in a direction: (1, 0) is the middle of the right side."""
        return self.x + dx * self.width / 2, self.y + dy * self.height / 2


IMAGES = Box(1.0, 4.55, "images", "pipeline/data/loading.py", PIPELINE)
SUPERNET = Box(3.25, 4.55, "supernet", "search_space/\nsupernet/supernet.py", SPACE)
GRADIENTS = Box(5.6, 4.55, "a gradient of alpha\nfor each objective", "pipeline/search/\nhypergradient.py", PIPELINE)
DIRECTION = Box(7.85, 4.55, "min-norm direction", "mgda/min_norm_solver.py", METHODS)
ALPHA = Box(9.85, 4.55, "step of alpha", "pipeline/search/bilevel.py", PIPELINE)
WEIGHTS = Box(3.25, 3.35, "step of the weights", "pipeline/training/steps.py", PIPELINE)
COST = Box(5.6, 3.35, "size of the network\nto be derived", "search_space/cost/cost_table.py", SPACE)
GENOTYPE = Box(9.85, 1.75, "genotype", "search_space/\ncells/genotype.py", SPACE)
NETWORK = Box(7.85, 1.75, "network", "search_space/\nnetwork/network.py", SPACE)
TRAINING = Box(5.6, 1.75, "robust training", "pipeline/training/\nnetwork_trainer.py", PIPELINE)
ATTACKS = Box(3.25, 1.75, "attacks", "attacks/evaluation_attacks.py", METHODS)
FIGURES = Box(1.0, 1.75, "figures,\nwith intervals", "pipeline/evaluation/\naccuracy.py", PIPELINE)
REPORT = Box(1.0, 0.55, "report", "pipeline/report/", PIPELINE)
EXPORT = Box(7.85, 0.55, "export", "pipeline/export/", PIPELINE)


def draw_box(axes: Axes, box: Box) -> None:
    """The box, its title in bold and its file below, both in its middle."""
    corner = box.x - box.width / 2, box.y - box.height / 2
    shape = FancyBboxPatch(
        corner, box.width, box.height, "round,pad=0,rounding_size=0.09", fc="white", ec=box.colour, lw=1.6, zorder=2
    )
    axes.add_patch(shape)
    title, file = (LINE * size * (text.count("\n") + 1) for size, text in ((TITLE, box.title), (FILE, box.file)))
    top = box.y + (title + file + GAP) / 2
    centred = {"x": box.x, "ha": "center", "va": "top", "zorder": 3}
    axes.text(y=top, s=box.title, weight="bold", size=TITLE, **centred)
    axes.text(y=top - title - GAP, s=box.file, color=GREY, size=FILE, **centred)


def draw_arrow(
    axes: Axes, start: Point, end: Point, label: str = "", *, at: Point = (0, 0.06), bend: float = 0
) -> None:
    """An arrow, and a label that stands off its middle by `at`. bend: of its arc, positive to the right of its way."""
    way = f"arc3,rad={bend}"
    arc = FancyArrowPatch(
        start, end, arrowstyle="-|>", connectionstyle=way, mutation_scale=10, color=GREY, lw=1.2, zorder=1
    )
    axes.add_patch(arc)
    x, y = (start[0] + end[0]) / 2 + at[0], (start[1] + end[1]) / 2 + at[1]
    axes.text(x, y, label, ha="left" if at[0] else "center", va="center" if at[0] else "bottom", size=FILE, color=GREY)


def draw_stage(axes: Axes, title: str, bottom: float, top: float) -> None:
    """A band behind the boxes of a stage."""
    band = FancyBboxPatch((0.08, bottom), WIDTH - 0.16, top - bottom, "round,pad=0", fc="#f4f4f4", ec="none", zorder=0)
    axes.add_patch(band)
    axes.text(0.2, top - 0.08, title, va="top", size=TITLE, color=GREY, style="italic")


def draw_search(axes: Axes) -> None:
    """A step of the search, from left to right, and back to the supernet."""
    draw_stage(axes, "search: at each step, alpha and then the weights", 2.75, HEIGHT - 0.08)
    row = [IMAGES, SUPERNET, GRADIENTS, DIRECTION, ALPHA]
    labels = ["two\nhalves", "losses", "Jacobian", ""]
    for start, end, label in zip(row, row[1:], labels, strict=False):
        draw_arrow(axes, start.side(1, 0), end.side(-1, 0), label)
    draw_arrow(axes, ALPHA.side(0, 1), SUPERNET.side(0, 1), "alpha mixes the operations", at=(0, 0.46), bend=0.13)
    draw_arrow(axes, WEIGHTS.side(0, 1), SUPERNET.side(0, -1), "clean and\nattacked", at=(0.08, 0))
    draw_arrow(axes, COST.side(0, 1), GRADIENTS.side(0, -1), "bounds", at=(0.08, 0))


def draw_results(axes: Axes) -> None:
    """From alpha to what a person takes away, from right to left."""
    draw_stage(axes, "retraining, evaluation, export and report", 0.08, 2.6)
    row = [GENOTYPE, NETWORK, TRAINING, ATTACKS, FIGURES]
    labels = ["", "", "best\nweights", "test\nimages"]
    draw_arrow(axes, ALPHA.side(0, -1), GENOTYPE.side(0, 1), "derived\ninside the\nbounds", at=(0.08, 0.25))
    for start, end, label in zip(row, row[1:], labels, strict=False):
        draw_arrow(axes, start.side(-1, 0), end.side(1, 0), label)
    for place, (name, colour) in enumerate(
        {"pipeline": PIPELINE, "search_space": SPACE, "mgda, attacks": METHODS}.items()
    ):
        axes.text(2.5 + 1.05 * place, REPORT.y, name, size=FILE, color=colour, weight="bold", va="center")
    draw_arrow(axes, FIGURES.side(0, -1), REPORT.side(0, 1))
    draw_arrow(axes, NETWORK.side(0, -1), EXPORT.side(0, 1))
    draw_arrow(axes, TRAINING.side(0.5, -1), EXPORT.side(-1, 0), "weights", at=(-0.5, -0.1), bend=0.15)


def picture() -> Figure:
    """The whole figure."""
    figure = Figure((WIDTH, HEIGHT))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT))
    axes.set_axis_off()
    draw_search(axes)
    draw_results(axes)
    search = (IMAGES, SUPERNET, GRADIENTS, DIRECTION, ALPHA, WEIGHTS, COST)
    for box in (*search, GENOTYPE, NETWORK, TRAINING, ATTACKS, FIGURES, REPORT, EXPORT):
        draw_box(axes, box)
    return figure


def main(path: Path) -> None:
    """Write the picture."""
    with mpl.rc_context(STYLE):
        figure = picture()
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=150, metadata=metadata)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("architecture.svg"))
