"""A stage's hold on its run folder: one stage at a time, and no link in place of what it writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from atomic_files import kind_of, open_regular, remove_unfinished
from pipeline.errors import RunError

# folders of a run folder in which files are written, beside itself
WRITTEN_IN = ("checkpoint", "figures", "adversarial")
FOLDERS = (*WRITTEN_IN, "tensorboard", "wandb", "mlflow", "points", "selection")  # all that stages make in it
FILES = (
    *("metrics.jsonl", "settings.json", "search.json", "genotype.json", "network.json", "robustness.json"),
    *("spectrum.json", "spectrum.csv"),
)


@contextlib.contextmanager
def exclusive(folder: Path, stage: str, *, take: bool = True) -> Iterator[None]:
    """Hold the folder for one stage; a second run that wants it gets a RunError. The lock dies with its process.

    One lock serves all stages, as they share metrics.jsonl.
    take: false in the processes of a run that are not its first, which holds the lock for all.
    """
    if not take:
        yield
        return
    with _opened_lock(folder, stage) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(
                f"cannot {stage}: another process is at work in {folder}; wait for it or choose another run="
            ) from None
        for place in (folder, *(folder / name for name in WRITTEN_IN)):
            remove_unfinished(place)
        yield


def check_folders(folder: Path, *more: str) -> None:
    """Raise RunError where a link, or what is no folder, stands in place of a folder that stages write in.

    The run folder itself may be a link; one inside it would lead what is written, and removed, out of it.
    """
    for path in (folder / name for name in (*FOLDERS, *more)):
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue
        if not stat.S_ISDIR(mode):
            raise RunError(
                f"{path} is {kind_of(mode)}; expected a folder or none: move it away (the run folder may be a link)"
            )


def _check_files(folder: Path) -> None:
    """Raise RunError where something else stands in place of a file that stages add to or replace."""
    for path in (folder / name for name in FILES):
        if path.exists() and not path.is_file():
            kind = kind_of(path.stat().st_mode)
            raise RunError(f"{path} is {kind}; expected a file or none: move it away, or choose another run=")


def _opened_lock(folder: Path, stage: str) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"run={folder} cannot be made a folder: {error.strerror}") from None
    check_folders(folder, f"tensorboard/{stage}")
    _check_files(folder)
    try:
        return os.fdopen(open_regular(folder / ".lock", os.O_RDWR | os.O_CREAT), "r+")
    except OSError as error:
        raise RunError(f"run={folder} cannot be written: {error.strerror}") from None
