"""What studies share: their seeds, their images, and work that is dealt out to processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from functools import cache, partial
from typing import TypeVar

import torch

from pipeline.compute.interruption import Interrupted
from pipeline.compute.workers import interruptible, note_signals, process_pool
from pipeline.data import ImageData, load
from pipeline.errors import RunError
from pipeline.runs.progress import progress_bar, silently
from pipeline.settings import DataSettings, Experiment

T = TypeVar("T")


@cache
def images_of(settings: DataSettings) -> ImageData:
    """Return the images, loaded once a process."""
    return load(settings)


def seeds(experiment: Experiment, count: int) -> range:
    """`count` seeds from the experiment's own."""
    return range(experiment.seed, experiment.seed + count)


def seeded(experiment: Experiment, seed: int) -> Experiment:
    """Return the experiment with another seed."""
    return experiment.model_copy(update={"seed": seed})


def in_processes(
    stage: str,
    works: Sequence[Callable[[], T]],
    processes: int | None,
    *,
    done: Callable[[T], str] = lambda result: "",
) -> list[T]:
    """Return what each work returns, in their order; `processes` at once, None for one a core.

    done: called here with each result as it comes; returns what the progress bar says of it.
    """
    if not works:
        return []
    count = min(processes or os.cpu_count() or 1, len(works))
    results: dict[int, T] = {}
    with progress_bar(stage, len(works)) as bar:
        if count == 1:
            for index, work in enumerate(works):
                results[index] = quiet(work)
                bar.advance(done(results[index]))
            return list(results.values())
        with process_pool(count, torch.get_num_threads(), prepare=note_signals) as pool:
            futures = {pool.submit(interruptible, partial(quiet, work)): index for index, work in enumerate(works)}
            try:
                for future in as_completed(futures):
                    results[futures[future]] = future.result()
                    bar.advance(done(future.result()))
            except RunError as error:
                raise RunError(str(error)) from error  # raised here, so that it is read as ours
            except Interrupted:
                for worker in multiprocessing.active_children():
                    worker.terminate()  # a training stops at its next step, with a checkpoint; the pool stays whole
                raise
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
    return [results[index] for index in range(len(works))]


def quiet(work: Callable[[], T]) -> T:
    """Work without its progress bar."""
    with silently():
        return work()
