"""Who copies whom after a judgement, what is changed of a copy, and who trains whom from there on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from learned_optimizers.meta_training.choices import Refresh
from learned_optimizers.meta_training.population.member import Member
from learned_optimizers.tasks.task import uniform

Mutation = dict[str, Any]
"""What was changed of a copy: "noise", "sigma" (its factor) and "trainer" (whether another one was drawn)."""


@dataclass(frozen=True)
class SelectionRules:
    """What happens after a judgement.

    best: members that are copied, and that train others.  exploited: worst members, each replaced by a copy of one of
    the best; 0 for none.  refresh: whose theta the snapshots of trainers become: "best", "own" or "none" (see
    `refreshed`).

    Of a copy: noise: standard deviation of what is added to theta.  sigma_factor: sigma is multiplied by a factor that
    is log-uniform between 1 / this and this.  new_trainer: probability that its trainer is drawn anew from the best.
    """

    best: int
    exploited: int
    refresh: Refresh = "best"
    noise: float = 0.0
    sigma_factor: float = 1.0
    new_trainer: float = 0.0

    @classmethod
    def of(cls, asked: Any) -> SelectionRules:
        """Return the rules that stand among settings, each under its own name."""
        return cls(**{each.name: getattr(asked, each.name) for each in fields(cls)})

    def check(self, members: int) -> None:
        """Raise ValueError where a population of so many members cannot be selected from by these rules."""
        if members < 2:
            raise ValueError(f"expected a population of at least 2 members, found {members}")
        if self.best < 1 or self.exploited < 0 or self.best + self.exploited > members:
            raise ValueError(
                f"expected at least 1 best and 0 exploited members, together at most {members}, "
                f"found {self.best} and {self.exploited}"
            )


def ranked(scores: Sequence[float]) -> list[int]:
    """Return the members from the best (lowest) score to the worst; one that is not finite is the worst.

    >>> ranked([0.5, float("nan"), 0.2, float("-inf")])
    [2, 0, 1, 3]
    """
    return sorted(range(len(scores)), key=lambda number: (not math.isfinite(scores[number]), _finite(scores[number])))


def _finite(score: float) -> float:
    return score if math.isfinite(score) else 0.0


def exploit(
    members: Sequence[Member], scores: Sequence[float], rules: SelectionRules, generator: torch.Generator
) -> tuple[list[Member], list[int], list[Mutation | None]]:
    """Replace the worst members by changed copies of the best.

    Returns the members, the number of each one's parent (its own where it was not replaced), and what was changed.
    A lost member is copied only where no best one is there.
    """
    order = ranked(scores)
    best, worst = order[: rules.best], order[len(order) - rules.exploited :]
    after, parents = list(members), list(range(len(members)))
    mutations: list[Mutation | None] = [None] * len(members)
    for number in worst:
        parents[number] = _drawn([each for each in best if not members[each].is_lost] or best[:1], generator)
        after[number], mutations[number] = _changed_copy(members[parents[number]], members[number], rules, generator)
    if rules.refresh != "none":
        renewed = {number for number, change in enumerate(mutations) if change and change["trainer"]}
        after = refreshed(after, best, rules.refresh, renewed, generator)
    return after, parents, mutations


def _changed_copy(
    parent: Member, replaced: Member, rules: SelectionRules, generator: torch.Generator
) -> tuple[Member, Mutation]:
    """Copy theta, sigma and trainer of the parent, change them, and keep the tasks of the member that it replaces."""
    noise = rules.noise * torch.randn(parent.vector.shape, generator=generator)
    largest = math.log(rules.sigma_factor)
    factor = math.exp(uniform(-largest, largest, generator))
    new_trainer = torch.rand((), generator=generator).item() < rules.new_trainer
    copy = replace(
        parent,
        vector=parent.vector + noise,
        sigma=parent.sigma * factor,
        generation=parent.generation + 1,
        state=None,
        streams=replaced.streams,
    )
    return copy.without_streams(), {"noise": rules.noise, "sigma": factor, "trainer": new_trainer}


def refreshed(
    members: Sequence[Member], best: Sequence[int], refresh: Refresh, renewed: set[int], generator: torch.Generator
) -> list[Member]:
    """Give every member a snapshot of its trainer as that one is now.

    With "best", a trainer that is not among the best is replaced by one that is, at random; with "own" all keep theirs.
    renewed: members whose trainer is drawn anew although it is among the best. Trainers that are lost are kept as the
    snapshots that they were.
    """
    fit = [number for number in best if not members[number].is_lost]
    after = []
    for number, member in enumerate(members):
        trainer = member.trainer
        if refresh == "best" and fit and (trainer not in fit or number in renewed):
            trainer = _drawn(fit, generator)
        is_lost = members[trainer].is_lost
        after.append(member if is_lost else member.trained_by(trainer, members[trainer].vector))
    return after


def _drawn(numbers: Sequence[int], generator: torch.Generator) -> int:
    return numbers[int(torch.randint(len(numbers), (), generator=generator))]
