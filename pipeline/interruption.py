"""Signals by which a scheduler takes its machine back: a training stops at a whole step, with a checkpoint of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from lightning_fabric import Fabric

from pipeline.processes import mean_over_processes

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # SLURM's before it kills, and the one that --signal is mostly given


class Interrupted(BaseException):
    """A signal asked the process to stop. Not an Exception: what mends failures must not take it for one."""


@contextmanager
def handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Give the signals to `handler` for a while, in a process's main thread; in others they stay as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def stop_now(number: int, frame: FrameType | None) -> None:
    """Raise Interrupted, for work that is whole files or none."""
    raise Interrupted(signal.Signals(number).name)


class StopRequest:
    """Whether a signal asked a training to stop at its next whole step."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._signal = ""
        self._is_agreed = False

    def take(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal."""
        self._signal = signal.Signals(number).name

    def is_made(self) -> bool:
        """Whether any of the processes got a signal; all of them must ask, and get the same answer."""
        asked = bool(self._signal)
        if self._fabric.world_size > 1:
            (mean,) = mean_over_processes(self._fabric, [torch.tensor(float(asked), device=self._fabric.device)])
            asked = mean.item() > 0
        self._is_agreed = asked
        return asked

    def obey(self) -> None:
        """Raise Interrupted if the last answer was yes."""
        if self._is_agreed:
            raise Interrupted(self._signal or "a signal to another process")


@contextmanager
def stop_requests(fabric: Fabric) -> Iterator[StopRequest]:
    """Signals as requests while a training runs; one that came after its last look is obeyed at the end."""
    request = StopRequest(fabric)
    with handled_by(request.take):
        yield request
    request.is_made()
    request.obey()
