"""A population that trains itself: outer steps of all members, judgements, and selection after each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from learned_optimizers.meta_training.judging import JudgeMapper, Score, ThetaExam
from learned_optimizers.meta_training.population.member import Member, MemberStep, OuterRecipe, random_thetas
from learned_optimizers.meta_training.population.selection import Mutation, SelectionRules, exploit, ranked
from learned_optimizers.tasks import seeded_generator
from learned_optimizers.theta import Theta

StepMapper = Callable[[Callable[[MemberStep], tuple[Member, float]], Iterable[MemberStep]], Iterable[Any]]
"""The built-in map, or that of a pool of processes; results in the order of the works."""


@dataclass
class Population:
    """Learned optimizers that train one another (Metz et al. 2021, arXiv 2101.07367), by antithetic ES.

    like: any theta of their architecture.  lineage: of each judgement its step, and of each member the score, and the
    generation, parent, trainer, sigma and mutation with which it goes on.  best: theta's vector at the lowest score so
    far.  judged: the best member's figures at each judgement.

    Everything random is drawn from the recipe's seed and the number of the step, and members do not influence one
    another between judgements: a restored population ends in the same bits, in any number of processes.
    """

    like: Theta
    members: list[Member]
    recipe: OuterRecipe
    rules: SelectionRules
    exam: ThetaExam
    steps: int = 0
    lineage: list[dict[str, Any]] = field(default_factory=list)
    judged: list[dict[str, float]] = field(default_factory=list)
    best: Tensor | None = None

    def __post_init__(self) -> None:
        self.rules.check(len(self.members))

    def screen(self, candidates: Sequence[Theta], mapper: JudgeMapper = map) -> None:
        """Begin with the best of random candidates: those of the lowest scores on the exam become the members.

        Who trains whom stays, by number; member 0 becomes the best candidate. Most random thetas train nothing, and
        where all members are such ones no selection among them helps.
        Raises ValueError once steps were made, and for fewer candidates than there are members.
        """
        if self.steps or len(candidates) < len(self.members):
            raise ValueError(
                f"expected at least {len(self.members)} candidates before the first step, found {len(candidates)} "
                f"after {self.steps}"
            )
        scores = [row["weighted"] for row in self.exam.scores(candidates, mapper)]
        vectors = [candidates[number].vector() for number in ranked(scores)[: len(self.members)]]
        self.members = [
            replace(member, vector=vector, snapshot=vectors[member.trainer])
            for member, vector in zip(self.members, vectors, strict=True)
        ]

    def screen_random(self, draws: int, scale: float, mapper: JudgeMapper = map) -> None:
        """Begin with the best of `draws` random thetas for each member; those of `first_members` are among them.

        scale: as in `first_members`.  With one draw for each, the members stay as they are and nothing is scored.
        """
        if draws > 1:
            count, seed = draws * len(self.members), self.recipe.unroll.seed
            self.screen(random_thetas(self.like.architecture, count, seed, scale), mapper)

    def step(self, mapper: StepMapper = map) -> list[float]:
        """Make one outer step of every member; return their mean normalised losses, the cap of those that are lost."""
        works = [
            MemberStep(self.recipe, self.like, number, member, self.steps) for number, member in enumerate(self.members)
        ]
        found = list(mapper(MemberStep.__call__, works))
        self.members = [member for member, _ in found]
        self.steps += 1
        return [loss for _, loss in found]

    def judge(self, mapper: JudgeMapper = map, *, is_last: bool = False) -> list[float]:
        """Score all members on the exam and let the worst copy the best; return the scores.

        is_last: nothing is trained afterwards, so that the scores alone are noted.
        """
        thetas = [None if member.is_lost else self.like.with_vector(member.vector) for member in self.members]
        rows = self.exam.scores(thetas, mapper)
        scores = [row["weighted"] for row in rows]
        self._keep_best(rows, scores)
        parents = list(range(len(self.members)))
        mutations: list[Mutation | None] = [None] * len(self.members)
        if not is_last:
            generator = seeded_generator(self.recipe.unroll.seed, "exploit", self.steps)
            self.members, parents, mutations = exploit(self.members, scores, self.rules, generator)
        self.lineage.append({"step": self.steps, "members": self._records(scores, parents, mutations)})
        return scores

    @property
    def best_theta(self) -> Theta:
        """Return the theta of the lowest score so far. Raises ValueError before a finite one."""
        if self.best is None:
            raise ValueError("expected a judgement with a finite score, found none")
        return self.like.with_vector(self.best)

    def state(self) -> dict[str, Any]:
        """Collect all that the next steps depend on, for a checkpoint."""
        own = {name: getattr(self, name) for name in ("steps", "lineage", "judged", "best")}
        return own | {"members": [member.plain() for member in self.members]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.members = [Member(**member) for member in state["members"]]
        self.steps, self.best = state["steps"], state["best"]
        self.lineage, self.judged = list(state["lineage"]), list(state["judged"])

    def _keep_best(self, rows: Sequence[Score], scores: Sequence[float]) -> None:
        number = ranked(scores)[0]
        if not math.isfinite(scores[number]):
            return
        if self.best is None or scores[number] < min(row["weighted"] for row in self.judged):
            self.best = self.members[number].vector
        self.judged.append({"step": self.steps, **rows[number]})

    def _records(
        self, scores: Sequence[float], parents: Sequence[int], mutations: Sequence[Mutation | None]
    ) -> list[dict[str, Any]]:
        return [
            {
                "score": score if math.isfinite(score) else None,
                "generation": member.generation,
                "parent": parent,
                "trainer": member.trainer,
                "sigma": member.sigma,
                "mutation": mutation,
            }
            for member, score, parent, mutation in zip(self.members, scores, parents, mutations, strict=True)
        ]
