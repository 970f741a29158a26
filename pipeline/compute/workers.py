"""Work shared by processes that stay: results in the order of the work, whichever was done first."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any, Literal, ParamSpec, TypeVar

import torch

from pipeline.compute.children import keep_out_current_folder, start_tracker
from pipeline.compute.interruption import SIGNALS, Interrupted, follow, handled_by, stop_now, unheard_by_children
from pipeline.errors import RunError

T = TypeVar("T")
P = ParamSpec("P")
Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""As the built-in map."""


@contextmanager
def workers(processes: int | None, executor: Literal["processes", "ray"] = "processes") -> Iterator[Mapper]:
    """A map over `processes` processes, None for one a core; with one, in this process.

    Each computes with as many threads as this one, so that a result does not depend on where it was computed. Raises
    RunError where ray is asked for and not installed.
    """
    count, threads = processes or os.cpu_count() or 1, torch.get_num_threads()
    if executor == "ray":
        with _ray_actors(count, threads) as mapper:
            yield mapper
    elif count == 1:
        yield map
    else:
        with process_pool(count, threads, deaf_to=SIGNALS) as pool:
            yield pool.map


def _nothing() -> None:
    pass


class _Pool(ProcessPoolExecutor):
    """Processes that never hear some signals."""

    def __init__(self, count: int, threads: int, deaf_to: Collection[int], prepare: Callable[[], object]) -> None:
        start_tracker()
        spawn = get_context("spawn")  # a fork of a process that has run torch's threads can hang
        super().__init__(count, spawn, _begin, (threads, prepare))
        self._deaf_to = deaf_to

    def submit(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> Future[T]:
        """Give a work to the processes; another one of them may be started for it."""
        with unheard_by_children(self._deaf_to):
            return super().submit(function, *arguments, **named)


def process_pool(
    count: int, threads: int, *, deaf_to: Collection[int] = (signal.SIGINT,), prepare: Callable[[], object] = _nothing
) -> ProcessPoolExecutor:
    """Processes of so many threads each, that end with the one that made them, however it ends.

    deaf_to: signals that are sent to all of them and that the one that made them alone obeys.
    prepare: called in each of them first.
    """
    keep_out_current_folder()
    return _Pool(count, threads, deaf_to, prepare)


def _begin(threads: int, prepare: Callable[[], object]) -> None:
    torch.set_num_threads(threads)
    parent = parent_process()
    if parent is not None and parent.pid is not None:
        follow(parent.pid)
    prepare()


_noted: list[int] = []


def note_signals() -> None:
    """In a process that works for another: from now on signals to stop are noted, and end no idle process.

    One that died of them would break its pool, and the others could not be waited for.
    """
    for number in SIGNALS:
        signal.signal(number, lambda found, _: _noted.append(found))


def interruptible(work: Callable[[], T]) -> T:
    """What the work returns, in a process that notes signals. One that comes interrupts it; after one none is begun."""
    with handled_by(stop_now):
        if _noted:
            raise Interrupted(signal.Signals(_noted[0]).name)
        try:
            return work()
        except Interrupted:
            _noted.append(signal.SIGTERM)
            raise


class _Actor:
    """A process of ray."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def call(self, function: Callable[[Any], Any], work: Any) -> Any:
        """Return what the function gives for one work."""
        return function(work)


@contextmanager
def _ray_actors(count: int, threads: int) -> Iterator[Mapper]:
    if importlib.util.find_spec("ray") is None:
        raise RunError("executor=ray needs ray: pip install -e '.[ray]', or use executor=processes")
    ray, util = importlib.import_module("ray"), importlib.import_module("ray.util")
    ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False)
    try:
        actor_class = ray.remote(num_cpus=1)(_Actor)
        pool = util.ActorPool([actor_class.remote(threads) for _ in range(count)])
        yield lambda function, works: pool.map(lambda actor, work: actor.call.remote(function, work), works)
    finally:
        ray.shutdown()
