"""What the trainings of a task say of its optimizers: which rate is the best, who trains it, and how soon."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from generalisation_tasks.contestants import ADAMW, SGDM, Contestant, Outcome, curve_steps
from generalisation_tasks.runs import FinishedRuns, key_of
from generalisation_tasks.task import BenchmarkTask
from learned_optimizers.training_watch import RISE

DEFAULT, BEST = "AdamW, default", "AdamW, best of seven"
DEFAULT_RATE = 1e-3  # torch's
BEST_SGD = "SGD with momentum, best of seven"
TRAINED = 0.95  # of the first loss, below which the last ones are where a network was trained
FLOOR = 1e-3  # of the first loss: smaller ones count as this in ratios of losses


@dataclass(frozen=True)
class Entry:
    """One optimizer on one task, as it stands in the tables. outcomes: of the seeds."""

    rate: float | None
    outcomes: Sequence[Outcome]

    @property
    def final(self) -> float:
        """Return the training loss at the end, mean over the seeds."""
        return fmean(outcome.final for outcome in self.outcomes)

    @property
    def held_out(self) -> float:
        """Return the loss on held-out examples, mean over the seeds."""
        return fmean(outcome.held_out for outcome in self.outcomes)

    @property
    def is_trained(self) -> bool:
        """Return whether every seed ends finite and below 95 % of its first loss."""
        return all(outcome.final < TRAINED * outcome.first for outcome in self.outcomes)

    @property
    def has_risen(self) -> bool:
        """Return whether one of the first 20 losses of a seed is above three times its first."""
        return any(not outcome.highest <= RISE * outcome.first for outcome in self.outcomes)


@dataclass(frozen=True)
class TaskResult:
    """The optimizers on one task, by what they are called in the tables. steps: of the trainings."""

    task: BenchmarkTask
    weights: int
    steps: int
    entries: Mapping[str, Entry]

    def ratio(self, name: str, other: str) -> float:
        """Final loss of one optimizer over that of another one, both with a floor."""
        first = fmean(outcome.first for outcome in self.entries[BEST].outcomes)
        ours, theirs = (self.entries[one].final + FLOOR * first for one in (name, other))
        return math.inf if math.isinf(ours) else ours / theirs

    def over_the_best(self, name: str) -> float:
        """Final loss of an optimizer over the lowest of all, infinite where it does not train the network."""
        if not self.entries[name].is_trained:
            return math.inf
        best = min(self.entries, key=lambda one: self.entries[one].final)
        return self.ratio(name, best)

    def steps_to_best(self, name: str) -> list[float]:
        """Steps until the loss is what swept AdamW ends with, of each seed; infinite where it never is."""
        targets = [outcome.final for outcome in self.entries[BEST].outcomes]
        return [
            next(
                (step for step, loss in zip(curve_steps(self.steps), one.curve, strict=True) if loss <= target),
                math.inf,
            )
            for one, target in zip(self.entries[name].outcomes, targets, strict=True)
        ]

    def time_to_best(self, name: str) -> tuple[float, float]:
        """Steps, and seconds, of an optimizer to swept AdamW's final loss over those of AdamW: medians of the seeds."""
        ours, theirs = self.steps_to_best(name), self.steps_to_best(BEST)  # which AdamW itself always reaches
        steps = median(a / b for a, b in zip(ours, theirs, strict=True))
        seconds = [median(one.seconds for one in self.entries[of].outcomes) for of in (name, BEST)]
        return steps, steps * seconds[0] / seconds[1]


def compare(
    task: BenchmarkTask, weights: int, steps: int, contestants: Sequence[Contestant], seeds: int, runs: FinishedRuns
) -> TaskResult:
    """Put together what the trainings of a task left, with the best of the rates by the final training loss."""
    entries: dict[str, Entry] = {}
    for contestant in contestants:
        tried = [
            Entry(rate, [runs[key_of(task, contestant, rate, seed, steps)] for seed in range(seeds)])
            for rate in contestant.rates
        ]
        best = min(tried, key=lambda entry: entry.final)
        if contestant.name == ADAMW:
            entries[DEFAULT] = next(entry for entry in tried if entry.rate == DEFAULT_RATE)
        entries[{ADAMW: BEST, SGDM: BEST_SGD}.get(contestant.name, contestant.name)] = best
    return TaskResult(task, weights, steps, entries)
