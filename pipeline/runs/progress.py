"""How far a stage is, how long still, and the figures that matter: a bar on a terminal, lines in a file or pipe."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from datetime import timedelta
from typing import IO, Protocol

import rich
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.presentation.terminal import printable

SHORTEST_PAUSE, LONGEST_PAUSE = 30.0, 300.0  # seconds between two lines
PART_OF_THE_TIME = 0.1  # that may pass between two lines: a run of hours needs fewer of them an hour

_names: list[str] = []


class Bar(Protocol):
    """How far one piece of work is."""

    def advance(self, figures: str, by: int = 1) -> None:
        """Say that the work is `by` steps further, and what to show beside that."""


class _DrawnBar:
    """A bar that is drawn anew where it stands."""

    def __init__(self, progress: Progress, description: str, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, completed=done, figures="")

    def advance(self, figures: str, by: int = 1) -> None:
        self._progress.update(self._task, advance=by, figures=printable(figures))


class _WrittenBar:
    """Lines, one after the other: of the first step, of later ones at a pace that slows down, of the last."""

    def __init__(self, file: IO[str], description: str, total: int, done: int) -> None:
        self._file = file
        self._description = " ".join([*_names, description])
        self._total, self._done, self._done_before = total, done, done
        self._started = self._due = time.monotonic()
        self._figures, self._is_said = "", True

    def advance(self, figures: str, by: int = 1) -> None:
        self._done, self._figures, self._is_said = self._done + by, printable(figures), False
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write how far the work is, unless the last line says it."""
        if self._is_said:
            return
        self._is_said = True
        passed = time.monotonic() - self._started
        self._due = self._started + passed + min(max(SHORTEST_PAUSE, PART_OF_THE_TIME * passed), LONGEST_PAUSE)
        left = passed / max(1, self._done - self._done_before) * (self._total - self._done)
        now = time.strftime("%H:%M:%S")
        parts = [f"{now} {self._description} {self._done}/{self._total}", f"{timedelta(seconds=round(left))} left"]
        self._file.write(" | ".join([*parts, *filter(None, [self._figures])]) + "\n")
        self._file.flush()


@contextmanager
def progress_bar(description: str, total: int, *, done: int = 0, show: bool = True) -> Iterator[Bar]:
    """Show work from `done` to `total` steps: as a bar on a terminal; elsewhere as lines, with the time of day."""
    description, console = printable(description), rich.get_console()
    if show and (not console.is_terminal or console.is_dumb_terminal):
        written = _WrittenBar(console.file, description, total, done)
        try:
            yield written
        finally:
            written.write()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left |"),
        TextColumn("{task.fields[figures]}", markup=False),  # names in it come from files
    )
    with Progress(*columns, disable=not show) as progress:
        yield _DrawnBar(progress, description, total, done)


@contextmanager
def lines_named(name: str) -> Iterator[None]:
    """Begin lines of progress with a name: several jobs may write to one file."""
    _names.append(name)
    try:
        yield
    finally:
        _names.pop()


def silently() -> AbstractContextManager[object]:
    """Hide the progress of what runs inside other work."""
    return redirect_stdout(io.StringIO())
