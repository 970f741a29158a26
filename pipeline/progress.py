"""Progress bars: how far, how long still, and the figures that matter."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """One running bar."""

    def __init__(self, progress: Progress, description: str, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, completed=done, figures="")

    def advance(self, figures: str, by: int = 1) -> None:
        """One step further, with the text to show beside the bar."""
        self._progress.update(self._task, advance=by, figures=figures)


@contextmanager
def progress_bar(description: str, total: int, *, done: int = 0, show: bool = True) -> Iterator[Bar]:
    """A bar on the terminal from `done` to `total` steps; in a file or pipe, its last state alone."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("left |"),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, disable=not show) as progress:
        yield Bar(progress, description, total, done)


def silently() -> AbstractContextManager[object]:
    """Without the bars of what runs inside another one, which would overwrite it."""
    return redirect_stdout(io.StringIO())
