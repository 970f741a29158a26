"""Figures of a study: what searchers choose against what they pay, whose judgement to trust, how deep alphas are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from pipeline.presentation.style import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    HEIGHT,
    MARKERS,
    ORANGE,
    STYLE,
    WIDTH,
    Picture,
    add_legend,
    make_axes,
    make_picture,
    shortened_label,
)
from pipeline.presentation.words import percent
from pipeline.studies.study.statistics import interval
from pipeline.studies.study.study_file import Outcome, StudyFile

Figures = Literal["percentile", "regret"]
LINES = ("--", ":", "-.")
ROW = 0.24  # inches of a judge or a search


@rc_context(STYLE)
def study_pictures(study: StudyFile) -> list[Picture]:
    """Draw percentile and regret against cost, the rank correlations, and the entropies of alphas where there are."""
    pictures = [_against_cost(study, "percentile"), _against_cost(study, "regret"), _judgements(study)]
    return [*pictures, *([_decisions(study)] if study.decisions else [])]


def curves(study: StudyFile) -> Iterator[list[Outcome]]:
    """Yield the outcomes of each searcher that has several budgets, by rising budget."""
    names = dict.fromkeys(each.searcher for each in study.outcomes if each.budget)
    for name in names:
        yield sorted((each for each in study.outcomes if each.searcher == name), key=lambda each: each.budget or 0)


def _against_cost(study: StudyFile, what: Figures) -> Picture:
    figure = Figure(figsize=(1.5 * WIDTH, 1.25 * HEIGHT), layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.set_xscale("log", base=2)
    for found, colour in zip(curves(study), cycle(COLOURS)):
        _curve(axes, study, found, what, colour)
    untrained = [each for each in study.outcomes if each.budget == 0]
    for outcome, line in zip(untrained, cycle(LINES)):
        label = shortened_label(outcome.label)
        axes.axhline(np.mean(getattr(outcome, what)), color=GREY, linestyle=line, linewidth=1.2, label=label)
    for index, outcome in enumerate(each for each in study.outcomes if each.uses_supernet):
        _point(axes, study, outcome, what, index)
    axes.set_xlabel("cost in whole trainings of a cell")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if what == "regret":
        axes.set_ylabel(f"points under {study.table.attack} to the best cell")
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    else:
        axes.set_ylabel("percentile of the chosen cell")
    add_legend(figure)
    title = "Percentile of what is chosen" if what == "percentile" else "Regret of what is chosen"
    caption = (
        f"Mean over {study.seeds} searches, with 95 % intervals by bootstrap. A cost of 1 is one whole training, by "
        "image passes, everything included. Level lines train nothing."
    )
    shown = "; ".join(f"{each.label} at {_cost(study, each):.1f}: {_in_words(each, what)}" for each in study.outcomes)
    return make_picture(f"study-{what}", title, caption, f"{shown}.", figure, is_wide=True)


def _curve(axes: Axes, study: StudyFile, found: Sequence[Outcome], what: Figures, colour: str) -> None:
    costs = [_cost(study, each) for each in found]
    low, high = zip(*(interval(getattr(each, what)) for each in found), strict=True)
    axes.fill_between(costs, low, high, color=colour, alpha=0.15, linewidth=0)
    means = [np.mean(getattr(each, what)) for each in found]
    axes.plot(costs, means, "o-", color=colour, markersize=3.5, label=shortened_label(found[0].label))


def _point(axes: Axes, study: StudyFile, found: Outcome, what: Figures, index: int) -> None:
    values = getattr(found, what)
    (low, high), mean = interval(values), np.mean(values)
    axes.errorbar(
        [_cost(study, found)],
        [mean],
        [[mean - low], [high - mean]],
        fmt=MARKERS[index % len(MARKERS)],
        color=COLOURS[-1 - index % len(COLOURS)],
        markersize=5.5,
        capsize=2,
        linewidth=1,
        label=shortened_label(found.label),
        zorder=3,
    )


def _cost(study: StudyFile, found: Outcome) -> float:
    """Return the mean cost in whole trainings."""
    return float(np.mean(found.passes)) / study.table.training_passes


def _in_words(found: Outcome, what: Figures) -> str:
    mean = float(np.mean(getattr(found, what)))
    return f"{mean:.1f}" if what == "percentile" else percent(mean)


def _judgements(study: StudyFile) -> Picture:
    ordered = sorted(study.judgements, key=lambda each: each.tau)
    figure, axes = make_axes("Kendall's tau with the table's means", "", height=max(1.2, ROW * len(ordered) + 0.7))
    for row, each in enumerate(ordered):
        colour = ORANGE if each.supernets else BLUE
        axes.plot([each.low, each.high], [row, row], "-", color=colour, linewidth=1.4)
        axes.plot([each.tau], [row], "o", color=colour, markersize=5)
    axes.axvline(0, color=GREY, linestyle=":", linewidth=1)
    axes.set_yticks(range(len(ordered)), [shortened_label(each.label) for each in ordered])
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    said = "; ".join(f"{each.label} {each.tau:+.2f} ({each.cells} cells)" for each in reversed(ordered))
    caption = "How far each judge ranks cells as the means of their trainings do, with 95 % intervals over cells."
    return make_picture("study-judges", "Whose judgement can be trusted", caption, f"{said}.", figure)


def _decisions(study: StudyFile) -> Picture:
    names = [shortened_label(each.search) for each in study.decisions]
    figure, axes = make_axes("entropy of an edge's operations", "", height=max(1.2, ROW * len(names) + 0.7))
    said = []
    for row, each in enumerate(study.decisions):
        values = np.concatenate([np.asarray(edges) for edges in each.entropy])
        jitter = np.linspace(-0.25, 0.25, len(values))
        axes.plot(values, row + jitter, "o", color=BLUE, markersize=2.5, alpha=0.35, markeredgewidth=0)
        axes.plot([values.mean()], [row], "|", color=BLACK, markersize=12)
        said.append(f"{each.search}: mean {percent(float(values.mean()))}")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    caption = (
        "Each point is an edge at the end of a search, in % of the entropy of equal chances: at 100 % its alphas have "
        "decided nothing, at 0 % everything. The bar is the mean."
    )
    return make_picture("study-alphas", "How deep alphas are decided", caption, f"{'; '.join(said)}.", figure)
