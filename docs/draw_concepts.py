"""Draw the pictures of docs/concepts/balancing.md: python docs/draw_concepts.py [folder]."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mgda import min_norm

STYLE = {"font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "concepts", "svg.fonttype": "none"}
FIRST, SECOND, SHORTEST, GREY = "#0072b2", "#d55e00", "#009e73", "#6b6b6b"
FOLDER = Path(__file__).parent / "concepts"
PAIRS = (
    ("they agree in part", (2.2, 0.5), (0.5, 1.7)),
    ("they conflict", (2.2, 0.4), (-1.2, 1.3)),
    ("one is far longer", (3.0, 1.0), (0.3, 0.9)),
)


def arrow(axes: Axes, end: tuple[float, float], colour: str, name: str, aside: float = 4) -> None:
    """Draw an arrow from the origin, with its name at the end, so many points aside."""
    axes.annotate(
        "", end, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.8, "shrinkA": 0, "shrinkB": 0}
    )
    axes.annotate(name, end, (aside, 4), textcoords="offset points", color=colour)


def draw_pair(axes: Axes, title: str, first: tuple[float, float], second: tuple[float, float]) -> None:
    """Draw two gradients, their hull, and its shortest vector, which the project's own solver finds."""
    jacobian = torch.tensor([first, second], dtype=torch.float64)
    weights = min_norm(jacobian @ jacobian.T).weights
    shortest = tuple((weights @ jacobian).tolist())
    axes.plot([first[0], second[0]], [first[1], second[1]], color=GREY, linestyle="--", linewidth=1)
    arrow(axes, first, FIRST, "g1")
    arrow(axes, second, SECOND, "g2")
    arrow(axes, shortest, SHORTEST, "d", -10)
    axes.set_title(f"{title}: d = {weights[0]:.2f} g1 + {weights[1]:.2f} g2", fontsize=9)
    axes.set(xlim=(-1.6, 3.6), ylim=(-0.3, 2.1), aspect="equal")
    axes.axis("off")


def draw_directions() -> Figure:
    """Three pairs of gradients with their min-norm direction."""
    figure = Figure(figsize=(9.6, 1.9), layout="constrained")
    for axes, (title, first, second) in zip(figure.subplots(1, 3), PAIRS, strict=True):
        draw_pair(axes, title, first, second)
    return figure


def draw_bound(lower: float = 18, upper: float = 26) -> Figure:
    """Draw how far outside its bounds a size counts: max(0, value / upper - 1) + max(0, 1 - value / lower)."""
    figure = Figure(figsize=(5.6, 2.0), layout="constrained")
    axes = figure.subplots()
    value = np.linspace(8, 40, 641)
    violation = np.maximum(0, value / upper - 1) + np.maximum(0, 1 - value / lower)
    axes.axvspan(lower, upper, color=SHORTEST, alpha=0.15, linewidth=0)
    axes.plot(value, violation, color=FIRST, linewidth=1.8)
    axes.annotate("met: no part of the balance", ((lower + upper) / 2, 0.3), ha="center", fontsize=8, color=SHORTEST)
    axes.set(xlabel="parameters of the derived network, thousands", ylabel="violation", xlim=(8, 40), ylim=(0, 0.6))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(folder: Path) -> None:
    """Write both pictures."""
    with mpl.rc_context(STYLE):
        for name, figure in (("directions", draw_directions()), ("bound", draw_bound())):
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
