"""What theta learns before its outer training: the steps of a teacher at its best rate on the training tasks."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from learned_optimizers import Theta
from learned_optimizers.meta_training.imitation import Recording, Trial, imitated
from learned_optimizers.meta_training.teachers import TEACHER_RATES
from learned_optimizers.tasks import Bucket
from pipeline.compute.seeds import stream_seed
from pipeline.compute.workers import Mapper
from pipeline.runs.progress import progress_bar
from pipeline.settings import MetaSettings

RECORDED_TASKS = 4  # of each bucket, at most
SHOWN = 100  # steps of a fit whose mean error is the one that is shown


def after_imitation(
    theta: Theta, meta: MetaSettings, scales: Mapping[Bucket, Tensor], mapper: Mapper, seed: int
) -> tuple[Theta, dict[str, Any]]:
    """Theta fitted to the teacher's steps, and how: teacher, rate, root mean squared relative error of the last steps.

    scales: of the training tasks, by bucket; the tasks that judge take no part.
    """
    rate = best_rate(meta, scales, mapper)
    indices = tuple(range(min(meta.tasks, RECORDED_TASKS)))
    works = [
        Recording(theta, meta.imitate.teacher, rate, bucket, indices, meta.task_seed, meta.horizon) for bucket in scales
    ]
    recorded, errors = [], deque[float](maxlen=SHOWN)
    with progress_bar("trainings by the teacher", len(works)) as bar:
        for work, steps in zip(works, mapper(Recording.__call__, works), strict=True):
            recorded.append(steps)
            bar.advance(work.bucket.family)
    with progress_bar("imitation", meta.imitate.steps) as bar:

        def report(error: float) -> None:
            errors.append(error)
            bar.advance(f"relative error {sum(errors) / len(errors):.3f}")

        theta = imitated(
            theta,
            recorded,
            steps=meta.imitate.steps,
            learning_rate=meta.imitate.learning_rate,
            horizon=meta.horizon,
            generator=torch.Generator().manual_seed(stream_seed(seed, "imitation")),
            report=report,
        )
    return theta, {"teacher": meta.imitate.teacher, "rate": rate, "relative_error": sum(errors) / len(errors)}


def best_rate(meta: MetaSettings, scales: Mapping[Bucket, Tensor], mapper: Mapper) -> float:
    """The teacher's rate of the lowest mean loss over the training tasks, as outer training weighs it."""
    works = [
        Trial(
            meta.imitate.teacher,
            bucket,
            tuple(range(meta.tasks)),
            meta.task_seed,
            meta.horizon,
            meta.cap,
            meta.late,
            scale,
        )
        for bucket, scale in scales.items()
    ]
    found = []
    with progress_bar("rates of the teacher", len(works)) as bar:
        for work, losses in zip(works, mapper(Trial.__call__, works), strict=True):
            found.append(losses)
            bar.advance(work.bucket.family)
    return TEACHER_RATES[int(torch.cat(found, 1).mean(1).argmin())]
