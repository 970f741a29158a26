"""A learned optimizer with nothing tuned beside swept and default ones, on tasks and seeds that trained nothing.

    python benchmarks/learned_optimizer.py                       # the shipped optimizer; minutes on one core
    python benchmarks/learned_optimizer.py --theta runs/meta/theta.safetensors

Digits: a network wider than any that trained the optimizer, 10 seeds; its loss, and the steps and seconds until it has
the best validation loss that each hand-designed optimizer reaches at its best rate. Held-out tasks: families that
trained nothing, and new tasks of those that did; loss at the end of training on test data, 1 at the start and 0 at the
best that Adam reaches at any rate.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import record
import torch
from matplotlib import rc_context
from torch import Tensor

from learned_optimizers import Theta, architecture, load_theta
from learned_optimizers.meta_training.baselines import BASELINES, RATE, UpdateRule
from learned_optimizers.meta_training.judging import theta_curves
from learned_optimizers.meta_training.normalisation import ADAM_RATES, WINDOW, best_reached, normalised, rate_curves
from learned_optimizers.meta_training.unroll import Draw, curves, same_in_all
from learned_optimizers.tasks import HELD_OUT, TRAINED_ON, Task, buckets
from learned_optimizers.tasks.classifiers import MlpClassifier
from pipeline.presentation.style import COLOURS, STYLE, Picture, add_legend, make_axes, make_picture

DEFAULTS = {"adam": 1e-3, "rmsprop": 1e-2, "sgd": 1e-2}  # torch's rates; that of sgd is the usual one
FIRST_NEW = 1000  # index of the first task: far from those that train and judge
CAP = 2.0
LEARNED = "learned, nothing tuned"
ROUNDS = 5  # of timing all optimizers in turn; the fastest counts, as other work only ever adds
LOSS_TICKS = (0.05, 0.1, 0.2, 0.5, 1, 2)
SHARE_TICKS = (-0.01, 0, 0.01, 0.1, 1)


class DigitsNetwork(MlpClassifier):
    """64 -> 32 -> 10, wider than any network of the training tasks."""

    variants = (((32,), "relu"),)


@dataclass(frozen=True)
class Digits:
    """What was found on the digits. learned: [steps, seeds].  swept: by optimizer [steps, rates, seeds].

    seconds: of a step, by optimizer.
    """

    learned: Tensor
    swept: Mapping[str, Tensor]
    seconds: Mapping[str, float]

    def best_rate(self, name: str) -> int:
        """The rate with the lowest loss over a window, mean over the seeds."""
        return int(best_reached(self.swept[name]).mean(1).argmin())

    def reached_after(self, target: Tensor) -> Tensor:
        """Steps until the learned optimizer's mean over a window is at most `target` [seeds]; inf where it never is."""
        windows = self.learned.unfold(0, WINDOW, 1).mean(-1)
        reached = windows <= target
        return torch.where(reached.any(0), reached.int().argmax(0).float() + WINDOW, torch.inf)

    def best_after(self, name: str) -> Tensor:
        """Steps until an optimizer at its best rate has its own best loss: [seeds]."""
        windows = self.swept[name][:, self.best_rate(name)].unfold(0, WINDOW, 1).mean(-1)
        return windows.argmin(0).float() + WINDOW


def seconds_a_step(theta: Theta, task: Task, steps: int = 40) -> dict[str, float]:
    """Of one training alone by each optimizer, and by the learned one."""
    rate = {RATE: torch.tensor(1e-3)}
    rules: dict[str, tuple[UpdateRule, Mapping[str, Tensor]]] = {name: (rule, rate) for name, rule in BASELINES.items()}
    rules[LEARNED] = (architecture(theta.architecture), theta.tensors)
    draw = Draw.of_trainings([task], seed=0, split="test")
    found = dict.fromkeys(rules, float("inf"))
    for _ in range(ROUNDS):
        for name, (rule, tensors) in rules.items():
            started = time.perf_counter()
            curves(rule, same_in_all(tensors, 1), draw, steps)
            found[name] = min(found[name], (time.perf_counter() - started) / steps)
    return found


def on_digits(theta: Theta, steps: int, seeds: int) -> Digits:
    """Train the digits network by every optimizer, at every rate, with every seed."""
    tasks = [DigitsNetwork("digits", 0, FIRST_NEW + seed, "digits") for seed in range(seeds)]
    return Digits(
        theta_curves(theta, tasks, steps, seed=1, split="outer_validation"),
        {
            name: rate_curves(rule, ADAM_RATES, tasks, steps, seed=1, split="outer_validation")
            for name, rule in BASELINES.items()
        },
        seconds_a_step(theta, tasks[0]),
    )


def on_held_out(theta: Theta, families: Sequence[str], count: int, steps: int) -> dict[str, Tensor]:
    """Normalised losses at the end, [tasks], by optimizer; of `count` new tasks of every bucket."""
    parts: dict[str, list[Tensor]] = {}
    for bucket in buckets(families):
        tasks = [bucket.task(0, FIRST_NEW + index) for index in range(count)]
        swept = {
            name: rate_curves(rule, ADAM_RATES, tasks, steps, seed=1, split="test") for name, rule in BASELINES.items()
        }
        initial = swept["adam"][0, 0]
        scale = torch.stack([initial, torch.minimum(best_reached(swept["adam"]).amin(0), initial)], -1)
        learned = normalised(theta_curves(theta, tasks, steps, seed=1, split="test"), scale, CAP)
        parts.setdefault(LEARNED, []).append(learned[-WINDOW:].mean(0))
        for name, found in swept.items():
            parts.setdefault(name, []).append(normalised(found, scale, CAP)[-WINDOW:].mean(0))
        print(f"{bucket.family} {bucket.variant}", flush=True)
    joined = {name: torch.cat(found, -1) for name, found in parts.items()}
    by_default = torch.stack([joined[name][_at(rate)] for name, rate in DEFAULTS.items()])
    adam = joined["adam"]
    return {
        LEARNED: joined[LEARNED],
        f"Adam, one rate for all ({ADAM_RATES[int(adam.median(1).values.argmin())]:g})": adam[
            adam.median(1).values.argmin()
        ],
        "Adam, swept per task": adam.amin(0),
        "Adam, default": adam[_at(DEFAULTS["adam"])],
        "best default of Adam, RMSProp, SGD": by_default.amin(0),
    }


def _at(rate: float) -> int:
    return ADAM_RATES.index(rate)


def digits_table(found: Digits) -> str:
    """Steps and seconds of the learned optimizer beside each swept one, and losses at the end."""
    lines = []
    for name in BASELINES:
        at = found.best_rate(name)
        target = best_reached(found.swept[name][:, at])
        ours, theirs = found.reached_after(target), found.best_after(name)
        ratio = ours / theirs
        seconds = ratio * found.seconds[LEARNED] / found.seconds[name]
        lines.append(
            [
                f"{name}, best rate {ADAM_RATES[at]:g}",
                f"{target.mean():.3f}",
                f"{theirs.median():.0f}",
                f"{ours.median():.0f}",
                f"{ratio.median():.2f}",
                f"{seconds.median():.2f}",
                f"{ours.isinf().sum()} of {len(ours)}",
            ]
        )
    header = ["swept", "its best loss", "its steps", "learned's steps", "ratio", "in seconds", "never reached"]
    default, learned = (curve[-WINDOW:].mean(0) for curve in (found.swept["adam"][:, _at(1e-3)], found.learned))
    return "\n\n".join(
        [
            f"Loss after {len(found.learned)} steps, mean of the last {WINDOW}, over {len(learned)} seeds: learned "
            f"{learned.mean():.3f} ± {learned.std():.3f}, default Adam {default.mean():.3f} ± {default.std():.3f}; "
            f"learned is lower on {(learned <= default).sum()} of {len(learned)}.",
            "Steps and seconds (medians over seeds) to the best validation loss of each swept optimizer:",
            record.table(header, lines),
            "Milliseconds a step, one network alone: "
            + ", ".join(f"{name} {1e3 * seconds:.2f}" for name, seconds in found.seconds.items())
            + ".",
        ]
    )


def held_out_table(found: Mapping[str, Tensor]) -> str:
    """Mean and median of every optimizer."""
    lines = [[name, f"{losses.mean():.4f}", f"{losses.median():.4f}"] for name, losses in found.items()]
    return record.table(["optimizer", "mean", "median"], lines)


def draw_digits(found: Digits) -> Picture:
    """Loss against steps: the learned one, each swept one at its best rate, and default Adam."""
    figure, axes = make_axes("step", "validation loss")
    shown = {LEARNED: found.learned, "Adam, default": found.swept["adam"][:, _at(1e-3)]}
    shown |= {f"{name}, best rate": found.swept[name][:, found.best_rate(name)] for name in BASELINES}
    for (label, losses), colour in zip(shown.items(), COLOURS, strict=False):
        low, middle, high = (np.quantile(losses.numpy(), q, axis=1) for q in (0.1, 0.5, 0.9))
        steps = np.arange(1, len(losses) + 1)
        axes.plot(steps, middle, color=colour, label=label)
        axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(yscale="log", yticks=LOSS_TICKS, yticklabels=map(str, LOSS_TICKS))
    axes.minorticks_off()
    add_legend(figure)
    text = "; ".join(f"{label}: {losses[-WINDOW:].mean():.3f} at the end" for label, losses in shown.items())
    return make_picture("learned_optimizer-digits", "Digits", "", f"Loss against steps. {text}.", figure)


def draw_held_out(found: Mapping[str, Tensor]) -> Picture:
    """Share of tasks up to each normalised loss."""
    figure, axes = make_axes("normalised loss at the end", "share of tasks")
    for (label, losses), colour in zip(found.items(), COLOURS, strict=False):
        shares = np.arange(1, len(losses) + 1) / len(losses)
        axes.step(np.sort(losses.numpy()), shares, where="post", color=colour, label=label)
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set(xlim=(-0.05, CAP), ylim=(0, 1.02), xticks=SHARE_TICKS, xticklabels=map(str, SHARE_TICKS))
    axes.minorticks_off()
    add_legend(figure)
    text = "; ".join(f"{label}: median {losses.median():.4f}" for label, losses in found.items())
    return make_picture("learned_optimizer-held_out", "Held-out tasks", "", f"Shares of tasks. {text}.", figure)


def main() -> None:
    """Measure, and write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--theta", default="mlp", help="a file or a shipped name")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=4, help="of every bucket")
    parser.add_argument("--held-out", nargs="+", default=list(HELD_OUT), help="families that trained nothing")
    parser.add_argument("--known", nargs="*", default=list(TRAINED_ON), help="families of which new tasks are drawn")
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    theta = load_theta(arguments.theta)
    digits = on_digits(theta, arguments.steps, arguments.seeds)
    held_out = on_held_out(theta, arguments.held_out, arguments.tasks, arguments.steps)
    parts = ["## Digits", digits_table(digits), "## Tasks of held-out families", held_out_table(held_out)]
    if arguments.known:
        known = on_held_out(theta, arguments.known, arguments.tasks, arguments.steps)
        parts += ["## New tasks of the families that trained it", held_out_table(known)]
    with rc_context(STYLE):
        pictures = [draw_digits(digits), draw_held_out(held_out)]
    record.write("learned_optimizer", "The learned optimizer", "\n\n".join(parts), pictures, arguments.results)


if __name__ == "__main__":
    main()
