"""Tasks to train optimizers on: task i of a family is a pure function of (seed, i), so that thousands cost no storage.

task = sample_task("mlp_digits", seed=0, index=7)
params = task.initial(torch.Generator().manual_seed(0))
(batch,) = zip(*task.samples("train", 1, task.batch_size, generator))      # tensors [size, ...]
task.loss(params, task.constants, batch)
"""

from typing import TYPE_CHECKING

from on_demand import exports

if TYPE_CHECKING:
    from learned_optimizers.tasks.families import (
        ANALYSED,
        HELD_OUT,
        OF_ANY_SCALE,
        TASK_FAMILIES,
        TRAINED_ON,
        Bucket,
        buckets,
        sample_task,
        variants,
    )
    from learned_optimizers.tasks.task import SPLITS, Configuration, Task, TaskSplit, TaskTensors, seeded_generator
else:
    __getattr__ = exports(__name__, __file__)

__all__ = [
    "ANALYSED",
    "HELD_OUT",
    "OF_ANY_SCALE",
    "SPLITS",
    "TASK_FAMILIES",
    "TRAINED_ON",
    "Bucket",
    "Configuration",
    "Task",
    "TaskSplit",
    "TaskTensors",
    "buckets",
    "sample_task",
    "seeded_generator",
    "variants",
]
