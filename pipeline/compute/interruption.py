"""How a process of this program is asked to stop, and ends. The standard library alone: scripts import it first."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

REFUSED = 2  # exit status: nothing was done
STOPPED = 1  # exit status: a figure stopped being finite on the way, or the machine did not have what it takes
INTERRUPTED = 75  # exit status: EX_TEMPFAIL of sysexits.h, by which a scheduler may queue the same command again
INTERRUPTED_BY_HAND = 130  # exit status: what shells give for Ctrl-C (128 + SIGINT), so that nothing is queued again

# Ctrl-C, SLURM's before it kills, and the one that its --signal is mostly given
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
GOES_ON = "the same command goes on from what was written before"  # not each stage has checkpoints
PARENT = "E2RNAS_PARENT"  # environment variable: process that started this one, and that it ends with
POLL = 0.5  # seconds between two looks at a parent


class Interrupted(BaseException):
    """A signal, by its name, asked the process to stop. Not an Exception: what mends failures must not take it."""

    @property
    def status(self) -> int:
        """Exit status of the process that it ends."""
        return INTERRUPTED_BY_HAND if str(self) == signal.SIGINT.name else INTERRUPTED

    @property
    def line(self) -> str:
        """Return what is said of it on standard error."""
        return f"interrupted by {self}; {GOES_ON}"


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


heard = threading.Event()
"""Set once a signal was obeyed: the main thread is not in a call that keeps signals waiting."""


def stop_now(number: int, frame: FrameType | None) -> None:
    """Raise Interrupted, for work that is whole files or none."""
    heard.set()
    raise Interrupted(signal.Signals(number).name)


@contextmanager
def unheard_by_children(numbers: Collection[int] = (signal.SIGINT,)) -> Iterator[None]:
    """Let processes that this thread starts never hear some signals, from their first moment on.

    A terminal sends SIGINT to all processes of a command; the one that started the others tells them what to do. Here
    the signals wait meanwhile.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start(
    command: Sequence[str],
    variables: Mapping[str, str] | None = None,
    *,
    stdout: int | None = None,
    stderr: int | None = None,
) -> subprocess.Popen[str]:
    """Start a script of this program that ends with this process, however this one ends, and hears no Ctrl-C.

    variables: added to the environment.  stdout, stderr: as subprocess.Popen takes them.
    """
    environment = {**os.environ, **(variables or {}), PARENT: str(os.getpid())}
    with unheard_by_children():
        return subprocess.Popen(  # noqa: S603 - our own scripts
            command, env=environment, stdout=stdout, stderr=stderr, text=True
        )


_parents: list[int] = []


def is_follower() -> bool:
    """Return whether another process of this program started this one, stops it, and speaks for it."""
    return bool(_parents)


def is_orphan() -> bool:
    """Return whether the process that this one follows has ended."""
    return is_follower() and os.getppid() != _parents[0]


def follow(parent: int, end: Callable[[], object] = lambda: os._exit(STOPPED)) -> None:
    """End this process silently when its parent has ended. end: does so, in a thread of its own."""
    _parents.append(parent)

    def look() -> None:
        while not is_orphan():
            time.sleep(POLL)
        end()

    threading.Thread(target=look, daemon=True).start()


def follow_starter() -> None:
    """Follow the process that started this one by `start`, if one did."""
    parent = os.environ.pop(PARENT, None)
    if parent is not None:
        follow(int(parent))


_said: list[int] = []


def note_end(status: int) -> None:
    """Remember that this process is about to end with a status, and that why is said already."""
    _said.append(status)


def end_now(status: int, line: str) -> NoReturn:
    """End this process from any of its threads, whatever the others wait for, with one line unless that was said.

    Files stay whole: each is written under another name and then renamed.
    """
    if _said:
        os._exit(_said[-1])
    if not is_follower():
        os.write(2, f"{line}\n".encode())
    os._exit(status)
