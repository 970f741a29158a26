"""Pictures of the exam: scores against noise, and one spectrum of each unseen family beside its answers."""

from __future__ import annotations

from itertools import cycle

import numpy as np
from matplotlib.figure import Figure

from continuation_exam.problems import score
from continuation_exam.tables import Results
from pipeline.presentation.style import (
    BLACK,
    COLOURS,
    GREY,
    HEIGHT,
    MARKERS,
    SKY,
    WIDTH,
    Picture,
    add_legend,
    make_picture,
)

PANEL = (3.1, 2.3)  # inches
SHOWN_NOISE = 1e-4


def draw_scores(results: Results) -> Picture:
    """Draw the share of the highest score that each method has, by part, against the noise."""
    parts = list(dict.fromkeys(problem.part for problem in results.problems))
    figure = Figure(figsize=(WIDTH * max(1.0, 0.6 * len(parts)), HEIGHT), layout="constrained", facecolor="white")
    rows = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    words = []
    for axes, part in zip(rows, parts, strict=True):
        noises = sorted({problem.noise for problem in results.problems if problem.part == part})
        for method, colour, marker in zip(results.answers, cycle(COLOURS), cycle(MARKERS)):
            errors = [results.errors(method, part, noise) for noise in noises]
            shares = [score(each) / len(each) for each in errors]
            axes.plot(noises, shares, marker=marker, markersize=4, color=colour, label=method)
            words.append(f"{part}, {method}: {', '.join(f'{share:.2f}' for share in shares)}")
        axes.set(xscale="log", title=part, xlabel="noise", ylim=(0, 1))
        axes.minorticks_off()
    rows[0].set_ylabel("score over the highest")
    add_legend(figure)
    alt = f"Share of the highest score, from low to high noise. {'; '.join(words)}."
    return make_picture("continuation-scores", "Scores", "", alt, figure, is_wide=True)


def draw_examples(results: Results) -> Picture:
    """Draw the first spectrum of each family, and what the methods made of it."""
    noises = {problem.noise for problem in results.problems}
    noise = SHOWN_NOISE if SHOWN_NOISE in noises else max(noises)
    last = results.problems[-1].part
    shown = [
        (place, one)
        for place, one in enumerate(results.problems)
        if (one.part, one.noise, one.spectrum.index) == (last, noise, 0)
    ]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained", facecolor="white")
    panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes, (place, problem) in zip(panels, shown, strict=False):
        truth = problem.truth
        axes.fill_between(problem.omega, truth, color=GREY, alpha=0.15, linewidth=0)
        axes.plot(problem.omega, truth, color=BLACK, linewidth=0.9, linestyle=":", label="truth")
        for (method, answers), colour in zip(results.answers.items(), cycle(COLOURS)):
            found = answers[place]
            if found.lower:
                axes.fill_between(problem.omega, found.lower, found.upper, color=SKY, alpha=0.3, linewidth=0)
            if found.values:
                axes.plot(problem.omega, found.values, color=colour, linewidth=1.1, label=method)
        held = np.flatnonzero(truth > 1e-3 * truth.max())
        axes.set(title=problem.spectrum.family, xlabel=r"$\omega$", ylabel=r"$A(\omega)$", ylim=(0, 1.6 * truth.max()))
        axes.set_xlim(problem.omega[held[0]] - 1, problem.omega[held[-1]] + 1)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    add_legend(figure, figure.axes[0].get_legend_handles_labels()[0])
    names = ", ".join(problem.spectrum.family for _, problem in shown)
    alt = (
        f"The first spectrum of {names} at noise {noise:g}: the truth dotted, what each method made of it, and the "
        "learned band in pale blue."
    )
    return make_picture("continuation-examples", "Examples", "", alt, figure, is_wide=True)
