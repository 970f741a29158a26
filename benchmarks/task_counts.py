"""Do more tasks generalise better? Optimizers trained on 4, 16 and 64 tasks of each bucket for as many outer steps.

    python benchmarks/task_counts.py                             # minutes on one core

All begin from the same theta and see the same number of inner trainings; few tasks are met again and again. Known: the
first tasks, which all of them trained on. New: other tasks of the same families. Held out: families that trained none.
Losses are means over whole trainings, 1 at their start and 0 at the best that Adam reaches at any rate.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import record
import torch
from matplotlib import rc_context
from torch import Tensor

from learned_optimizers import Theta, new_theta
from learned_optimizers.meta_training.judging import Judging, Scaling
from learned_optimizers.meta_training.outer import Lengths, OuterTraining
from learned_optimizers.meta_training.truncated_unrolls import UnrollRecipe
from learned_optimizers.tasks import HELD_OUT, Bucket, buckets
from pipeline.presentation.style import COLOURS, MARKERS, STYLE, Picture, add_legend, make_axes, make_picture

CAP = 2.0
FIRST_NEW = 1000  # index of the first task that trains nothing
KNOWN, NEW, HELD = "known tasks", "new tasks", "held-out families"

Scales = Mapping[Bucket, Tensor]


@dataclass(frozen=True)
class Exam:
    """Tasks that theta is judged on. scales: of the tasks from `first` on, by bucket."""

    first: int
    scales: Scales

    @classmethod
    def of(cls, families: Sequence[str], first: int, count: int, horizon: int) -> Exam:
        """`count` tasks of every bucket."""
        indices = tuple(range(first, first + count))
        return cls(first, {bucket: Scaling(bucket, indices, 0, horizon)() for bucket in buckets(families)})

    def loss(self, theta: Theta, horizon: int) -> float:
        """Normalised, mean over tasks and their trainings."""
        found = []
        for bucket, scale in self.scales.items():
            indices = tuple(range(self.first, self.first + len(scale)))
            found.append(Judging(theta, bucket, indices, 0, horizon, CAP, scale)()[0])
        return torch.cat(found).mean().item()


def outer_training(
    scales: Scales,
    seed: int,
    arguments: argparse.Namespace,
    *,
    architecture: str = "mlp",
    trainer: Theta | None = None,
) -> OuterTraining:
    """A training on these tasks before its first step. trainer: what takes the steps; None for Adam."""
    recipe = UnrollRecipe(
        seed=seed,
        task_seed=0,
        estimator="es",
        pairs=arguments.pairs,
        sigma=0.01,
        horizon=arguments.horizon,
        full=True,
        cap=CAP,
        outer_batches=1,
    )
    return OuterTraining(
        new_theta(architecture, generator=torch.Generator().manual_seed(seed)),
        recipe,
        dict(scales),
        lengths=Lengths(arguments.horizon, arguments.horizon, 1),
        streams=min(arguments.streams, len(scales)),
        learning_rate=arguments.learning_rate,
        clip=0.1,
        trainer=trainer,
    )


def trained(scales: Scales, count: int, seed: int, arguments: argparse.Namespace) -> Theta:
    """Theta after outer training on the first `count` tasks of every bucket."""
    outer = outer_training({bucket: scale[:count] for bucket, scale in scales.items()}, seed, arguments)
    for _ in range(arguments.steps):
        outer.step()
    return outer.theta


def measure(arguments: argparse.Namespace) -> dict[str, Tensor]:
    """Losses of each exam, [counts, seeds]."""
    horizon, counts = arguments.horizon, arguments.counts
    studied = Exam.of(arguments.families, 0, max(counts), horizon)
    exams = {
        KNOWN: Exam(0, {bucket: scale[: min(counts)] for bucket, scale in studied.scales.items()}),
        NEW: Exam.of(arguments.families, FIRST_NEW, arguments.judged, horizon),
        HELD: Exam.of(arguments.held_out, FIRST_NEW, arguments.judged, horizon),
    }
    found = {name: torch.empty(len(counts), arguments.seeds) for name in exams}
    for seed in range(arguments.seeds):
        for row, count in enumerate(counts):
            theta = trained(studied.scales, count, seed, arguments)
            for name, exam in exams.items():
                found[name][row, seed] = exam.loss(theta, horizon)
            print(f"seed {seed}, {count} tasks", flush=True)
    return found


def report(found: Mapping[str, Tensor], arguments: argparse.Namespace) -> str:
    """The table, with how it was made."""
    lines = [
        [str(count), *map(record.mean_and_range, rows)]
        for count, *rows in zip(arguments.counts, *found.values(), strict=True)
    ]
    falls = int((found[HELD].diff(dim=0) <= 0).all(0).sum())
    return "\n\n".join(
        [
            f"Trained on {', '.join(arguments.families)}; {arguments.steps} outer steps of {arguments.pairs} pairs, "
            f"whole trainings of {arguments.horizon} steps. Normalised loss (mean, lowest and highest of "
            f"{arguments.seeds} seeds):",
            record.table(["tasks a bucket", *found], lines),
            f"On held-out families ({', '.join(arguments.held_out)}) it never rises with the tasks at {falls} of "
            f"{arguments.seeds} seeds.",
        ]
    )


def draw(found: Mapping[str, Tensor], counts: Sequence[int]) -> Picture:
    """Losses against the number of tasks; every seed is a point."""
    figure, axes = make_axes("tasks of each bucket", "normalised loss")
    for (name, losses), colour, marker in zip(found.items(), COLOURS, MARKERS, strict=False):
        axes.plot(counts, losses.mean(1), marker=marker, color=colour, label=name)
        for seed in losses.T:
            axes.plot(counts, seed, marker, color=colour, alpha=0.35, markersize=4, linewidth=0)
    axes.set(xscale="log")
    axes.set_xticks(np.array(counts), [str(count) for count in counts])
    axes.minorticks_off()
    add_legend(figure)
    text = "; ".join(f"{name} {losses[0].mean():.3f} to {losses[-1].mean():.3f}" for name, losses in found.items())
    return make_picture("task_counts", "More tasks", "", f"Loss against tasks: {text}.", figure)


def main() -> None:
    """Measure, and write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training(parser)
    parser.add_argument("--counts", nargs="+", type=int, default=[4, 16, 64], help="tasks of each bucket, rising")
    parser.add_argument("--held-out", nargs="+", default=list(HELD_OUT), help="families that train nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(arguments)
    with rc_context(STYLE):
        picture = draw(found, arguments.counts)
    record.write("task_counts", "Tasks and generalisation", report(found, arguments), [picture], arguments.results)


def add_training(parser: argparse.ArgumentParser) -> None:
    """The size of an outer training and of its exam."""
    parser.add_argument("--families", nargs="+", default=["mlp_clusters", "autoencoder_clusters", "quadratics"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="of outer training")
    parser.add_argument("--horizon", type=int, default=30, help="inner steps of a whole training")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=0.1, help="of the outer Adam")
    parser.add_argument("--judged", type=int, default=8, help="new tasks of every bucket")
    parser.add_argument("--results", type=Path, default=record.RESULTS)


if __name__ == "__main__":
    main()
