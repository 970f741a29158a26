"""Signals to a program, from its first moment to its last. Imported before all that takes seconds to import."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from pipeline.compute.interruption import SIGNALS, Interrupted, end_now, follow_starter, heard, stop_now

PATIENCE = 5.0  # seconds from a signal to the end of a process that does not end by itself


def _end(number: int, frame: FrameType | None) -> None:
    """End before the work, or after it."""
    found = Interrupted(signal.Signals(number).name)
    end_now(found.status, found.line)


def _end_the_unwilling(pipe: int) -> None:
    """End the process where its main thread cannot: in a call that no signal ends, or while it waits for others.

    A first signal may wait for a step; a second one waits for nothing.
    """
    is_second = False
    while True:
        for number in os.read(pipe, 1):
            is_to_wait = not is_second and signal.getsignal(number) not in (stop_now, _end)
            if not is_to_wait:
                time.sleep(PATIENCE)
                if is_second or not heard.is_set():
                    _end(number, None)
            is_second = True


def _end_in_finalizers(unraisable: sys.UnraisableHookArgs) -> None:
    """End where a signal came in a finalizer, out of which Python lets no exception."""
    if isinstance(unraisable.exc_value, Interrupted):
        end_now(unraisable.exc_value.status, unraisable.exc_value.line)
    sys.__unraisablehook__(unraisable)


def watch() -> None:
    """Let each signal end this process in one line and a status, until the work has handlers of its own."""
    follow_starter()
    found, written = os.pipe()
    os.set_blocking(written, False)
    for number in SIGNALS:
        signal.signal(number, _end)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    threading.Thread(target=_end_the_unwilling, args=(found,), daemon=True).start()
    sys.unraisablehook = _end_in_finalizers
