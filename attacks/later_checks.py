"""Checks of values on a device, judged at once or later with others, as a device is waited for at each reading.

A search step and its attacks check several things; read together with the step's own figures they cost no wait more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

Judge = Callable[[Sequence[float]], None]
"""Takes the values of a check, and raises where they are wrong."""


@dataclass
class LaterChecks:
    """Collects the checks of a block, to be read and judged after it.

    values: of all checks, float64 [n] each, on their device.
    """

    values: list[Tensor] = field(default_factory=list)
    _judges: list[Judge] = field(default_factory=list)

    def add(self, values: Tensor, judge: Judge) -> None:
        """Keep a check for later."""
        self.values.append(values.detach().double().flatten())
        self._judges.append(judge)

    def judge(self, read: Sequence[float]) -> None:
        """Judge what was read of all `values`, joined; raises what the first check that fails raises."""
        first = 0
        for values, judge in zip(self.values, self._judges, strict=True):
            judge(read[first : first + len(values)])
            first += len(values)

    def repeat(self) -> None:
        """Make the same checks of what the values are by now: those that a replay has computed anew."""
        for values, judge in zip(self.values, self._judges, strict=True):
            check(values.clone(), judge)

    @contextmanager
    def named(self, where: str) -> Iterator[None]:
        """Put `where` before the message of a FloatingPointError of the checks that the block adds."""
        first = len(self._judges)
        yield
        self._judges[first:] = [partial(_named, where, judge) for judge in self._judges[first:]]


def _named(where: str, judge: Judge, read: Sequence[float]) -> None:
    try:
        judge(read)
    except FloatingPointError as error:
        raise FloatingPointError(f"{where}: {error}") from error


_COLLECTED: ContextVar[LaterChecks | None] = ContextVar("collected checks", default=None)


@contextmanager
def checked_later() -> Iterator[LaterChecks]:
    """Let attacks in the block leave their checks of values to the caller, who reads and judges them after it.

    Shapes and types are checked at once all the same. Labels that are no classes of the model may fail before they are
    judged, in the words of PyTorch.

    >>> import torch
    >>> with checked_later() as checks:
    ...     check(torch.tensor([1.0, 2.0]), lambda values: print("judged:", *values))
    >>> checks.judge(torch.cat(checks.values).tolist())
    judged: 1.0 2.0
    """
    checks = LaterChecks()
    before = _COLLECTED.set(checks)
    try:
        yield checks
    finally:
        _COLLECTED.reset(before)


def collected_checks() -> LaterChecks | None:
    """Return what collects the checks of the present block; None where they are judged at once."""
    return _COLLECTED.get()


def check(values: Tensor, judge: Judge) -> None:
    """Judge values now, for which their device is waited for, or later where a block collects checks."""
    collected = collected_checks()
    if collected is None:
        judge(values.detach().flatten().tolist())
    else:
        collected.add(values, judge)
