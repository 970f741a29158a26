"""Figures of training from scratch, by epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import numpy as np
from matplotlib import rc_context
from matplotlib.lines import Line2D

from pipeline.presentation.curves import Curve, Row, draw_curves
from pipeline.presentation.style import (
    COLOURS,
    GREY,
    STYLE,
    TOP,
    Picture,
    add_legend,
    in_percent,
    make_axes,
    make_picture,
    shortened_label,
    whole_numbers,
)
from pipeline.presentation.words import percent


@rc_context(STYLE)
def retrain_pictures(runs: Mapping[str, Sequence[Row]], best: Mapping[str, int]) -> list[Picture]:
    """Loss and accuracies of each run by epoch. best: the epoch whose weights were kept."""
    losses = {label: _by_epoch(rows, "training_loss") for label, rows in runs.items()}
    caption = "Mean of each epoch, on the images as training sees them."
    loss = draw_curves("retrain-loss", "Training loss", "loss", losses, caption, x_label="epoch")
    return [loss, _training_accuracies(runs, best)]


def _training_accuracies(runs: Mapping[str, Sequence[Row]], best: Mapping[str, int]) -> Picture:
    figure, axes = make_axes("epoch", "accuracy")
    words = []
    for index, (label, rows) in enumerate(runs.items()):
        colour = COLOURS[index % len(COLOURS)]
        if not rows:
            continue
        held_back = _by_epoch(rows, "held_back_accuracy")
        axes.plot(*_by_epoch(rows, "training_accuracy"), color=colour, linestyle="--", linewidth=1, alpha=0.7)
        axes.plot(*held_back, color=colour, label=shortened_label(label))
        judged = dict(zip(*held_back, strict=True))
        for epoch in judged.keys() & {best.get(label)}:
            last, value = max(judged), judged[epoch]
            if last != epoch:
                axes.plot([last], [judged[last]], color=colour, marker="o", markersize=5.5, markerfacecolor="white")
            axes.plot([epoch], [value], color=colour, marker="o", markersize=6, markeredgecolor="white")
            words.append(
                f"{label}: {percent(value)} on the held-back images in epoch {epoch:.0f}, which was kept, and "
                f"{percent(judged[last])} in the last, {last:.0f}"
            )
        overfitted = [row for row in rows if row.get("catastrophic_overfitting")]
        epochs, accuracies = _by_epoch(overfitted, "held_back_accuracy")
        axes.plot(epochs, accuracies, color=colour, marker="x", markersize=7, markeredgewidth=2, linestyle="")
        words += [f"{label} overfits catastrophically, first in epoch {epoch:.0f}" for epoch in epochs[:1]]
    axes.set_ylim(0, TOP)
    whole_numbers(axes)
    in_percent(axes)
    named = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    add_legend(figure, [*named, Line2D([], [], color=GREY, linestyle="--", linewidth=1, label="training batches")])
    caption = (
        "Solid: held-back part of the training set; dot: the checkpoint that was kept, ring: the last, where it is "
        "another; cross: catastrophic overfitting. Dashed: training batches."
    )
    return make_picture(
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
