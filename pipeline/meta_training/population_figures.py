"""Pictures of a population, from lineage.json alone: its scores, the tree of its copies, and who trains whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from pipeline.presentation.style import (
    BLACK,
    BLUE,
    GREY,
    STYLE,
    VERMILLION,
    Picture,
    add_legend,
    make_axes,
    make_picture,
    whole_numbers,
)
from pipeline.runs.stored_stages import LineageFile, StoredScores

COLOURS_OF_SCORES = "viridis"  # dark is good
LOST = VERMILLION  # the colour of a score that is not finite
LIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)
LIGHT = 0.55  # from which on a square has dark letters
MOST_NAMED = 16  # members whose numbers fit into the squares of a picture
ROW_HEIGHT, MOST_HEIGHT = 0.17, 7.0  # inches

Node = tuple[int, int]
"""A judgement and a member at it."""

Point = tuple[float, float]
Colour = tuple[float, float, float]


@rc_context(STYLE)
def population_pictures(lineage: LineageFile) -> list[Picture]:
    """Draw scores against outer steps, the tree of copies coloured by score, and who trains whom.

    The second and third have something to show from the second judgement on.
    """
    pictures = [_score_picture(lineage.judgements)]
    if len(lineage.judgements) > 1:
        pictures += [_tree_picture(lineage.judgements), _trainer_picture(lineage.judgements)]
    return pictures


def _scores(judgements: Sequence[StoredScores]) -> np.ndarray:
    """Return scores [judgements, members], NaN where they are not finite."""
    rows = [[math.nan if each.score is None else each.score for each in judged.members] for judged in judgements]
    return np.array(rows, dtype=np.float64)


def _steps(judgements: Sequence[StoredScores]) -> list[int]:
    return [judged.step for judged in judgements]


def best_scores(judgements: Sequence[StoredScores]) -> list[float]:
    """Return the lowest score of each judgement; NaN where none is finite."""
    return [min((score for score in row if math.isfinite(score)), default=math.nan) for row in _scores(judgements)]


def _score_picture(judgements: Sequence[StoredScores]) -> Picture:
    figure, axes = make_axes("outer step", "normalised loss")
    steps, scores, best = _steps(judgements), _scores(judgements), best_scores(judgements)
    for number in range(scores.shape[1]):
        axes.plot(steps, scores[:, number], color=GREY, linewidth=0.8, alpha=0.5, marker=".", markersize=3)
    axes.get_lines()[0].set_label("each member")
    axes.plot(steps, best, color=BLUE, linewidth=2, marker="o", markersize=4, label="the best of them")
    if np.nanmin(scores) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    whole_numbers(axes)
    add_legend(figure)
    caption = (
        "Scores on tasks that train nothing; 1 is the loss at a training's start. After each, the worst copy the best."
    )
    alt = f"Best score from {best[0]:.3g} at step {steps[0]} to {best[-1]:.3g} at step {steps[-1]}."
    return make_picture("population-scores", "Scores of the population", caption, alt, figure)


@dataclass(frozen=True)
class _Tree:
    """How the nodes of a lineage lie, so that no branches cross.

    parents: of each node but the first ones.  rows: the height of each node.  count: of rows.
    """

    parents: dict[Node, Node]
    rows: dict[Node, float]
    count: int

    @classmethod
    def of(cls, judgements: Sequence[StoredScores]) -> _Tree:
        """Give each node without copies a row of its own, and others the mean of their copies'."""
        members = range(len(judgements[0].members))
        nodes = [(index, number) for index in range(len(judgements)) for number in members]
        parents = {
            (index, number): (index - 1, judgements[index - 1].members[number].parent)
            for index, number in nodes
            if index
        }
        children: dict[Node, list[Node]] = {node: [] for node in nodes}
        for node, parent in parents.items():
            children[parent].append(node)
        rows: dict[Node, float] = {}
        count = 0
        waiting = [(0, number) for number in reversed(members)]
        while waiting:  # depth first: a node comes again once its copies have their rows
            node = waiting[-1]
            unplaced = [child for child in children[node] if child not in rows]
            if unplaced:
                waiting += reversed(unplaced)
                continue
            waiting.pop()
            if not children[node]:
                rows[node], count = float(count), count + 1
            else:
                rows[node] = sum(rows[child] for child in children[node]) / len(children[node])
        return cls(parents, rows, count)

    def line_to(self, node: Node) -> set[Node]:
        """Return a node and those that it descends from."""
        found = {node}
        while node in self.parents:
            node = self.parents[node]
            found.add(node)
        return found


def _tree_picture(judgements: Sequence[StoredScores]) -> Picture:
    tree, scores, steps = _Tree.of(judgements), _scores(judgements), _steps(judgements)
    figure, axes = make_axes("outer step", "", min(MOST_HEIGHT, 1.2 + ROW_HEIGHT * tree.count))
    colours = _colours(scores)
    best = int(np.nanargmin(scores[-1])) if np.isfinite(scores[-1]).any() else 0
    line = tree.line_to((len(judgements) - 1, best))
    for node, row in tree.rows.items():
        start = tree.parents.get(node, node)
        ends = (steps[start[0]], tree.rows[start]), (steps[node[0]], row)
        _draw_branch(axes, *ends, _colour(colours, scores[node]), is_thick=node in line)
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()
    whole_numbers(axes)
    _add_colour_bar(figure, axes, colours)
    copies = sum(each.parent != number for judged in judgements for number, each in enumerate(judged.members))
    caption = (
        "Each line is a member between two judgements, coloured by its score at the second; branches are copies. "
        "Thick: from which the best of the last judgement descends." + _about_lost(scores)
    )
    alt = f"Tree of {len(judgements[0].members)} members and {copies} copies; the last best is member {best}."
    return make_picture("population-lineage", "Lineage", caption, alt, figure)


def _draw_branch(axes: Axes, start: Point, end: Point, colour: Colour, *, is_thick: bool) -> None:
    """Draw a node, and the line to it from the one that it descends from: slanting at first, then level."""
    corner = start[0] + 0.3 * (end[0] - start[0])
    axes.plot(
        [start[0], corner, end[0]],
        [start[1], end[1], end[1]],
        color=colour,
        linewidth=3 if is_thick else 1.4,
        solid_joinstyle="round",
        zorder=3 if is_thick else 2,
    )
    edge = BLACK if is_thick else "none"
    axes.plot(*end, "o", color=colour, markersize=4, markeredgecolor=edge, markeredgewidth=0.8, zorder=4)


def _trainer_picture(judgements: Sequence[StoredScores]) -> Picture:
    """A square for each member between two judgements: the number of its trainer, coloured by that one's score."""
    scores, steps = _scores(judgements), _steps(judgements)
    trainers = np.array([[each.trainer for each in judged.members] for judged in judgements[:-1]]).T
    count, periods = trainers.shape
    figure, axes = make_axes("outer steps", "member", min(MOST_HEIGHT, 1.0 + 1.3 * ROW_HEIGHT * count))
    colours = _colours(scores)
    for period in range(periods):
        for number in range(count):
            trainer = int(trainers[number, period])
            colour = _colour(colours, scores[period, trainer])
            axes.barh(number, 1, left=period - 0.5, height=1, color=colour, edgecolor="white", linewidth=0.8)
            if max(count, periods) <= MOST_NAMED:
                ink = "white" if np.dot(colour, LIGHTNESS) < LIGHT else BLACK
                axes.text(period, number, str(trainer), ha="center", va="center", fontsize=8, color=ink)
    shown = range(0, periods, max(1, -(-periods // 6)))
    axes.set_xticks(list(shown), [f"{steps[k]}-{steps[k + 1]}" for k in shown])
    axes.yaxis.set_major_locator(MaxNLocator(min(8, count), integer=True))
    axes.set(xlim=(-0.5, periods - 0.5), ylim=(count - 0.5, -0.5))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _add_colour_bar(figure, axes, colours, "trainer's score")
    last = np.bincount(trainers[:, -1], minlength=count)
    caption = (
        "In each square the number of the member whose snapshot trains this one between two judgements, coloured by "
        "the trainer's score at the first of them." + _about_lost(scores)
    )
    alt = (
        f"At the end member {int(last.argmax())} trains {last.max()} of {count}; trainers are {np.count_nonzero(last)}."
    )
    return make_picture("population-trainers", "Who trains whom", caption, alt, figure)


def _about_lost(scores: np.ndarray) -> str:
    return "" if np.isfinite(scores).all() else " Orange: a score that is not finite."


def _colours(scores: np.ndarray) -> ScalarMappable:
    """Map scores to colours, by their logarithm where all are above 0."""
    low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
    high = high if high > low else low + max(abs(low), 1e-9)
    norm = LogNorm(low, high) if low > 0 else Normalize(low, high)
    return ScalarMappable(norm, colormaps[COLOURS_OF_SCORES])


def _colour(colours: ScalarMappable, score: float) -> Colour:
    return to_rgb(LOST) if not math.isfinite(score) else to_rgb(colours.to_rgba(np.array([score]))[0].tolist())


def _add_colour_bar(figure: Figure, axes: Axes, colours: ScalarMappable, label: str = "score") -> None:
    bar = figure.colorbar(colours, ax=axes, label=label, fraction=0.05, pad=0.02)
    if isinstance(colours.norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
