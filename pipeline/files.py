"""Files that are there whole or not at all, and what is wrong with one that is not as a stage wrote it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class RunError(ValueError):
    """What is asked for does not fit what the run folder holds."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is there whole or, if the process dies, not at all (an older one then stays).

    Raises OSError that names the file where the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # a failed write() does not say of what


def write_json(path: Path, content: Any) -> None:
    """Write JSON, atomically; numbers that are not finite are refused, as JSON has none."""
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON. Raises RunError that names the file when it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} is not a JSON file: {error}") from None


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that a finished stage left in its JSON. Raises RunError that names the file where it has none."""
    content = read_json(path)
    settings = content.get("settings") if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise RunError(f"{path} is not what a stage writes: it has no settings; remove it or choose another run=")
    return settings
