"""What have the shipped learned optimizers learned? Each is taken apart on tasks of the kind that trained it.

    python benchmarks/microscope.py                              # minutes on one core

The tasks are those of seed 1; the optimizers were trained, and chosen among the steps of their training, on those of
seed 0. Measures of the GRU on quadratics: its leading mode beside the heavy ball that is fastest on their spectrum
(accepted: decay within .05, step size within 20 %), the slope of its update at a gradient of 20 over that at 0 (under
5 %), and its mean f_t / f_0 over that of plain SGD at its best rate (at most a third).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import record
import torch

from learned_optimizers.analysis import Analysis, analyse, verdicts_on
from learned_optimizers.analysis.linearisation import Mode
from learned_optimizers.analysis.trainings import sample_tasks
from learned_optimizers.analysis.verdicts import number
from pipeline.compute.environment import environment
from pipeline.presentation.style import Picture
from pipeline.report.figures.optimizers import analysis_pictures
from pipeline.settings import AnalyseSettings
from pipeline.studies.optimizer_analysis.analysis_file import AnalysisFile, stored_parts
from pipeline.studies.optimizer_analysis.subject import load_function

SUBJECTS: Mapping[str, tuple[str, int]] = {
    "gru_quadratics": ("quadratics_5", 100),
    "gru_moons": ("moons", 100),
    "gru_rosenbrock": ("rosenbrock", 100),
    "mlp": ("mlp_digits", 200),
    "hierarchical": ("mlp_digits", 200),
    "general": ("mlp_digits", 200),
}
"""Optimizers, each with the family of its tasks and the steps that it was trained for."""

ALL_SHOWN = ("losses", "eigenvalues", "modes", "clipping", "schedule", "adaptation", "updates", "states")
SHOWN: Mapping[str, Sequence[str]] = {
    "gru_quadratics": ALL_SHOWN,
    **dict.fromkeys(("mlp", "hierarchical", "general"), ("clipping", "schedule", "adaptation", "updates")),
}
SHOWN_OF_OTHERS = ("schedule", "updates")
DECAY, STEP_SIZE, SATURATION, LOSS = 0.05, 0.2, 0.05, 1 / 3  # what is accepted of the GRU on quadratics


def taken_apart(name: str, tasks: int) -> tuple[Analysis, AnalysisFile]:
    """Analyse a shipped optimizer."""
    family, steps = SUBJECTS[name]
    settings = AnalyseSettings(optimizer=name, family=family, tasks=tasks, steps=steps)
    function = load_function(settings)
    found = analyse(function, sample_tasks(family, count=tasks, seed=settings.task_seed), steps=steps)
    file = AnalysisFile(
        command=record.command(),
        optimizer=name,
        rows=len(function.rows),
        family=family,
        trainings=tasks,
        settings=settings.model_dump(mode="json"),
        environment=environment(),
        **stored_parts(found),
    )
    return found, file


def pictures_of(name: str, file: AnalysisFile) -> Iterator[Picture]:
    """Some of the figures, named after the optimizer."""
    chosen = SHOWN.get(name, SHOWN_OF_OTHERS)
    for picture in analysis_pictures(file):
        what = picture.name.removeprefix("optimizer-")
        if what in chosen:
            yield replace(picture, name=f"microscope-{name}-{what}", alt=f"{name}, {picture.title}. {picture.alt}")


def measures(found: Analysis) -> list[list[str]]:
    """Rows of the measures of an optimizer on tasks with a known spectrum: what, found, accepted, whether it holds."""
    leading, best = found.momentum.leading or Mode(0j, 0j), found.optimum or Mode(0j, 0j)
    ratio = found.visited.relative_loss / found.sgd[1]
    away, relative = abs(leading.decay - best.decay), abs(leading.step_size / best.step_size - 1)
    clip, losses = found.clipping.ratio, f"{found.visited.relative_loss:.3f} / {found.sgd[1]:.3f} = {ratio:.2f}"
    rows = [
        ("decay of the leading mode", number(leading.decay), f"{number(best.decay)} ± {DECAY:g}", away <= DECAY),
        ("its step size", number(leading.step_size), f"{number(best.step_size)} ± 20 %", relative <= STEP_SIZE),
        ("slope at 20 over that at 0", f"{clip:.3g}", f"below {SATURATION:g}", clip < SATURATION),
        ("mean f_t / f_0 over that of SGD", losses, f"at most {LOSS:.2f}", ratio <= LOSS),
    ]
    return [[what, value, bound, "yes" if holds else "no"] for what, value, bound, holds in rows]


def section(name: str, found: Analysis, file: AnalysisFile) -> str:
    """What was found of one optimizer."""
    family, steps = SUBJECTS[name]
    rows = [
        [v.mechanism, "found" if v.found else "not found", v.said, v.figure.replace("|", "\\|")]
        for v in verdicts_on(found)
    ]
    modes = "; ".join(f"{number(m.decay)} with {number(m.step_size)}" for m in found.momentum.modes[:5])
    under = "zero gradient" if found.momentum.gradient == 0 else f"a gradient of {found.momentum.gradient:.2g}"
    parts = [
        f"## {name}",
        f"On {file.trainings} trainings of {steps} steps of {family}: mean f_t / f_0 "
        f"{found.visited.relative_loss:.3f}, plain SGD at its best rate {found.sgd[1]:.3f}. Strongest modes, decay "
        f"with step size, about the fixed point under {under}: {modes}.",
        record.table(["mechanism", "", "what it does", "this rests on"], rows),
    ]
    if found.optimum is not None and name.startswith("gru"):
        parts.append(record.table(["measure", "found", "accepted", "holds"], measures(found)))
    return "\n\n".join(parts)


def main() -> None:
    """Measure and write microscope.md with its pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--optimizers", nargs="+", default=list(SUBJECTS), choices=SUBJECTS)
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sections, pictures = [], []
    for name in arguments.optimizers:
        found, file = taken_apart(name, arguments.tasks)
        sections.append(section(name, found, file))
        pictures += pictures_of(name, file)
    record.write(
        "microscope", "Learned optimizers under the microscope", "\n\n".join(sections), pictures, arguments.results
    )


if __name__ == "__main__":
    main()
