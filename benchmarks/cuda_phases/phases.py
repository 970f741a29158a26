"""The phases in their order, each within a budget of seconds, so that all of them end in time."""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from cuda_phases import agreement, capture, depthwise, machine, projection, stages, steps
from cuda_phases.journal import COMPLETE, Journal, table_of
from cuda_phases.place import Place, Row

WHOLE = 460.0  # seconds of all phases, and of the start of the process


@dataclass(frozen=True)
class Phase:
    """One part of the run. budget: seconds, after which it is stopped.  rows: gives its rows one by one.

    rows is called with the place and the rows of the phases before it, by their names.
    """

    name: str
    title: str
    budget: float
    rows: Callable[[Place, Callable[[str], Sequence[Row]]], Iterator[Row]]


PHASES = (
    Phase("machine", "Versions, copies, matrix products, the start of a kernel", 30, machine.rows),
    Phase("depthwise", "Depthwise convolutions", 30, depthwise.rows),
    Phase("agreement", "Agreement in float64", 90, agreement.rows),
    Phase("steps", "The paper's search step", 90, steps.search_rows),
    Phase("capture", "Graph capture", 60, capture.rows),
    Phase("trainings", "Retraining and learned optimizer", 30, steps.training_rows),
    Phase("stages", "Tests that need a GPU, SIGTERM and resume", 90, stages.rows),
    Phase("projection", "Hours of experiment=paper", 5, projection.rows),
)


class BudgetSpentError(Exception):
    """A phase has had its time."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise BudgetSpentError in the block once the time is over; a single call to the device is not interrupted."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise BudgetSpentError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(
    phases: Sequence[Phase], place: Place, journal: Journal, *, deadline: float, report: Callable[[], None]
) -> bool:
    """Run the phases that have not ended. deadline: by time.monotonic.  report: called after each.

    Returns whether all phases have ended as they should, in this run or an earlier one.
    """
    for phase in phases:
        if journal.ending(phase.name) is None:
            _run(phase, place, journal, deadline)
            report()
    endings = [journal.ending(phase.name) for phase in phases]
    return all(ending is not None and ending["ended"] == COMPLETE for ending in endings)


def _run(phase: Phase, place: Place, journal: Journal, deadline: float) -> None:
    started = time.monotonic()
    budget = min(phase.budget, deadline - started)
    how = COMPLETE
    print(f"\n{phase.title} ({budget:.0f} s)", flush=True)
    try:
        with within(budget):
            for row in phase.rows(place, journal.rows):
                journal.add(phase.name, row)
                print(" ", *(f"{name}={value}" for name, value in row.items()), flush=True)
    except BudgetSpentError:
        how = f"stopped after its {budget:.0f} s"
    except Exception as error:
        how = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        traceback.print_exc(file=sys.stderr)
    journal.end(phase.name, how, time.monotonic() - started)


def text_of(phases: Sequence[Phase], journal: Journal) -> str:
    """Return a section with its table for each phase, and how it ended."""
    parts = []
    for phase in phases:
        ending, rows = journal.ending(phase.name), journal.rows(phase.name)
        state = "not begun" if ending is None else f"{ending['ended']}, {ending['seconds']} s"
        parts.append("\n\n".join([f"## {phase.title}", f"{state}.", *([table_of(rows)] if rows else [])]))
    return "\n\n".join(parts)
