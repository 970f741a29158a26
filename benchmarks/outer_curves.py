"""Outer trainings that differ in one thing: loss on new tasks against outer steps.

    python benchmarks/outer_curves.py self_training     # the shipped optimizer takes the outer steps, or Adam does
    python benchmarks/outer_curves.py architectures     # the hierarchical optimizer is trained, or the MLP

Some minutes on one core each. Both sides see the same tasks and inner trainings. Losses are means over whole trainings
of tasks that train nothing, 1 at their start and 0 at the best that Adam reaches at any rate.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import record
import torch
from matplotlib import rc_context
from task_counts import FIRST_NEW, Exam, add_training, outer_training
from torch import Tensor

from learned_optimizers import load_theta
from pipeline.presentation.style import COLOURS, MARKERS, STYLE, Picture, add_legend, make_axes, make_picture


@dataclass(frozen=True)
class Side:
    """One way of outer training. trainer: shipped theta that takes the steps; None for Adam."""

    name: str
    architecture: str = "mlp"
    trainer: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Two ways, and what the second's loss at the end should be of the first's, at most."""

    title: str
    first: Side
    second: Side
    wanted: float


COMPARISONS = {
    "self_training": Comparison(
        title="An optimizer that trains its kind",
        first=Side("trained by Adam"),
        second=Side("by the shipped optimizer", trainer="mlp"),
        wanted=1.1,
    ),
    "architectures": Comparison(
        title="Two architectures at equal outer steps",
        first=Side("mlp"),
        second=Side("hierarchical", architecture="hierarchical"),
        wanted=1.0,
    ),
}


def curve(side: Side, studied: Exam, exam: Exam, seed: int, arguments: argparse.Namespace) -> Tensor:
    """Losses before the first outer step and after every few, [judgements]."""
    trainer = None if side.trainer is None else load_theta(side.trainer)
    outer = outer_training(studied.scales, seed, arguments, architecture=side.architecture, trainer=trainer)
    found = [exam.loss(outer.theta, arguments.horizon)]
    for step in range(1, arguments.steps + 1):
        outer.step()
        if step % arguments.every == 0:
            found.append(exam.loss(outer.theta, arguments.horizon))
    return torch.tensor(found)


def measure(comparison: Comparison, arguments: argparse.Namespace) -> dict[str, Tensor]:
    """The curves of each side, [seeds, judgements]."""
    studied = Exam.of(arguments.families, 0, arguments.tasks, arguments.horizon)
    exam = Exam.of(arguments.families, FIRST_NEW, arguments.judged, arguments.horizon)
    curves: dict[Side, list[Tensor]] = {comparison.first: [], comparison.second: []}
    for seed in range(arguments.seeds):
        for side, found in curves.items():
            found.append(curve(side, studied, exam, seed, arguments))
            print(f"seed {seed}, {side.name}: {found[-1][-1]:.3f}", flush=True)
    return {side.name: torch.stack(found) for side, found in curves.items()}


def report(comparison: Comparison, curves: Mapping[str, Tensor], arguments: argparse.Namespace) -> str:
    """The table, with how it was made."""
    steps = range(0, arguments.steps + 1, arguments.every)
    rows = [
        [str(step), *map(record.mean_and_range, of_step)]
        for step, *of_step in zip(steps, *(found.T for found in curves.values()), strict=True)
    ]
    first, second = (found[:, -1] for found in curves.values())
    return "\n\n".join(
        [
            f"Trained on {arguments.tasks} tasks a bucket of {', '.join(arguments.families)}; {arguments.pairs} pairs, "
            f"whole trainings of {arguments.horizon} steps; Adam at {arguments.learning_rate}. Normalised loss (mean, "
            f"lowest and highest of {arguments.seeds} seeds):",
            record.table(["outer steps", *curves], rows),
            f"At the end the loss {comparison.second.name} is {second.mean() / first.mean():.2f} times that "
            f"{comparison.first.name} (wanted: at most {comparison.wanted}), and lower on "
            f"{int((second < first).sum())} of {arguments.seeds} seeds.",
        ]
    )


def draw(name: str, curves: Mapping[str, Tensor], every: int) -> Picture:
    """Losses against outer steps: means, over the range of seeds."""
    figure, axes = make_axes("outer step", "normalised loss on new tasks")
    for (side, found), colour, marker in zip(curves.items(), COLOURS, MARKERS, strict=False):
        steps = [every * index for index in range(found.shape[1])]
        axes.plot(steps, found.mean(0), marker=marker, color=colour, label=side)
        axes.fill_between(steps, found.min(0).values, found.max(0).values, color=colour, alpha=0.15, linewidth=0)
    add_legend(figure)
    text = "; ".join(f"{side} {found[:, -1].mean():.3f}" for side, found in curves.items())
    return make_picture(name, "Outer training", "", f"Loss at the end: {text}.", figure)


def main() -> None:
    """Measure, and write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", choices=COMPARISONS)
    add_training(parser)
    parser.add_argument("--tasks", type=int, default=16, help="of each bucket")
    parser.add_argument("--every", type=int, default=10, help="outer steps from one judgement to the next")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    comparison = COMPARISONS[arguments.comparison]
    curves = measure(comparison, arguments)
    with rc_context(STYLE):
        picture = draw(arguments.comparison, curves, arguments.every)
    text = report(comparison, curves, arguments)
    record.write(arguments.comparison, comparison.title, text, [picture], arguments.results)


if __name__ == "__main__":
    main()
