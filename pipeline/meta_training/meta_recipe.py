"""What a meta-training is made of, from its settings: seeds, recipe, lengths, tasks that train and tasks that judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from learned_optimizers.meta_training.judging import ThetaExam
from learned_optimizers.meta_training.outer import Lengths
from learned_optimizers.meta_training.truncated_unrolls import UnrollRecipe
from learned_optimizers.tasks import Bucket
from pipeline.runs.same_settings import plain
from pipeline.settings import Experiment, MetaSettings

STAGE = "meta_train"
NOT_OF_THE_RESULT = ("processes", "executor")  # of meta.<key>: where the work is done

Scales = Mapping[Bucket, Tensor]


def meta_settings(experiment: Experiment) -> dict[str, Any]:
    """Collect all that the result depends on."""
    settings = plain({"seed": experiment.seed, "meta": experiment.meta})
    for key in NOT_OF_THE_RESULT:
        del settings["meta"][key]
    return settings


def judging_indices(meta: MetaSettings) -> tuple[int, ...]:
    """Choose from each bucket's tasks those that judge: they come after those that train."""
    return tuple(range(meta.tasks, meta.tasks + meta.judged_tasks))


def scales_of_training(meta: MetaSettings, scales: Scales) -> dict[Bucket, Tensor]:
    """Take the scales of the tasks that train from those of all tasks."""
    return {bucket: scale[: meta.tasks] for bucket, scale in scales.items()}


def exam_of(meta: MetaSettings, scales: Scales) -> ThetaExam:
    """Return the tasks that judge. scales: of all tasks, those that train first."""
    of_judging = {bucket: scale[meta.tasks :] for bucket, scale in scales.items()}
    how = (meta.task_seed, meta.horizon, meta.cap, meta.late, meta.logarithmic)
    return ThetaExam(of_judging, judging_indices(meta), *how)


def unroll_recipe(meta: MetaSettings, seed: int) -> UnrollRecipe:
    """Return how estimates are made."""
    return UnrollRecipe(
        seed=seed,
        task_seed=meta.task_seed,
        estimator=meta.estimator,
        pairs=meta.pairs,
        sigma=meta.sigma,
        horizon=meta.horizon,
        full=meta.full,
        cap=meta.cap,
        outer_batches=meta.outer_batches,
        late=meta.late,
        logarithmic=meta.logarithmic,
    )


def lengths_of(meta: MetaSettings) -> Lengths:
    """Return how truncations grow."""
    return Lengths(meta.first_length, meta.last_length, max(1, round(meta.ramp * meta.steps)))
