"""A stage's hold on its run folder, the settings that it depends on, and the machine that it runs on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from atomic_files import kind_of, open_regular, remove_unfinished
from pipeline.errors import RunError
from pipeline.runs.metrics import flattened
from pipeline.settings import HOW_IMAGES_ARE_READ, Experiment, FabricSettings, Settings

LONGEST_WAIT = timedelta(days=1)  # for another process: one batch under AutoAttack may take hours
WRITTEN_IN = ("checkpoint", "figures")  # folders of a run folder in which files are written, beside itself
FOLDERS = (*WRITTEN_IN, "tensorboard", "points", "selection")  # all that stages make in it
FILES = ("metrics.jsonl", "settings.json", "search.json", "genotype.json", "network.json", "robustness.json")


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


def check_same_settings(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raise RunError that lists the keys in which two resolved settings differ."""
    old, new = flattened(before), flattened(now)
    changed = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    if changed:
        listed = "; ".join(f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in changed)
        raise RunError(f"{folder} holds a run with other settings ({listed}); use them, or choose another run=")


def plain(settings: Mapping[str, Settings | int | str | None]) -> dict[str, Any]:
    """Settings as what JSON holds, to be compared and stored."""
    content = {k: v.model_dump(mode="json") if isinstance(v, Settings) else v for k, v in settings.items()}
    return dict(json.loads(json.dumps(content)))


def what_training_depends_on(experiment: Experiment, *names: str) -> dict[str, Any]:
    """All that the result of a stage that trains depends on: its own settings by name, and what every stage shares."""
    settings = plain({name: getattr(experiment, name) for name in ("seed", "data", "weight_optimizer", *names)})
    for key in ("test_split", "test_limit", *HOW_IMAGES_ARE_READ):  # the first two are read by evaluation alone
        del settings["data"][key]
    fabric = experiment.fabric
    # a key of its own only where it matters: what one process trained before there was the option stays valid
    shared = {"synchronised_statistics": True} if fabric.synchronised_statistics and fabric.devices > 1 else {}
    return settings | {"precision": fabric.precision, "processes": fabric.devices} | shared


def make_fabric(settings: FabricSettings) -> Fabric:
    """Devices, threads, precision and processes. Raises RunError when the machine has not what is asked for."""
    available = torch.cuda.device_count()
    wants_cuda = settings.accelerator == "cuda" or (settings.accelerator == "auto" and available > 0)
    if wants_cuda and settings.devices > available:
        raise RunError(f"fabric asks for {settings.devices} CUDA devices; this machine has {available}")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    accelerator = settings.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if available else "cpu"
    strategy = DDPStrategy(timeout=LONGEST_WAIT) if settings.devices > 1 else settings.strategy
    return Fabric(accelerator=accelerator, devices=settings.devices, strategy=strategy, precision=settings.precision)
