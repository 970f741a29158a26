"""A population that trains itself, beside an outer Adam and beside what it is made of, at equal ES evaluations.

    python benchmarks/population.py                      # all seeds; goes on where it was stopped
    python benchmarks/population.py --first-seed 100 --task-seed 7 --seeds 1    # to choose settings by

Four ways of training random thetas: the population; as many self-trainers that know nothing of one another, and as many
that frozen random optimizers train, without selection, all from the same thetas; and Adam at each of five rates, from a
theta of its own, with as many outer steps as all members together. Each keeps the theta of its lowest score on tasks
that train nothing, and is judged by its loss on other tasks, over the loss at a training's start. Scores are not
counted as ES evaluations. Each way and seed is written once it is done, into --runs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import get_args

import record
import torch
from matplotlib import rc_context
from torch import Tensor

from learned_optimizers import Theta, new_theta
from learned_optimizers.meta_training.choices import Refresh
from learned_optimizers.meta_training.judging import Scaling, ThetaExam
from learned_optimizers.meta_training.outer import Lengths, OuterTraining
from learned_optimizers.meta_training.population import OuterRecipe, Population, SelectionRules, first_members
from learned_optimizers.meta_training.truncated_unrolls import UnrollRecipe
from learned_optimizers.tasks import Bucket, buckets
from pipeline.presentation.style import COLOURS, MARKERS, STYLE, Picture, add_legend, make_axes, make_picture
from pipeline.runs.files import read_json, write_json
from pipeline.runs.progress import progress_bar

ARCHITECTURE, CAP, CLIP = "mlp", 2.0, 0.1
FIRST_JUDGED, FIRST_HELD_OUT = 500, 1000  # indices of tasks that train nothing
POPULATION, ALONE, FROZEN, ADAM = "population", "independent self-trainers", "frozen random trainers", "adam"
NOT_OF_THE_RESULT = ("seeds", "first_seed", "rates", "results", "runs")
Curve = list[list[float]]
"""Held-out losses of each theta that is kept, [judgements, kept]."""


@dataclass(frozen=True)
class Setting:
    """What all ways of training have in common."""

    asked: argparse.Namespace
    seed: int

    @cached_property
    def recipe(self) -> OuterRecipe:
        """Return the outer recipe of this seed."""
        asked = self.asked
        unroll = UnrollRecipe(
            seed=self.seed,
            task_seed=asked.task_seed,
            estimator="es",
            pairs=asked.pairs,
            sigma=asked.sigma,
            horizon=asked.horizon,
            full=True,
            cap=CAP,
            outer_batches=1,
        )
        lengths = Lengths(asked.horizon, asked.horizon, 1)
        return OuterRecipe(unroll, self._scales(range(asked.tasks)), lengths, asked.streams, CLIP)

    def exam(self, first: int) -> ThetaExam:
        """Return the tasks from `first` on."""
        indices = tuple(range(first, first + self.asked.judged))
        return ThetaExam(self._scales(indices), indices, self.asked.task_seed, self.asked.horizon, CAP)

    def _scales(self, indices: Sequence[int]) -> dict[Bucket, Tensor]:
        asked = self.asked
        return {bucket: Scaling(bucket, tuple(indices), asked.task_seed, None)() for bucket in buckets(asked.families)}


@dataclass
class Kept:
    """The theta of the lowest score so far, and its loss on held-out tasks."""

    exam: ThetaExam
    score: float = math.inf
    held_out: float = math.nan

    def offer(self, theta: Theta | None, score: float) -> float:
        """Keep a theta where its score is lower; return the held-out loss of the one that is kept."""
        if theta is not None and score < self.score:
            self.score, self.held_out = score, self.exam.scores([theta])[0]["mean"]
        return self.held_out


@dataclass
class Trial:
    """One way of training with one seed. curve: of what it keeps, at each judgement."""

    setting: Setting
    way: str
    curve: Curve = field(default_factory=list)

    def run(self) -> Curve:
        """Train, and judge at equal distances."""
        if self.way.startswith(ADAM):
            self._run_adam(float(self.way.split()[1]))
        else:
            self._run_population()
        return self.curve

    def _run_population(self) -> None:
        asked, recipe = self.setting.asked, self.setting.recipe
        rules = SelectionRules(best=1, exploited=0, refresh="own" if self.way == ALONE else "none")
        if self.way == POPULATION:
            rules = SelectionRules(
                best=asked.best,
                exploited=asked.exploited,
                refresh=asked.refresh,
                noise=asked.noise,
                sigma_factor=asked.sigma_factor,
                new_trainer=asked.new_trainer,
            )
        trainers = list(range(asked.members)) if self.way == ALONE else None
        members = first_members(ARCHITECTURE, asked.members, recipe, scale=asked.init_scale, trainers=trainers)
        judging = self.setting.exam(FIRST_JUDGED)
        population = Population(new_theta(ARCHITECTURE, generator=torch.Generator()), members, recipe, rules, judging)
        kept = [Kept(self.setting.exam(FIRST_HELD_OUT)) for _ in range(1 if self.way == POPULATION else asked.members)]
        for step in self._steps(asked.steps, asked.every):
            if step:
                population.step()
            if step % asked.every == 0:
                before = population.members
                scores = population.judge(is_last=step == asked.steps)
                thetas = [None if each.is_lost else population.like.with_vector(each.vector) for each in before]
                if self.way == POPULATION:
                    thetas, scores = [population.best_theta], [min(row["weighted"] for row in population.judged)]
                self.curve.append([k.offer(*one) for k, *one in zip(kept, thetas, scores, strict=True)])

    def _run_adam(self, rate: float) -> None:
        asked, recipe = self.setting.asked, self.setting.recipe
        theta = new_theta(ARCHITECTURE, generator=torch.Generator().manual_seed(self.setting.seed))
        outer = OuterTraining(
            theta,
            recipe.unroll,
            recipe.scales,
            lengths=recipe.lengths,
            streams=recipe.streams,
            learning_rate=rate,
            clip=CLIP,
        )
        kept, judging = Kept(self.setting.exam(FIRST_HELD_OUT)), self.setting.exam(FIRST_JUDGED)
        for step in self._steps(asked.steps * asked.members, asked.every * asked.members):
            if step:
                outer.step()
            if step % (asked.every * asked.members) == 0:
                self.curve.append([kept.offer(outer.theta, judging.scores([outer.theta])[0]["weighted"])])

    def _steps(self, count: int, every: int) -> Iterator[int]:
        """Yield 0 to `count`, and show how far that is."""
        with progress_bar(f"seed {self.setting.seed}, {self.way}", count) as bar:
            for step in range(count + 1):
                yield step
                if step:
                    bar.advance(f"held-out loss {sorted(self.curve[-1])[len(self.curve[-1]) // 2]:.3f}")


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
    a_step = 2 * asked.pairs * asked.streams * asked.members
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
            f"{asked.every}: {asked.steps * a_step:,} ES evaluations for each way and seed, and for each of Adam's "
            "rates. Loss on held-out tasks over that at the start, of the theta that was kept (median where a way "
            "keeps one of each member):",
            record.table(["trained by", *seeds, "mean"], rows),
            record.table(
                ["measure", *seeds, "mean", "aim"],
                [[name, *(f"{x:.2f}" for x in found), f"{found.mean():.2f}", aim] for name, found, aim in measures],
            ),
        ]
    )


def draw(curves: Mapping[str, Tensor], asked: argparse.Namespace) -> Picture:
    """Losses against ES evaluations: means, over the range of seeds."""
    figure, axes = make_axes("ES evaluations", "held-out loss over the start's")
    a_step = 2 * asked.pairs * asked.streams * asked.members
    for way, colour, marker in zip([POPULATION, ALONE, FROZEN, best_adam(curves)], COLOURS, MARKERS, strict=False):
        found = curves[way]
        at = [a_step * asked.every * index for index in range(found.shape[1])]
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
    add("--judged", type=int, default=6, help="tasks of each bucket that choose, and as many that are held out")
    add("--members", type=int, default=8)
    add("--steps", type=int, default=20, help="outer steps of each member")
    add("--every", type=int, default=5, help="outer steps from one judgement to the next; a quarter is whole ones")
    add("--horizon", type=int, default=12, help="inner steps of a training")
    add("--pairs", type=int, default=8)
    add("--streams", type=int, default=1)
    add("--sigma", type=float, default=0.01)
    add("--init-scale", type=float, default=8.0)
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
