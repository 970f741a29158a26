"""Requests to stop a training at a whole step, with a checkpoint of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from lightning_fabric import Fabric

from pipeline.compute.interruption import Interrupted, handled_by, is_follower, stop_now
from pipeline.compute.processes import mean_over_processes


class StopRequest:
    """Whether a signal asked a training to stop at its next whole step."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._signal = ""
        self._is_agreed = False

    def take(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal. A second one, while the step is waited for, raises Interrupted.

        A process that another one started may hear of one request twice, and ends with that one.
        """
        if self._signal and not is_follower():
            stop_now(number, frame)
        self._signal = signal.Signals(number).name

    def is_made(self) -> bool:
        """Return whether any of the processes got a signal; all of them must ask, and get the same answer."""
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
