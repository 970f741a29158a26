"""The run folder: atomic files, metrics, checkpoints, and seeds by which a resumed run equals an unbroken one."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import math
import os
import pickle
import sys
import zipfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import torch
from lightning_fabric import Fabric, seed_everything
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from pipeline.settings import HOW_IMAGES_ARE_READ, Experiment, FabricSettings, Settings

KEPT_CHECKPOINTS = 2  # the last one, and one before in case it cannot be read
STEP_DIGITS = 8  # as many in all names: they are put in order as text
DIGEST_DIGITS = 16  # of a checkpoint's SHA-256, in its name
UNREADABLE = (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError)  # what torch.load may raise
LONGEST_WAIT = timedelta(days=1)  # for another process: one batch under AutoAttack may take hours
LEFT_BEHIND = (".*.tmp", "checkpoint/.*.tmp", "figures/.*.tmp")  # by a process that was killed as it wrote


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


def stream_seed(*parts: int | str) -> int:
    """A 32-bit seed for one purpose, from the run's seed and the names and numbers that tell purposes apart."""
    words = [part if isinstance(part, int) else int.from_bytes(part.encode(), "big") for part in parts]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def seed_stream(*parts: int | str) -> None:
    """Seed all global generators for one purpose.

    Called at each epoch with its number, so that what follows does not depend on what ran before: a run that resumes
    there draws the same numbers as one that was never stopped.
    """
    seed_everything(stream_seed(*parts), verbose=False)


@contextlib.contextmanager
def exclusive(folder: Path, stage: str, *, take: bool = True) -> Iterator[None]:
    """Hold the folder for one stage; a second run that wants it gets a RunError. The lock dies with its process.

    One lock serves all stages, as they share metrics.jsonl.
    take: false in the processes of a run that are not its first, which holds the lock for all.
    """
    if not take:
        yield
        return
    with _opened_lock(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(
                f"cannot {stage}: another process is at work in {folder}; wait for it or choose another run="
            ) from None
        for pattern in LEFT_BEHIND:
            for temporary in folder.glob(pattern):
                if not _is_being_written(temporary):
                    temporary.unlink()
        yield


def _is_being_written(temporary: Path) -> bool:
    """Whether the process that its name gives lives and is another one: the report writes without the lock."""
    number = temporary.name.split(".")[-2]
    if not number.isdecimal() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _opened_lock(folder: Path) -> IO[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"run={folder} cannot be made a folder: {error.strerror}") from None
    try:
        return (folder / ".lock").open("w")
    except OSError as error:
        raise RunError(f"run={folder} cannot be written: {error.strerror}") from None


def check_same_settings(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raise RunError that lists the keys in which two resolved settings differ."""
    old, new = _flat(before), _flat(now)
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


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


class MetricLog:
    """metrics.jsonl and TensorBoard: one row a step. Only the first process writes.

    Rows hold `stage`, `step` and numbers, possibly nested. Rows from `first_step` on, which a killed run wrote after
    its last checkpoint, are dropped on opening.
    """

    def __init__(self, folder: Path, stage: str, *, first_step: int, write: bool = True) -> None:
        self._stage = stage
        self._file = None
        if write:
            path = folder / "metrics.jsonl"
            kept = [row for row in read_metrics(folder) if row["stage"] != stage or row["step"] < first_step]
            write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
            self._file = path.open("a", encoding="utf-8")
            self._board = SummaryWriter(str(folder / "tensorboard" / stage), purge_step=first_step)

    def write(self, step: int, row: Mapping[str, Any]) -> None:
        """Append one row. Raises FloatingPointError that names a figure that is not finite."""
        for name, value in _flat(row).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise FloatingPointError(f"{self._stage} step {step}: {name} is {value}")
        if self._file is None:
            return
        self._file.write(json.dumps({"stage": self._stage, "step": step, **row}, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in _flat(row).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._board.add_scalar(name.replace(".", "/"), value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._board.close()


def read_metrics(folder: Path, stage: str | None = None) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl, of one stage or all; a last line that a killed process left half is not a row.

    Raises RunError for rows that no stage writes.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError, RecursionError):
            rows.append(json.loads(line))
    if not all(isinstance(row, dict) and {"stage", "step"} <= row.keys() for row in rows):
        raise RunError(f"{path} is not what the stages write: expected an object with stage and step in every line")
    return [row for row in rows if stage in (None, row["stage"])]


class Checkpoints:
    """Whole states of one stage in checkpoint/, numbered by the steps done; the last two are kept.

    A file's name ends in the first digits of its SHA-256, as those of torch.hub do, so that one renaming puts both in
    place; what no longer has them was truncated or changed.
    """

    def __init__(self, folder: Path, stage: str, fabric: Fabric) -> None:
        self._folder = folder / "checkpoint"
        self._stage = stage
        self._fabric = fabric

    def save(self, steps: int, state: dict[str, Any]) -> None:
        """Store the state after `steps` steps: tensors, numbers, strings and containers of them.

        Raises FloatingPointError where it is not finite, and OSError where it cannot be written; those before stay.
        """
        if self._fabric.is_global_zero:
            for name in _not_finite(state):
                raise FloatingPointError(f"{self._stage} after {steps} steps: {name} is not finite")
            buffer = io.BytesIO()
            torch.save(state, buffer)
            content = buffer.getvalue()
            write_atomically(self._folder / f"{self._stage}-{steps:0{STEP_DIGITS}d}-{_digest(content)}.ckpt", content)
            for old in self._paths()[:-KEPT_CHECKPOINTS]:
                old.unlink()
        self._fabric.barrier()

    def load(self) -> dict[str, Any] | None:
        """The newest state that is as it was written, or None where there is none. Nothing in a file is executed.

        A file that is not is passed over, and standard error says so.
        """
        paths = self._paths()
        for path in reversed(paths):
            try:
                return _read_state(path)
            except (OSError, pickle.UnpicklingError, zipfile.BadZipFile, *UNREADABLE) as error:
                instead = "starting from the beginning" if path == paths[0] else "going back to the one before"
                reason = str(error).partition("\n")[0]
                self._fabric.print(f"warning: {path} cannot be read ({reason}); {instead}", file=sys.stderr)
        return None

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._stage}-{'[0-9]' * STEP_DIGITS}-*.ckpt"))


@contextlib.contextmanager
def going_on_from(folder: Path) -> Iterator[None]:
    """Turn what a checkpoint of another form raises, one of an older version say, into a RunError that says so."""
    try:
        yield
    except RunError:
        raise
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"{folder / 'checkpoint'} holds no state that this stage can go on from "
            f"({type(error).__name__}: {reason}); remove it, or choose another run="
        ) from None


def _not_finite(tree: Any, name: str = "state") -> Iterator[str]:
    """Names of the tensors in nested containers that hold NaN or infinity."""
    if isinstance(tree, Tensor):
        if tree.is_floating_point() and not torch.isfinite(tree).all():
            yield name
    elif isinstance(tree, Mapping):
        for key, part in tree.items():
            yield from _not_finite(part, f"{name}.{key}")
    elif isinstance(tree, list | tuple):
        for index, part in enumerate(tree):
            yield from _not_finite(part, f"{name}.{index}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]


def _read_state(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, on the CPU. Raises ValueError where its content is not what was written."""
    content = path.read_bytes()
    if not path.stem.endswith(f"-{_digest(content)}"):
        raise ValueError("its content is not what was written")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its parts are compressed; torch.save compresses none")
    return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))


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
