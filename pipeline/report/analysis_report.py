"""The page of an optimizer's analysis: what was found, in words, with the pictures."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from learned_optimizers.analysis.verdicts import number
from learned_optimizers.tasks import TASK_FAMILIES
from on_demand import label
from pipeline.presentation.words import counted
from pipeline.report.figures.optimizers import analysis_pictures
from pipeline.report.html import page, write_page
from pipeline.runs.metrics import flattened
from pipeline.studies.optimizer_analysis.analysis_file import AnalysisFile, read_analysis

SHOWN_MODES = 8


def write(folder: Path) -> Path:
    """Write report.html and figures/*.png of the analysis in a run folder; return the page's path.

    Raises RunError that names the file where it is damaged.
    """
    found = read_analysis(folder)
    pictures = analysis_pictures(found)
    html = page("analysis.html.j2", _content(folder, found) | {"pictures": pictures})
    return write_page(folder, html, pictures)


def _content(folder: Path, found: AnalysisFile) -> dict[str, Any]:
    """Return the template's values by name, but for the pictures."""
    return {
        "label": found.optimizer,
        "folder": folder,
        "lead": lead(found),
        "verdicts": found.verdicts,
        "modes": [
            (number(complex(*mode.decay)), number(complex(*mode.step_size)), f"{mode.strength:.3g}")
            for mode in found.momentum.modes[:SHOWN_MODES]
        ],
        "fixed": fixed_points_in_words(found),
        "settings": [(key, str(value)) for key, value in flattened(found.settings).items()],
        "environment": [(key, str(value)) for key, value in found.environment.items()],
        "made_by": found.command,
        "command": f"python scripts/report.py {shlex.quote(f'run={folder}')}",
    }


def lead(found: AnalysisFile) -> str:
    """Say what was looked at."""
    family = label(TASK_FAMILIES, found.family)
    return (
        f"{found.optimizer}, with {counted(found.rows, 'number')} of state an element, on "
        f"{counted(found.trainings, 'training')} of {counted(len(found.losses), 'step')} ({family}). Mean loss over "
        f"that of the start: {found.relative_loss:.3g}; plain SGD at its best rate: {found.sgd[1]:.3g}."
    )


def fixed_points_in_words(found: AnalysisFile) -> str:
    """Say where the modes were measured."""
    momentum = found.momentum
    under = "zero gradient" if momentum.gradient == 0 else f"a typical gradient, {momentum.gradient:.3g}"
    return (
        f"About the state that settles under {under}, as after {counted(found.middle, 'step')}. Half the squared "
        f"length of a step there: {momentum.slowest:.2g}; median of all searches, each from a state met: "
        f"{momentum.median:.2g}."
    )
