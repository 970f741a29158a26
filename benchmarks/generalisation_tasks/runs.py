"""Finished trainings in a file of JSON lines, so that none is done twice."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from generalisation_tasks.contestants import Contestant, Outcome
from generalisation_tasks.task import BenchmarkTask


class RunKey(NamedTuple):
    """Tells a training from all others, also from those of other meta-parameters or of a task that was changed."""

    task: str
    fingerprint: str
    optimizer: str
    identity: str
    rate: float | None
    seed: int
    steps: int


class FinishedRuns:
    """Outcomes by their keys, kept in a file; a line that a killed process left half is passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outcomes: dict[RunKey, Outcome] = dict(_read(path)) if path.exists() else {}

    def __contains__(self, key: RunKey) -> bool:
        return key in self._outcomes

    def __getitem__(self, key: RunKey) -> Outcome:
        return self._outcomes[key]

    def add(self, key: RunKey, outcome: Outcome) -> None:
        """Keep an outcome, in the file too."""
        self._outcomes[key] = outcome
        self._path.parent.mkdir(parents=True, exist_ok=True)
        half = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("a") as file:
            file.write("\n" * half + json.dumps(finite(key._asdict() | asdict(outcome))) + "\n")


def key_of(task: BenchmarkTask, contestant: Contestant, rate: float | None, seed: int, steps: int) -> RunKey:
    """The key of one training."""
    return RunKey(task.name, task.fingerprint, contestant.name, contestant.identity, rate, seed, steps)


def finite(value: Any) -> Any:
    """Write infinity as null, which JSON has, and others with five digits."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


def _read(path: Path) -> Iterator[tuple[RunKey, Outcome]]:
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
            key = RunKey(**{name: row[name] for name in RunKey._fields})
            curve = tuple(_number(value) for value in row["curve"])
            figures = {name: _number(row[name]) for name in ("first", "highest", "final", "held_out", "seconds")}
        except (ValueError, KeyError, TypeError):
            continue
        yield key, Outcome(**figures, curve=curve)


def _number(value: float | None) -> float:
    return math.inf if value is None else float(value)
