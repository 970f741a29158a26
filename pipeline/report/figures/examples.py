"""Adversarial examples: clean images, what an attack made of them, and what it added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.data import as_float
from pipeline.evaluation.examples import Examples
from pipeline.presentation.style import BLACK, STYLE, VERMILLION, Picture, make_picture
from pipeline.presentation.words import counted, printable, shown

IMAGE_SIDE, BETWEEN = 1.05, 0.22  # inches: of an image, and of the words under it
CAPTION_LETTERS = 13  # that fit under an image


@rc_context(STYLE)
def examples_picture(examples: Examples, class_names: Sequence[str]) -> Picture:
    """A column an image: clean, attacked, and the change, magnified so that its largest is about black or white."""
    count, change = len(examples.labels), examples.perturbation
    factor = max(1, int(0.5 / max(float(change.abs().max()), 1e-3)))
    rows = (as_float(examples.clean), examples.attacked, 0.5 + factor * change)
    names, called = (
        [_name(class_names, int(label)) for label in labels] for labels in (examples.labels, examples.predictions)
    )
    figure = Figure(
        figsize=(IMAGE_SIDE * count + 0.9, 3 * (IMAGE_SIDE + BETWEEN)), layout="constrained", facecolor="white"
    )
    grid: Any = figure.subplots(3, count, squeeze=False)
    for axes, label in zip(grid[:, 0], ("clean", "attacked", f"change, {factor}x"), strict=True):
        axes.set_ylabel(label)
    for column in range(count):
        for row, pixels in enumerate(rows):
            _show(grid[row, column], pixels[column].numpy().transpose(1, 2, 0))
        wrong = examples.predictions[column] != examples.labels[column]
        grid[0, column].set_xlabel(names[column], labelpad=2)
        grid[1, column].set_xlabel(called[column], labelpad=2, color=VERMILLION if wrong else BLACK)
    return make_picture(
        "examples", "Adversarial examples", _caption(examples, factor), _alt(names, called), figure, is_wide=count > 4
    )


def _show(axes: Axes, pixels: NDArray[np.float32]) -> None:
    """pixels: [height, width, channels] in [0, 1], 1 or 3 channels."""
    grey = pixels.shape[2] == 1
    axes.imshow(pixels[..., 0] if grey else pixels.clip(0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _name(class_names: Sequence[str], label: int) -> str:
    name = printable(class_names[label]).replace("$", r"\$") if label < len(class_names) else str(label)
    return name if len(name) <= CAPTION_LETTERS else name[: CAPTION_LETTERS - 1] + "…"


def _caption(examples: Examples, factor: int) -> str:
    eps = examples.settings.get("eps")
    allowed = f", ε = {shown('eps', eps)}" if isinstance(eps, float) else ""
    return (
        "The first test images, classified right, that the attack turns, and the first that it does not "
        f"({examples.settings['name']}{allowed}): how many it turns of all is in the table. Below an image: what the "
        f"network calls it, coloured where wrong. In the change, magnified {factor}x, grey is none."
    )


def _alt(names: Sequence[str], called: Sequence[str]) -> str:
    wrong = [f"{name} as {other}" for name, other in zip(names, called, strict=True) if name != other]
    return f"{counted(len(names), 'image')}, attacked; {len(wrong)} then called wrong" + (
        f": {', '.join(wrong)}." if wrong else "."
    )
