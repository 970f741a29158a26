"""One way of training random thetas with one seed, judged at equal distances of cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from learned_optimizers import Theta, new_theta
from learned_optimizers.meta_training.judging import ThetaExam
from learned_optimizers.meta_training.outer import OuterTraining
from learned_optimizers.meta_training.population import Population, SelectionRules, first_members
from pipeline.runs.progress import progress_bar
from population_trials.setting import CLIP, Setting

ARCHITECTURE = "mlp"
POPULATION, ALONE, FROZEN, ADAM = "population", "independent self-trainers", "frozen random trainers", "adam"
Curve = list[list[float]]
"""Held-out losses of each theta that is kept, [judgements, kept]."""


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
            rules = SelectionRules.of(asked)
        trainers = list(range(asked.members)) if self.way == ALONE else None
        members = first_members(ARCHITECTURE, asked.members, recipe, scale=asked.init_scale, trainers=trainers)
        judging = self.setting.judging()
        population = Population(new_theta(ARCHITECTURE, generator=torch.Generator()), members, recipe, rules, judging)
        population.screen_random(asked.draws, asked.init_scale)
        kept = [Kept(self.setting.measuring()) for _ in range(1 if self.way == POPULATION else asked.members)]
        for step in self._steps(asked.steps):
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
        recipe = self.setting.recipe
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
        kept, judging = Kept(self.setting.measuring()), self.setting.judging()
        judged_at = self.setting.steps_of_adam
        for step in self._steps(judged_at[-1]):
            if step:
                outer.step()
            if step in judged_at:
                self.curve.append([kept.offer(outer.theta, judging.scores([outer.theta])[0]["weighted"])])

    def _steps(self, count: int) -> Iterator[int]:
        """Yield 0 to `count`, and show how far that is."""
        with progress_bar(f"seed {self.setting.seed}, {self.way}", count) as bar:
            for step in range(count + 1):
                yield step
                if step:
                    bar.advance(f"held-out loss {sorted(self.curve[-1])[len(self.curve[-1]) // 2]:.3f}")
