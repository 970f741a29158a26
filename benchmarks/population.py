"""A population that trains itself, beside an outer Adam and beside what it is made of, at equal cost.

    python benchmarks/population.py                      # all seeds; goes on where it was stopped
    python benchmarks/population.py --first-seed 100 --task-seed 7 --seeds 1    # to choose settings by

Four ways of training random thetas: the population; as many self-trainers that know nothing of one another, and as many
that frozen random optimizers train, without selection, all from the same thetas; and Adam at each of five rates, from a
theta of its own. Each keeps the theta of its lowest score on tasks that train nothing, and is judged by its loss on
other tasks, over the loss at a training's start. All cost the same trainings: those of ES, and those that choose, which
are the scores of the thetas that are drawn at first and of every judgement; Adam has few scores and so more steps. Each
way and seed is written once it is done, into --runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import record
import torch
from matplotlib import rc_context
from population_trials.setting import Setting
from population_trials.trials import ADAM, ALONE, ARCHITECTURE, FROZEN, POPULATION, Trial
from torch import Tensor

from learned_optimizers.meta_training.choices import Refresh
from pipeline.presentation.style import COLOURS, MARKERS, STYLE, Picture, add_legend, make_axes, make_picture
from pipeline.runs.files import read_json, write_json

NOT_OF_THE_RESULT = ("seeds", "first_seed", "rates", "results", "runs")


def measure(asked: argparse.Namespace) -> dict[str, Tensor]:
    """Curves of each way, [seeds, judgements]: the median over what it keeps. What was measured is read."""
    settings = {key: value for key, value in vars(asked).items() if key not in NOT_OF_THE_RESULT}
    found: dict[str, list[Tensor]] = {way: [] for way in ways(asked)}
    for way, curves in found.items():
        for seed in range(asked.first_seed, asked.first_seed + asked.seeds):
            path = asked.runs / f"{way.replace(' ', '_')}-{seed}.json"
            stored = read_json(path) if path.exists() else None
            if stored is None or stored["settings"] != settings:
                stored = {"settings": settings, "curve": Trial(Setting(asked, seed), way).run()}
                write_json(path, stored)
            curves.append(torch.tensor(stored["curve"], dtype=torch.float64).quantile(0.5, dim=1))
    return {way: torch.stack(curves) for way, curves in found.items()}


def ways(asked: argparse.Namespace) -> list[str]:
    """Return what is compared."""
    return [POPULATION, ALONE, FROZEN, *(f"{ADAM} {rate:g}" for rate in asked.rates)]


def best_adam(curves: Mapping[str, Tensor]) -> str:
    """Find the rate whose loss at the end is the lowest, mean over the seeds that are shown."""
    return min((way for way in curves if way.startswith(ADAM)), key=lambda way: curves[way][:, -1].mean().item())


def speeds(curves: Tensor) -> Tensor:
    """Divide the fall of the log-loss in the second quarter by that in the first: [seeds, judgements] -> [seeds]."""
    quarter = (curves.shape[1] - 1) // 4
    logs = curves.log()
    return (logs[:, quarter] - logs[:, 2 * quarter]) / (logs[:, 0] - logs[:, quarter])


def report(curves: Mapping[str, Tensor], asked: argparse.Namespace) -> str:
    """The tables, with how they were made."""
    adam, population = best_adam(curves), curves[POPULATION][:, -1]
    setting = Setting(asked, asked.first_seed)
    rows = [
        [way, *(f"{loss:.3f}" for loss in found[:, -1]), f"{found[:, -1].mean():.3f}"] for way, found in curves.items()
    ]
    measures: list[tuple[str, Tensor, str]] = [
        (f"population over {adam}", population / curves[adam][:, -1], "at most 1.0"),
        ("fall of the log-loss, second quarter over first", speeds(curves[POPULATION]), "at least 1"),
        ("population over the median of independent self-trainers", population / curves[ALONE][:, -1], "at most 1"),
        ("frozen random trainers (median) over population", curves[FROZEN][:, -1] / population, "at least 2"),
    ]
    seeds = [f"seed {seed}" for seed in range(asked.first_seed, asked.first_seed + asked.seeds)]
    return "\n\n".join(
        [
            f"{asked.members} members of {ARCHITECTURE} on {', '.join(asked.families)} ({asked.tasks} tasks a bucket), "
            f"trainings of {asked.horizon} steps, {asked.steps} outer steps of {asked.pairs} pairs, a judgement every "
            f"{asked.every}; the best {asked.members} of {asked.draws * asked.members} random thetas begin. "
            f"{setting.trainings[-1]:,} trainings for each way and seed, and for each of Adam's rates, which makes "
            f"{setting.steps_of_adam[-1]} outer steps. Loss on held-out tasks over that at the start, of the theta "
            "that was kept (median where a way keeps one of each member):",
            record.table(["trained by", *seeds, "mean"], rows),
            record.table(
                ["measure", *seeds, "mean", "aim"],
                [[name, *(f"{x:.2f}" for x in found), f"{found.mean():.2f}", aim] for name, found, aim in measures],
            ),
        ]
    )


def draw(curves: Mapping[str, Tensor], asked: argparse.Namespace) -> Picture:
    """Losses against ES evaluations: means, over the range of seeds."""
    figure, axes = make_axes("trainings", "held-out loss over the start's")
    setting = Setting(asked, asked.first_seed)
    of_adam = [step * setting.of_step + (n + 1) * setting.of_score for n, step in enumerate(setting.steps_of_adam)]
    for way, colour, marker in zip([POPULATION, ALONE, FROZEN, best_adam(curves)], COLOURS, MARKERS, strict=False):
        found = curves[way]
        at = of_adam if way.startswith(ADAM) else setting.trainings
        axes.plot(at, found.mean(0), marker=marker, color=colour, markersize=4, label=way)
        axes.fill_between(at, found.min(0).values, found.max(0).values, color=colour, alpha=0.15, linewidth=0)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(record.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(record.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(record.NullFormatter())
    axes.xaxis.set_major_formatter(record.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    add_legend(figure)
    text = "; ".join(f"{way} {curves[way][:, -1].mean():.3f}" for way in curves)
    return make_picture("population", "A population that trains itself", "", f"Loss at the end: {text}.", figure)


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--families", nargs="+", default=["quadratics"])
    add("--seeds", type=int, default=3)
    add("--first-seed", type=int, default=0)
    add("--task-seed", type=int, default=0)
    add("--tasks", type=int, default=16, help="of each bucket")
    add("--judged", type=int, default=12, help="tasks of each bucket that choose")
    add("--held-out", type=int, default=24, help="tasks of each bucket that measure, and cost nothing")
    add("--members", type=int, default=8)
    add("--steps", type=int, default=40, help="outer steps of each member")
    add("--every", type=int, default=5, help="outer steps from one judgement to the next; a quarter is whole ones")
    add("--horizon", type=int, default=12, help="inner steps of a training")
    add("--pairs", type=int, default=8)
    add("--streams", type=int, default=1)
    add("--sigma", type=float, default=0.03)
    add("--init-scale", type=float, default=8.0)
    add("--draws", type=int, default=16, help="random thetas for each member, of which the best begin")
    add("--best", type=int, default=2)
    add("--exploited", type=int, default=3)
    add("--refresh", choices=get_args(Refresh), default="best", help="whose theta trainers' snapshots become")
    add("--noise", type=float, default=0.0)
    add("--sigma-factor", type=float, default=1.5)
    add("--new-trainer", type=float, default=0.5)
    add("--rates", nargs="+", type=float, default=[0.003, 0.01, 0.03, 0.1, 0.3])
    add("--runs", type=Path, default=Path("runs/benchmark_population"), help="what is done already")
    add("--results", type=Path, default=record.RESULTS)
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, and write table and picture."""
    asked = parsed()
    torch.set_num_threads(1)
    curves = measure(asked)
    with rc_context(STYLE):
        picture = draw(curves, asked)
    record.write("population", "A population that trains itself", report(curves, asked), [picture], asked.results)


if __name__ == "__main__":
    main()
