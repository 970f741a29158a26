"""Whole states of a stage, from which it goes on after it was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pipeline.errors import RunError
from pipeline.presentation.terminal import printable
from pipeline.runs.files import LARGEST_WEIGHTS, read_bytes, write_atomically
from pipeline.runs.same_settings import check_same_settings

KEPT_CHECKPOINTS = 2  # the last one, and one before in case it cannot be read
STEP_DIGITS = 8  # as many in all names: they are put in order as text
DIGEST_DIGITS = 16  # of a checkpoint's SHA-256, in its name
UNREADABLE = (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError)  # what torch.load may raise


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
            write_atomically(self._folder / f"{self._stage}-{steps:0{STEP_DIGITS}d}-{digest(content)}.ckpt", content)
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
                self._fabric.print(f"warning: {path} cannot be read ({printable(reason)}); {instead}", file=sys.stderr)
        return None

    def begun_with(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """Read the last state as `load` does. Raises RunError where the state is that of a run with other settings."""
        state = self.load()
        if state is not None:
            with going_on_from(self._folder.parent):
                check_same_settings(state["settings"], settings, self._folder.parent)
        return state

    def resume(self, settings: Mapping[str, Any], restore: Callable[[dict[str, Any]], None]) -> None:
        """Restore the newest state, if there is one; raises as `begun_with` does."""
        state = self.begun_with(settings)
        if state is not None:
            with going_on_from(self._folder.parent):
                restore(state)

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
    """Yield names of the tensors in nested containers that hold NaN or infinity."""
    if isinstance(tree, Tensor):
        if tree.is_floating_point() and not torch.isfinite(tree).all():
            yield name
    elif isinstance(tree, Mapping):
        for key, part in tree.items():
            yield from _not_finite(part, f"{name}.{key}")
    elif isinstance(tree, list | tuple):
        for index, part in enumerate(tree):
            yield from _not_finite(part, f"{name}.{index}")


def digest(content: bytes) -> str:
    """Return what the name of a checkpoint of this content ends in."""
    return hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]


def _read_state(path: Path) -> dict[str, Any]:
    """Return the state in a checkpoint, on the CPU. Raises ValueError where its content is not what was written."""
    content = read_bytes(path, LARGEST_WEIGHTS)
    if not path.stem.endswith(f"-{digest(content)}"):
        raise ValueError("its content is not what was written")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its parts are compressed; torch.save compresses none")
    return dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
