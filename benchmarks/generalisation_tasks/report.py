"""Tables, the performance profile and the figures in JSON of a comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from statistics import median
from typing import Any

import numpy as np
import record

from generalisation_tasks.comparison import BEST, DEFAULT, Entry, TaskResult
from generalisation_tasks.runs import finite
from pipeline.presentation.style import COLOURS, Picture, add_legend, in_percent, make_axes, make_picture

FARTHEST = 100.0  # times the best loss: the end of the picture
TICKS = (1, 2, 5, 10, 20, 50, 100)
Results = Sequence[TaskResult]


def shown(value: float) -> str:
    """A loss or a ratio, for a cell."""
    return f"{value:.3g}" if math.isfinite(value) else "∞"


def all_tasks(results: Results) -> str:
    """How each optimizer does over all tasks."""
    header = ["optimizer", "not trained", "rose at first", "final ≤ default AdamW's", "final ≤ swept AdamW's"]
    header += ["held out ≤ swept AdamW's", "steps to AdamW's best", "seconds to it"]
    return record.table(header, [[name, *_figures(results, name)] for name in results[0].entries])


def _figures(results: Results, name: str) -> list[str]:
    count = len(results)
    pairs = [(result.entries[name], result.entries[DEFAULT], result.entries[BEST]) for result in results]
    checks: list[Callable[[Entry, Entry, Entry], bool]] = [
        lambda ours, default, best: not ours.is_trained,
        lambda ours, default, best: ours.has_risen,
        lambda ours, default, best: ours.is_trained and ours.final <= default.final,
        lambda ours, default, best: ours.is_trained and ours.final <= best.final,
        lambda ours, default, best: ours.is_trained and ours.held_out <= best.held_out,
    ]
    times = [result.time_to_best(name) for result in results]
    medians = [median(part) for part in zip(*times, strict=True)]
    return [*(f"{sum(check(*pair) for pair in pairs)} of {count}" for check in checks), *map(shown, medians)]


def by_family(results: Results) -> str:
    """Median over a family's tasks of each final loss over that of swept AdamW."""
    names, rows = list(results[0].entries), []
    for family, members in groupby(results, key=lambda result: result.task.family):
        tasks = list(members)
        ratios = [median(task.ratio(name, BEST) for task in tasks) for name in names]
        failed = [sum(not task.entries[name].is_trained for task in tasks) for name in names]
        cells = [shown(ratio) + (f" ({lost} not)" if lost else "") for ratio, lost in zip(ratios, failed, strict=True)]
        rows.append([family, str(len(tasks)), *cells])
    return record.table(["family", "tasks", *names], rows)


def by_task(results: Results) -> str:
    """Final training loss and held-out loss of each optimizer on each task."""
    rows = [
        [
            f"{result.task.family}: {result.task.name}",
            f"{result.weights:,}",
            *(f"{shown(one.final)} / {shown(one.held_out)}" for one in result.entries.values()),
        ]
        for result in results
    ]
    return record.table(["task", "weights", *results[0].entries], rows)


def draw_profile(results: Results, name: str) -> Picture:
    """Share of tasks on which each optimizer's final loss is within a factor of the best (Dolan & Moré 2002)."""
    figure, axes = make_axes("final loss over the lowest on the task", "share of tasks")
    texts = []
    for place, label in enumerate(results[0].entries):
        ratios = np.sort([result.over_the_best(label) for result in results])
        ratios = ratios[ratios <= FARTHEST]
        x = np.concatenate([[1.0], ratios, [FARTHEST]])
        y = np.concatenate([[0.0], np.arange(1, len(ratios) + 1), [len(ratios)]]) / len(results)
        style = ("-", "--", ":")[place // len(COLOURS)]
        axes.step(x, y, where="post", color=COLOURS[place % len(COLOURS)], linestyle=style, label=label)
        texts.append(f"{label}: {np.mean(ratios <= 2) * len(ratios) / len(results) if len(ratios) else 0:.0%} within 2")
    axes.set_xscale("log")
    axes.set(xlim=(0.97, FARTHEST), ylim=(0, 1.02), xticks=TICKS, xticklabels=map(str, TICKS))
    axes.minorticks_off()
    in_percent(axes)
    add_legend(figure)
    return make_picture(name, "Performance profile", "", f"Shares of tasks. {'; '.join(texts)}.", figure)


def figures(results: Results) -> list[dict[str, Any]]:
    """All figures of the tasks, for JSON; null where a loss was not finite or a loss was never reached."""
    return [
        finite(
            {
                "task": result.task.name,
                "family": result.task.family,
                "weights": result.weights,
                "batch_size": result.task.batch_size,
                "steps": result.steps,
                "optimizers": {name: _of_entry(result, name) for name in result.entries},
            }
        )
        for result in results
    ]


def _of_entry(result: TaskResult, name: str) -> dict[str, Any]:
    entry = result.entries[name]
    of_seeds = {
        key: [getattr(outcome, key) for outcome in entry.outcomes]
        for key in ("first", "highest", "final", "held_out", "seconds")
    }
    return {"rate": entry.rate, **of_seeds, "steps_to_best": result.steps_to_best(name)}
