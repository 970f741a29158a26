"""What all ways of training random thetas have in common: tasks, recipe and cost."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from learned_optimizers.meta_training.judging import Scaling, ThetaExam
from learned_optimizers.meta_training.outer import Lengths
from learned_optimizers.meta_training.population import OuterRecipe
from learned_optimizers.meta_training.truncated_unrolls import UnrollRecipe
from learned_optimizers.tasks import Bucket, buckets

CAP, CLIP = 2.0, 0.1
FIRST_JUDGED, FIRST_HELD_OUT = 500, 1000  # indices of tasks that train nothing


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

    @property
    def of_step(self) -> int:
        """Trainings that an outer step of one theta costs."""
        return 2 * self.asked.pairs * self.asked.streams

    @property
    def of_score(self) -> int:
        """Trainings that a score of one theta costs."""
        return self.asked.judged * len(buckets(self.asked.families))

    @cached_property
    def trainings(self) -> list[int]:
        """Trainings of all members until each judgement."""
        asked = self.asked
        first = asked.draws * asked.members * self.of_score if asked.draws > 1 else 0
        a_round = asked.members * (asked.every * self.of_step + self.of_score)
        return [first + asked.members * self.of_score + a_round * n for n in range(asked.steps // asked.every + 1)]

    @property
    def steps_of_adam(self) -> list[int]:
        """Outer steps of the one theta that Adam trains until each judgement, for as many trainings in all."""
        count = len(self.trainings) - 1
        steps = (self.trainings[-1] - (count + 1) * self.of_score) // self.of_step
        return [steps * n // count for n in range(count + 1)]

    def judging(self) -> ThetaExam:
        """Return the tasks that choose."""
        return self._exam(FIRST_JUDGED, self.asked.judged)

    def measuring(self) -> ThetaExam:
        """Return the tasks that are held out."""
        return self._exam(FIRST_HELD_OUT, self.asked.held_out)

    def _exam(self, first: int, count: int) -> ThetaExam:
        indices = tuple(range(first, first + count))
        return ThetaExam(self._scales(indices), indices, self.asked.task_seed, self.asked.horizon, CAP)

    def _scales(self, indices: Sequence[int]) -> dict[Bucket, Tensor]:
        asked = self.asked
        return {bucket: Scaling(bucket, tuple(indices), asked.task_seed, None)() for bucket in buckets(asked.families)}
