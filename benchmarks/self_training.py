"""A learned optimizer that trains another of its kind, beside Adam: loss on new tasks against outer steps.

    python benchmarks/self_training.py                           # some minutes on one core

Both begin from the same theta and see the same tasks and perturbations; the shipped optimizer takes the steps of one,
with nothing tuned, and Adam those of the other. Losses are means over whole trainings of tasks that train nothing, 1 at
their start and 0 at the best that Adam reaches at any rate.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import record
import torch
from matplotlib import rc_context
from task_counts import FIRST_NEW, Exam, add_training, outer_training
from torch import Tensor

from learned_optimizers import load_theta
from pipeline.figures.style import COLOURS, MARKERS, STYLE, Picture, add_legend, make_axes, make_picture

ADAM, ITSELF = "Adam", "the shipped optimizer"
NEAR = 1.1  # times the Adam-trained loss, within which the measure wants the other


def curve(trainer: str, studied: Exam, exam: Exam, seed: int, arguments: argparse.Namespace) -> Tensor:
    """Losses before the first outer step and after every few, [judgements]."""
    theta = load_theta("mlp") if trainer == ITSELF else None
    outer = outer_training(studied.scales, seed, arguments, trainer=theta)
    found = [exam.loss(outer.theta, arguments.horizon)]
    for step in range(1, arguments.steps + 1):
        outer.step()
        if step % arguments.every == 0:
            found.append(exam.loss(outer.theta, arguments.horizon))
    return torch.tensor(found)


def measure(arguments: argparse.Namespace) -> dict[str, Tensor]:
    """The curves of each trainer, [seeds, judgements]."""
    studied = Exam.of(arguments.families, 0, arguments.tasks, arguments.horizon)
    exam = Exam.of(arguments.families, FIRST_NEW, arguments.judged, arguments.horizon)
    curves: dict[str, list[Tensor]] = {ADAM: [], ITSELF: []}
    for seed in range(arguments.seeds):
        for trainer, found in curves.items():
            found.append(curve(trainer, studied, exam, seed, arguments))
            print(f"seed {seed}, {trainer}: {found[-1][-1]:.3f}", flush=True)
    return {trainer: torch.stack(found) for trainer, found in curves.items()}


def report(curves: Mapping[str, Tensor], arguments: argparse.Namespace) -> str:
    """The table, with how it was made."""
    steps = range(0, arguments.steps + 1, arguments.every)
    rows = [
        [str(step), *(f"{found.mean():.3f} ({found.min():.3f} to {found.max():.3f})" for found in of_step)]
        for step, *of_step in zip(steps, *(found.T for found in curves.values()), strict=True)
    ]
    ratio = (curves[ITSELF][:, -1].mean() / curves[ADAM][:, -1].mean()).item()
    return "\n\n".join(
        [
            f"Trained on {arguments.tasks} tasks a bucket of {', '.join(arguments.families)}; {arguments.pairs} pairs, "
            f"whole trainings of {arguments.horizon} steps; Adam at {arguments.learning_rate}. Normalised loss (mean, "
            f"lowest and highest of {arguments.seeds} seeds):",
            record.table(["outer steps", *curves], rows),
            f"At the end the self-trained loss is {ratio:.2f} times the Adam-trained one; wanted: at most {NEAR}.",
        ]
    )


def draw(curves: Mapping[str, Tensor], every: int) -> Picture:
    """Losses against outer steps: means, over the range of seeds."""
    figure, axes = make_axes("outer step", "normalised loss on new tasks")
    for (trainer, found), colour, marker in zip(curves.items(), COLOURS, MARKERS, strict=False):
        steps = [every * index for index in range(found.shape[1])]
        axes.plot(steps, found.mean(0), marker=marker, color=colour, label=f"trained by {trainer}")
        axes.fill_between(steps, found.min(0).values, found.max(0).values, color=colour, alpha=0.15, linewidth=0)
    add_legend(figure)
    text = "; ".join(f"{trainer} {found[:, -1].mean():.3f}" for trainer, found in curves.items())
    return make_picture("self_training", "Self-training", "", f"Loss at the end, trained by {text}.", figure)


def main() -> None:
    """Measure, and write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training(parser)
    parser.add_argument("--tasks", type=int, default=16, help="of each bucket")
    parser.add_argument("--every", type=int, default=10, help="outer steps from one judgement to the next")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    curves = measure(arguments)
    with rc_context(STYLE):
        picture = draw(curves, arguments.every)
    text = report(curves, arguments)
    record.write("self_training", "An optimizer that trains its kind", text, [picture], arguments.results)


if __name__ == "__main__":
    main()
