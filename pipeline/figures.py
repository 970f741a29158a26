"""The report's figures: values in, a finished PNG out, with its caption and what is to be seen in words.

Colours are Okabe & Ito's, which stay apart for colour-blind readers; legends stand outside the axes. A run keeps its
colour in all figures: it has its place in every mapping of runs, with nothing in it where it has no data.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from torch import Tensor

from pipeline.evaluate import CLEAN, Accuracy
from search_space import Cell, Genotype
from search_space.draw import STYLE as CELL_STYLE
from search_space.draw import draw_cell, operation_label
from search_space.genotype import CELL_INPUTS

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
OBJECTIVE_COLOURS = {"accuracy": BLUE, "robustness": VERMILLION, "parameters": GREEN, "macs": PURPLE}
OPERATION_COLOURS = {
    "none": BLACK,
    "max_pool_3x3": GREEN,
    "avg_pool_3x3": "#8fd0b8",
    "skip_connect": PURPLE,
    "sep_conv_3x3": BLUE,
    "sep_conv_5x5": SKY,
    "dil_conv_3x3": VERMILLION,
    "dil_conv_5x5": ORANGE,
}
OBJECTIVE_LABELS = {"macs": "MACs"}
GREY = "#6b6b6b"

WIDTH, HEIGHT, LEGEND_ROW = 4.8, 2.9, 0.2  # inches; narrow, so that letters stay readable on a phone
LEGEND_LETTERS = 62  # that fit beside one another over a figure, an entry's line and gaps counted as 7
LABEL_LETTERS = 24  # of a run's name; longer ones are cut
DPI = 200
TOP = 1.08  # of axes of accuracies: room for what stands on 100 %
MOST_POINTS = 160  # of a curve; more steps are averaged
MOST_LABELS = 10  # points that get their value written beside them
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

Row = Mapping[str, Any]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Positions and values."""


@dataclass(frozen=True)
class Picture:
    """A finished figure. name: of its file, without suffix. alt: what is to be seen, in words and numbers.

    inches: its width.  is_wide: shown at its own scale and not beside another.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: bytes
    inches: float
    is_wide: bool = False


def magnitude(value: float) -> str:
    """A count with three digits: 36,120 as "36.1 k", 1,370,134 as "1.37 M"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * size:
            scaled = value / size
            return f"{scaled:.{max(0, 2 - int(math.log10(abs(scaled) * 1.0005)))}f}\N{NO-BREAK SPACE}{unit}"
    return f"{value:g}"


def shortened(label: str) -> str:
    """A name that fits in a legend, with no sign in it that matplotlib would read as mathematics."""
    text = "".join(letter if letter.isprintable() else "?" for letter in label).replace("$", r"\$")
    text = f" {text}" if text.startswith("_") else text  # a legend leaves out what starts with _
    return text if len(text) <= LABEL_LETTERS else text[: LABEL_LETTERS - 1] + "…"


def averaged(steps: Sequence[float], values: Sequence[float]) -> Curve:
    """At most MOST_POINTS points: means of as many neighbouring steps as that takes."""
    starts = _bins(len(steps))
    counts = np.diff(np.append(starts, len(steps)))
    means = [np.add.reduceat(np.asarray(series, dtype=np.float64), starts) / counts for series in (steps, values)]
    return means[0], means[1]


def _bins(steps: int) -> NDArray[np.intp]:
    """Where each point's neighbouring steps start."""
    return np.arange(0, steps, -(-steps // MOST_POINTS))


@rc_context(STYLE)
def cell_picture(cell: Cell, name: str) -> Picture:
    """A cell of the genotype."""
    edges = "; ".join(
        f"node {node} from " + ", ".join(f"{operation_label(e.operation)} of state {e.source}" for e in edges)
        for node, edges in enumerate(cell.nodes, start=CELL_INPUTS)
    )
    caption = (
        "Left, the outputs of the two cells before; a node is the sum of what enters it; right, the cell's output."
    )
    title = f"{name.capitalize()} cell"
    return _picture(f"cell-{name}", title, caption, f"{title}: {edges}.", draw_cell(cell), is_wide=True)


@rc_context(STYLE)
def accuracy_picture(results: Mapping[str, Sequence[Accuracy]]) -> Picture:
    """Accuracy of each run, clean and under each attack, with intervals."""
    attacks = list(dict.fromkeys(result.attack for accuracies in results.values() for result in accuracies))
    labelled = len(attacks) * len(results) <= MOST_LABELS
    figure, axes = _axes("", "accuracy")
    for index, (label, accuracies) in enumerate(results.items()):
        if not accuracies:
            continue
        shift = (index - (len(results) - 1) / 2) * 0.7 / len(results)
        x = [attacks.index(result.attack) + shift for result in accuracies]
        _points(axes, x, accuracies, index, label=shortened(label))
        for position, result in zip(x, accuracies, strict=True) if labelled else ():
            text = f"{100 * result.accuracy:.1f}"
            axes.annotate(text, (position, result.high), (0, 3), textcoords="offset points", ha="center", fontsize=7.5)
    crowded = len(attacks) > 5
    axes.set_xticks(range(len(attacks)), attacks, rotation=35 if crowded else 0, ha="right" if crowded else "center")
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set(ylim=(0, TOP), xlim=(-0.5, len(attacks) - 0.5))
    _percent(axes)
    _legend(figure)
    caption = "Test images classified right, of all that were tried; bars are 95 % Wilson intervals."
    return _picture("accuracy", "Accuracy, clean and under attack", caption, _in_words(results), figure)


@rc_context(STYLE)
def size_picture(results: Mapping[str, Sequence[Accuracy]], parameters: Mapping[str, int], attack: str) -> Picture:
    """Parameters against clean and robust accuracy of every measured run, with the front of the robust ones."""
    figure, axes = _axes("parameters", "accuracy")
    robust = {label: _under(attack, accuracies) for label, accuracies in results.items() if accuracies}
    for index, (label, accuracies) in enumerate(results.items()):
        if not accuracies:
            continue
        pair = [(_under(CLEAN, accuracies), False), (robust[label], True)]
        for result, filled in pair if attack != CLEAN else pair[1:]:
            _points(axes, [parameters[label]], [result], index, filled=filled)
    front = pareto_front([(parameters[label], result.accuracy) for label, result in robust.items()])
    if len(front) > 1:
        axes.step(*zip(*front, strict=True), where="post", color=GREY, linestyle=":", linewidth=1.2, zorder=1)
    axes.set(ylim=(0, TOP), xlim=_padded(list(parameters.values())))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))
    _percent(axes)
    _legend(figure, _size_legend(results, attack, has_front=len(front) > 1))
    sizes = "; ".join(f"{label}: {count:,} parameters" for label, count in parameters.items())
    caption = f"Every run that was measured. Clean accuracy is hollow, accuracy under {attack} is filled."
    if len(front) > 1:
        caption += " Dotted: the Pareto front, runs that no other beats in both."
    alt = f"{sizes}. {_in_words({label: [result] for label, result in robust.items()})}"
    return _picture("size", "Size against accuracy", caption, alt, figure)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (cost, gain) that no other point matches at less cost or more gain, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or gain > front[-1][1]:
            front.append((cost, gain))
    return front


@rc_context(STYLE)
def search_pictures(rows: Sequence[Row], macs: str) -> list[Picture]:
    """What the search minimised, how it was balanced, and what it led to. macs: the convention that was bounded."""
    bounds = rows[0]["bounds"]
    sizes = (("parameters", "parameters"), ("macs", macs))
    return [
        _losses(rows),
        *([_violations(rows)] if bounds else []),
        _weights(rows),
        _direction(rows),
        *(_derived(rows, name, quantity, bounds.get(name, (None, None))) for name, quantity in sizes),
    ]


@rc_context(STYLE)
def alpha_pictures(alphas: Tensor, operations: Sequence[str], genotype: Genotype | None) -> list[Picture]:
    """The alphas [epochs, cells, edges, operations] as probabilities: at the end, and on their way there."""
    probabilities = torch.softmax(alphas.double(), dim=-1).numpy()
    cells = {"normal": genotype.normal if genotype else None, "reduction": genotype.reduction if genotype else None}
    return [
        *(_heatmap(probabilities[-1, i], operations, *item) for i, item in enumerate(cells.items())),
        *(_operation_shares(probabilities[:, i], operations, name) for i, name in enumerate(cells)),
        _entropies(probabilities),
    ]


@rc_context(STYLE)
def retrain_pictures(runs: Mapping[str, Sequence[Row]], best: Mapping[str, int]) -> list[Picture]:
    """Loss and accuracies of each run by epoch. best: the epoch whose weights were kept."""
    losses = {label: _by_epoch(rows, "training_loss") for label, rows in runs.items()}
    caption = "Mean of each epoch, on the images as training sees them."
    loss = _lines("retrain-loss", "Training loss", "loss", losses, caption, x_label="epoch")
    return [loss, _training_accuracies(runs, best)]


def _axes(x_label: str, y_label: str, height: float = HEIGHT) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set(xlabel=x_label, ylabel=y_label)
    return figure, axes


def _picture(name: str, title: str, caption: str, alt: str, figure: Figure, *, is_wide: bool = False) -> Picture:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return Picture(name, title, caption, alt, file.getvalue(), figure.get_figwidth(), is_wide)


def _legend(figure: Figure, handles: Iterable[Line2D] | None = None) -> None:
    """Over the axes, in as many columns as fit; the figure grows by the rows."""
    entries = figure.axes[0].get_legend_handles_labels()[0] if handles is None else list(handles)
    if not entries:
        return
    letters = [len(str(entry.get_label())) + 7 for entry in entries]
    fits_one_row = sum(letters) <= LEGEND_LETTERS
    columns = len(entries) if fits_one_row else max(1, LEGEND_LETTERS // max(letters))
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * math.ceil(len(entries) / columns))
    figure.legend(handles=entries, loc="outside upper left", ncols=columns, columnspacing=1.2, handlelength=1.8)


def _percent(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))


def _points(
    axes: Axes, x: Sequence[float], results: Sequence[Accuracy], index: int, *, filled: bool = True, label: str = ""
) -> None:
    """Accuracies of one run with their intervals, in its colour and shape."""
    colour = COLOURS[index % len(COLOURS)]
    y = np.array([result.accuracy for result in results])
    spread = [y - [result.low for result in results], [result.high for result in results] - y]
    axes.errorbar(
        x,
        y,
        yerr=np.maximum(spread, 0),
        fmt=MARKERS[index % len(MARKERS)],
        color=colour,
        markerfacecolor=colour if filled else "white",
        markersize=5,
        capsize=2.5,
        linewidth=1.2,
        label=label or "_",
    )


def _under(attack: str, accuracies: Sequence[Accuracy]) -> Accuracy:
    return next(result for result in accuracies if result.attack == attack)


def _in_words(results: Mapping[str, Sequence[Accuracy]]) -> str:
    def said(result: Accuracy) -> str:
        return f"{result.attack} {100 * result.accuracy:.1f} % ({100 * result.low:.1f} to {100 * result.high:.1f})"

    return "; ".join(f"{label}: {', '.join(map(said, given))}" for label, given in results.items() if given) + "."


def _size_legend(results: Mapping[str, Sequence[Accuracy]], attack: str, *, has_front: bool) -> Iterator[Line2D]:
    for index, label in enumerate(results):
        if not results[label]:
            continue
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        yield Line2D([], [], linestyle="", marker=marker, color=colour, markersize=5, label=shortened(label))
    if attack != CLEAN:
        yield Line2D([], [], linestyle="", marker="o", color=GREY, markerfacecolor="white", label="clean")
    yield Line2D([], [], linestyle="", marker="o", color=GREY, label=attack)
    if has_front:
        yield Line2D([], [], linestyle=":", color=GREY, label="front")


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """Limits that leave room beside the points, also when all are about the same."""
    low, high = min(values), max(values)
    room = max(0.15 * (high - low), 0.05 * high)
    return max(0.0, low - room), high + room


def _lines(
    name: str, title: str, y_label: str, curves: Mapping[str, Curve], caption: str, *, x_label: str = "search step"
) -> Picture:
    """Curves from 0 up, named in a legend where there are several."""
    figure, axes = _axes(x_label, y_label)
    for (label, curve), colour, style in zip(curves.items(), cycle(COLOURS), cycle(["-", "--", "-.", ":"])):
        if not len(curve[0]):
            continue
        marker = "o" if len(curve[0]) == 1 else None
        colour = OBJECTIVE_COLOURS.get(label, colour)
        axes.plot(*curve, color=colour, linestyle=style, marker=marker, markersize=4)
        axes.get_lines()[-1].set_label(shortened(OBJECTIVE_LABELS.get(label, label)))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(curves) > 1:
        _legend(figure)
    return _picture(name, title, caption, f"{title}: {_trends(curves)}.", figure)


def _trends(curves: Mapping[str, Curve]) -> str:
    return "; ".join(f"{label} from {y[0]:.3g} to {y[-1]:.3g}" for label, (_, y) in curves.items() if len(y))


def _steps(rows: Sequence[Row]) -> list[int]:
    return [row["step"] for row in rows]


def _of_steps(rows: Sequence[Row], caption: str) -> str:
    width = -(-len(rows) // MOST_POINTS)
    return caption if width == 1 else f"{caption} Each point is the mean of {width} steps."


def _objectives(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Curve]:
    return {name: averaged(_steps(rows), [row["objectives"][name] for row in rows]) for name in names}


def _losses(rows: Sequence[Row]) -> Picture:
    curves = _objectives(rows, [name for name in rows[0]["objectives"] if name not in rows[0]["bounds"]])
    caption = "Cross entropy on the images that train the alphas: clean (accuracy) and attacked (robustness)."
    return _lines("search-losses", "Losses", "cross entropy", curves, _of_steps(rows, caption))


def _violations(rows: Sequence[Row]) -> Picture:
    curves = _objectives(rows, list(rows[0]["bounds"]))
    caption = "How far the derived network lies outside its bounds, as a part of the bound; 0 is inside."
    return _lines("search-violations", "Bound violations", "violation", curves, _of_steps(rows, caption))


def _direction(rows: Sequence[Row]) -> Picture:
    curves = {"norm": averaged(_steps(rows), [row["mgda"]["norm"] for row in rows])}
    caption = "Of the direction that lowers all active objectives; near 0 the alphas are Pareto-stationary."
    return _lines("search-direction", "Norm of the direction", "norm", curves, _of_steps(rows, caption))


def _weights(rows: Sequence[Row]) -> Picture:
    names = list(rows[0]["objectives"])
    curves = {name: averaged(_steps(rows), [row["mgda"]["weights"].get(name, 0.0) for row in rows]) for name in names}
    steps = next(iter(curves.values()))[0]
    figure, axes = _axes("search step", "weight")
    shares = [curve[1] for curve in curves.values()]
    colours = [OBJECTIVE_COLOURS.get(name, GREY) for name in names]
    axes.stackplot(
        steps,
        *shares,
        labels=[OBJECTIVE_LABELS.get(name, name) for name in names],
        colors=colours,
        alpha=0.85,
        edgecolor="white",
        linewidth=0.4,
    )
    axes.set(ylim=(0, 1), xlim=(steps[0], max(steps[-1], steps[0] + 1)))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(figure)
    caption = "Of each objective in the direction; they sum to 1. A bound that is kept has weight 0."
    means = {name: values.mean() for name, (_, values) in curves.items()}
    alt = "Mean weights: " + ", ".join(f"{name} {mean:.2f}" for name, mean in means.items()) + "."
    return _picture("search-weights", "Weights of the objectives (MGDA)", _of_steps(rows, caption), alt, figure)


def _derived(rows: Sequence[Row], name: str, quantity: str, bound: Sequence[float | None]) -> Picture:
    """One size of the network that each step's alphas would give, over its bounds."""
    label = {"parameters": "parameters", "conv_linear_macs": "MACs", "thop_macs": "MACs (thop)"}[quantity]
    sizes = [row["derived"][quantity] for row in rows]
    figure, axes = _axes("search step", label)
    if len(rows) <= MOST_POINTS:
        axes.step(_steps(rows), sizes, where="mid", color=OBJECTIVE_COLOURS[name], linewidth=1.2)
    else:
        _mean_and_range(axes, _steps(rows), sizes, OBJECTIVE_COLOURS[name])
    shown = [value for value in (*sizes, *bound) if value is not None]
    low, high = _padded(shown)
    axes.set_ylim(low, high)
    is_bounded = any(side is not None for side in bound)
    shaded = " (shaded)" if is_bounded else ""
    if is_bounded:
        lower, upper = (default if side is None else side for side, default in zip(bound, (low, high), strict=True))
        axes.axhspan(lower, upper, color=GREY, alpha=0.16, linewidth=0)
        for side in bound:
            if side is not None:
                axes.axhline(side, color=GREY, linestyle="--", linewidth=1)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: magnitude(value)))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    caption = f"Of the network that the alphas of each step would give. Bound: {interval(bound)}{shaded}."
    if len(rows) > MOST_POINTS:
        caption = _of_steps(rows, caption) + " The coloured area holds the smallest and largest of them."
    alt = f"Derived {label} from {sizes[0]:,} to {sizes[-1]:,}, between {min(sizes):,} and {max(sizes):,} on the way."
    return _picture(f"search-{name}", f"Derived {label}", caption, alt, figure)


def _mean_and_range(axes: Axes, steps: Sequence[int], values: Sequence[float], colour: str) -> None:
    positions, means = averaged(steps, values)
    low, high = (extreme.reduceat(np.asarray(values), _bins(len(values))) for extreme in (np.minimum, np.maximum))
    axes.fill_between(positions, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(positions, means, color=colour)


def interval(bound: Sequence[float | None]) -> str:
    """A bound in words, the shaded band of the figures."""
    lower, upper = bound
    if lower is None and upper is None:
        return "none"
    if lower is None or upper is None:
        return f"at least {lower:,.0f}" if upper is None else f"at most {upper:,.0f}"
    return f"from {lower:,.0f} to {upper:,.0f}"


def _edge_names(edges: int) -> list[str]:
    """Source and node of each mixed edge, in the order of the alphas."""
    names: list[str] = []
    node = CELL_INPUTS
    while len(names) < edges:
        names += [f"{source} → {node}" for source in range(node)]
        node += 1
    return names


def _heatmap(probabilities: NDArray[np.float64], operations: Sequence[str], name: str, cell: Cell | None) -> Picture:
    """One cell's probabilities [edges, operations]; what the derived cell keeps is framed."""
    edges = _edge_names(len(probabilities))
    figure, axes = _axes("", "edge", height=1.3 + 0.25 * len(edges))
    # vmax: the darkest blue stays light enough for black figures
    axes.imshow(probabilities, cmap="Blues", vmin=0, vmax=max(0.4, 1.6 * probabilities.max()), aspect="auto")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(operations)), [operation_label(name) for name in operations], rotation=40, ha="right")
    axes.set_yticks(range(len(edges)), edges)
    for (row, column), value in np.ndenumerate(probabilities):
        axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=BLACK)
    for row, column in _kept(cell, edges, operations):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=1.8))
    caption = "Softmax of the alphas after the last epoch, in %."
    if cell is not None:
        caption += " Framed: what the cell keeps, two edges a node, never none."
    best = [operations[int(row.argmax())] for row in probabilities]
    alt = "Likeliest operation of each edge: " + ", ".join(
        f"{edge} {top}" for edge, top in zip(edges, best, strict=True)
    )
    return _picture(f"alphas-{name}", f"Operation probabilities, {name} cell", caption, f"{alt}.", figure)


def _kept(cell: Cell | None, edges: Sequence[str], operations: Sequence[str]) -> Iterator[tuple[int, int]]:
    for node, kept in enumerate(cell.nodes if cell else (), start=CELL_INPUTS):
        for edge in kept:
            yield edges.index(f"{edge.source} → {node}"), operations.index(edge.operation)


def _operation_shares(probabilities: NDArray[np.float64], operations: Sequence[str], name: str) -> Picture:
    """Mean probability of each operation over a cell's edges. probabilities: [epochs, edges, operations]."""
    means = probabilities.mean(axis=1)
    figure, axes = _axes("epoch", "mean probability")
    epochs = np.arange(1, len(means) + 1)
    for column, operation in enumerate(operations):
        colour = OPERATION_COLOURS.get(operation, GREY)
        axes.plot(epochs, means[:, column], "o-", markersize=3, color=colour, label=operation_label(operation))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _percent(axes)
    _legend(figure)
    last = ", ".join(f"{operation} {100 * mean:.1f} %" for operation, mean in zip(operations, means[-1], strict=True))
    caption = "Mean over the edges. A cell that collapses shows as skip, pooling or none rising above the rest."
    title = f"Operations over the epochs, {name} cell"
    return _picture(f"alphas-operations-{name}", title, caption, f"After the last epoch: {last}.", figure)


def _entropies(probabilities: NDArray[np.float64]) -> Picture:
    """How decided the edges are. probabilities: [epochs, cells, edges, operations]."""
    logs = np.log(np.maximum(probabilities, 1e-300))
    entropies = -(probabilities * logs).sum(axis=-1) / math.log(max(probabilities.shape[-1], 2))
    figure, axes = _axes("epoch", "entropy")
    epochs = np.arange(1, len(entropies) + 1)
    for index, (name, colour) in enumerate((("normal cell", BLUE), ("reduction cell", VERMILLION))):
        axes.plot(epochs, entropies[:, index], color=colour, linewidth=0.7, alpha=0.35)
        axes.plot(epochs, entropies[:, index].mean(axis=1), "o-", markersize=3, color=colour, label=f"{name}, mean")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    _legend(figure)
    caption = "Of each edge (thin) and their mean, as a part of the largest: 1 is undecided, 0 is one operation alone."
    means = entropies[-1].mean(axis=1)
    alt = (
        f"After the last epoch the mean is {means[0]:.3f} in the normal cell and {means[1]:.3f} in the reduction cell."
    )
    return _picture("alphas-entropy", "Entropy of the edges", caption, alt, figure)


def _training_accuracies(runs: Mapping[str, Sequence[Row]], best: Mapping[str, int]) -> Picture:
    figure, axes = _axes("epoch", "accuracy")
    words = []
    for index, (label, rows) in enumerate(runs.items()):
        colour = COLOURS[index % len(COLOURS)]
        if not rows:
            continue
        held_back = _by_epoch(rows, "held_back_accuracy")
        axes.plot(*_by_epoch(rows, "training_accuracy"), color=colour, linestyle="--", linewidth=1, alpha=0.7)
        axes.plot(*held_back, color=colour, label=shortened(label))
        for epoch, value in zip(*held_back, strict=True):
            if epoch == best.get(label):
                axes.plot([epoch], [value], color=colour, marker="o", markersize=6, markeredgecolor="white")
                words.append(
                    f"{label}: {100 * value:.1f} % on the held-back images in epoch {epoch:.0f}, which was kept"
                )
    axes.set_ylim(0, TOP)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _percent(axes)
    named = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    _legend(figure, [*named, Line2D([], [], color=GREY, linestyle="--", linewidth=1, label="training batches")])
    caption = "Solid: held-back part of the training set; dot: the checkpoint that was kept. Dashed: training batches."
    return _picture(
        "retrain-accuracy", "Accuracy in training", caption, "; ".join(words or ["No epoch judged"]) + ".", figure
    )


def _by_epoch(rows: Sequence[Row], name: str) -> Curve:
    """Epochs, counted from 1, and the mean in each of the rows that hold the value."""
    key: Callable[[Row], int] = lambda row: row["epoch"]  # noqa: E731 - typed
    means = {
        epoch + 1: float(np.mean([row[name] for row in group]))
        for epoch, group in groupby((row for row in rows if name in row), key)
    }
    return np.array(list(means), dtype=np.float64), np.array(list(means.values()))
