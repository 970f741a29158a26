"""The curve of a learned optimizer's training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context

from pipeline.presentation.curves import Row, averaged, draw_curves
from pipeline.presentation.style import STYLE, Picture

CAPTION = (
    "1 is the loss where a task's training starts, 0 the best that Adam reaches at any of its rates. Judged: whole "
    "trainings on tasks that train nothing; training tasks are unrolled and weighted as outer training does."
)


@rc_context(STYLE)
def meta_pictures(rows: Sequence[Row], judged: Sequence[Row]) -> list[Picture]:
    """Normalised losses over the outer steps. judged: rows with step, mean and last_mean."""
    steps = np.array([row["step"] for row in judged], dtype=np.float64)
    curves = {
        "training tasks": averaged([row["step"] for row in rows], [row["loss"] for row in rows]),
        "judged: whole training": (steps, np.array([row["mean"] for row in judged])),
        "judged: its last steps": (steps, np.array([row["last_mean"] for row in judged])),
    }
    return [draw_curves("meta-loss", "Outer loss", "normalised loss", curves, CAPTION, x_label="outer step")]
