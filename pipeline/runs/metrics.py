"""metrics.jsonl and a logger: the figures of every step of a stage."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from atomic_files import open_regular
from pipeline.errors import RunError
from pipeline.runs.files import json_lines, write_atomically
from pipeline.runs.loggers import RunLogger, make_logger
from pipeline.runs.schemas import checked
from pipeline.runs.stored_rows import ROWS
from pipeline.settings import LoggerSettings


class MetricLog:
    """metrics.jsonl and the logger of the settings: one row a step. Only the first process writes.

    Rows hold `stage`, `step` and numbers, possibly nested. Rows from `first_step` on, which a killed run wrote after
    its last checkpoint, are dropped on opening.
    """

    def __init__(
        self,
        folder: Path,
        stage: str,
        *,
        first_step: int,
        write: bool = True,
        logger: LoggerSettings = LoggerSettings(),  # noqa: B008 - settings are immutable
    ) -> None:
        self._stage = stage
        self._file = None
        self._logger: RunLogger | None = None
        if write:
            path = folder / "metrics.jsonl"
            kept = [row for row in read_metrics(folder) if row["stage"] != stage or row["step"] < first_step]
            # after what may be wrong in the folder, and before a file is open: it may refuse
            self._logger = make_logger(folder, stage, logger, first_step=first_step)
            write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
            self._file = os.fdopen(open_regular(path, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8")

    @property
    def takes_pictures(self) -> bool:
        """Return whether `show` leads anywhere, so that pictures are worth drawing."""
        return self._logger is not None

    def show(self, step: int, pictures: Mapping[str, bytes]) -> None:
        """Show pictures, contents of PNG files by name, at a step."""
        if self._logger is not None:
            for name, png in pictures.items():
                self._logger.log_picture(name, png, step)

    def write(self, step: int, row: Mapping[str, Any]) -> None:
        """Append one row. Raises FloatingPointError that names a figure that is not finite."""
        for name, value in flattened(row).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise FloatingPointError(f"{self._stage} step {step}: {name} is {value}")
        if self._file is None:
            return
        self._file.write(json.dumps({"stage": self._stage, "step": step, **row}, allow_nan=False) + "\n")
        self._file.flush()
        if self._logger is not None:
            self._logger.log_metrics(
                {
                    name.replace(".", "/"): value
                    for name, value in flattened(row).items()
                    if isinstance(value, int | float) and not isinstance(value, bool)
                },
                step,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
        if self._logger is not None:
            self._logger.finalize("success" if kind is None else "failed" if issubclass(kind, Exception) else "aborted")


def read_metrics(folder: Path, stage: str | None = None) -> list[dict[str, Any]]:
    """Return rows of metrics.jsonl, of one stage or all; a last line that a killed process left half is not a row.

    Raises RunError that names the file and the line where it is not what the stages write.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    for content, wrong in json_lines(path, "the stages write", ended=True):
        _check_row(content, wrong)
        rows.append(content)
    return [row for row in rows if stage in (None, row["stage"])]


def _check_row(content: Any, wrong: str) -> None:
    stage = content.get("stage") if isinstance(content, dict) else None
    if not isinstance(stage, str) or stage not in ROWS:
        raise RunError(f"{wrong}: expected an object with a stage out of {', '.join(ROWS)}")
    checked(content, ROWS[stage], wrong)


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one, whose keys are the ways through them: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
