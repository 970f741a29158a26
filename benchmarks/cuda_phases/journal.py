"""The rows that were measured, on the disk before the next is begun, so that a run that is stopped goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from record import table

from cuda_phases.place import Row
from pipeline.errors import RunError
from pipeline.runs.files import json_lines, write_atomically

COMPLETE = "complete"


class Journal:
    """cuda.jsonl: one row a line, after a first line that says where it was measured.

    header: the first line. Rows of phases that did not end are measured again. Raises RunError for a file of another
    machine, other versions or other sizes.
    """

    def __init__(self, folder: Path, header: Row) -> None:
        self.path = folder / "cuda.jsonl"
        found = self._read() if self.path.exists() else [header]
        if not found or found[0] != header:
            raise RunError(f"{self.path} was measured elsewhere or by other versions; give another --out")
        ended = {row["phase"] for row in found[1:] if "ended" in row}
        self._lines = [header, *(row for row in found[1:] if row["phase"] in ended)]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in self._lines))

    def _read(self) -> list[Row]:
        found = [content for content, _ in json_lines(self.path, "benchmarks/cuda.py writes", ended=True)]
        if not all(isinstance(row, dict) and (number == 0 or "phase" in row) for number, row in enumerate(found)):
            raise RunError(f"{self.path} is not what benchmarks/cuda.py writes; give another --out")
        return found

    def add(self, phase: str, row: Row) -> None:
        """Append one row, and see it on the disk."""
        line = {"phase": phase, **row}
        self._lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def end(self, phase: str, how: str, seconds: float) -> None:
        """Note how a phase ended, and after how long."""
        self.add(phase, {"ended": how, "seconds": round(seconds, 1)})

    def rows(self, phase: str) -> list[Row]:
        """Return what a phase has measured."""
        return [_without_phase(line) for line in self._lines[1:] if line["phase"] == phase and "ended" not in line]

    def ending(self, phase: str) -> Row | None:
        """Return how a phase ended and after how many seconds; None where it has not."""
        return next((line for line in self._lines[1:] if line["phase"] == phase and "ended" in line), None)


def _without_phase(line: Row) -> Row:
    return {name: value for name, value in line.items() if name != "phase"}


def table_of(rows: Sequence[Row]) -> str:
    """Return rows as a table; a row that lacks a figure has a blank there."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return table(columns, [[_shown(row.get(name)) for name in columns] for row in rows])


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")
