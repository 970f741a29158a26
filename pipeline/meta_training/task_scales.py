"""The losses between which those of each task are normalised, measured once a run folder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from learned_optimizers.meta_training.judging import Scaling
from learned_optimizers.tasks import Bucket, buckets
from pipeline.compute.workers import Mapper
from pipeline.meta_training.meta_recipe import STAGE, judging_indices
from pipeline.runs.files import write_json
from pipeline.runs.progress import progress_bar
from pipeline.runs.schemas import read_as
from pipeline.runs.stored_stages import ScalesFile
from pipeline.settings import MetaSettings


def measured_scales(folder: Path, meta: MetaSettings, mapper: Mapper, *, by_adam: bool = True) -> dict[Bucket, Tensor]:
    """Measure losses at the start of all tasks, and those of the best Adam: [tasks, 2] by bucket.

    by_adam: false where no hand-designed optimizer may run; the second loss is 0 then.
    """
    names, path, steps = buckets(meta.families), folder / "scales.json", meta.horizon if by_adam else None
    asked = {key: getattr(meta, key) for key in ("tasks", "task_seed", "judged_tasks")}
    asked |= {"horizon": steps, "families": list(meta.families)}
    known = read_as(path, ScalesFile, STAGE) if path.exists() else None
    if known is None or known.asked != asked or len(known.scales) != len(names):
        indices = (*range(meta.tasks), *judging_indices(meta))
        works = [Scaling(bucket, indices, meta.task_seed, steps) for bucket in names]
        found = []
        with progress_bar("scales of tasks", len(works)) as bar:
            for bucket, scale in zip(names, mapper(Scaling.__call__, works), strict=True):
                found.append(scale.tolist())
                bar.advance(bucket.family)
        known = ScalesFile(asked=asked, scales=found)
        write_json(path, known.model_dump(mode="json"))
    return dict(zip(names, map(torch.tensor, known.scales), strict=True))
