"""The logger of a stage: Lightning's interface, and pictures."""

from __future__ import annotations

import io
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning_fabric.loggers.logger import Logger
from PIL import Image

from atomic_files import write_atomically
from pipeline.options.loggers import LOGGERS
from pipeline.runs.files import read_text
from pipeline.settings import LoggerSettings

Hyperparameters = dict[str, Any] | Namespace


class RunLogger(Logger):
    """Take the figures of one stage. Lightning's `log_metrics`, `log_hyperparams`, `save` and `finalize`, and pictures.

    folder: of the run.  stage: its name.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self.folder, self.stage = folder, stage

    @property
    def name(self) -> str:
        """Return the name of what is logged: the run folder's, and the stage's."""
        return f"{self.folder.resolve().name} {self.stage}"

    @property
    def version(self) -> str | None:
        """Return by what the logger's own server tells this stage's figures from those of others; None without one."""
        return None

    @abstractmethod
    def log_hyperparams(
        self, params: Hyperparameters, metrics: Mapping[str, float] | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """Note settings and, where they are given, what came of them."""

    @abstractmethod
    def log_picture(self, name: str, png: bytes, step: int) -> None:
        """Show a picture, the content of a PNG file, at a step."""


def as_dict(params: Hyperparameters) -> dict[str, Any]:
    """Return settings by name, in whichever of the two forms of Lightning's interface they came."""
    return params if isinstance(params, dict) else vars(params)


def image_of(png: bytes) -> Image.Image:
    """Return the picture of a PNG file's content."""
    return Image.open(io.BytesIO(png))


def make_logger(folder: Path, stage: str, settings: LoggerSettings, *, first_step: int = 0) -> RunLogger | None:
    """Make the logger that the settings name; None where they name none.

    first_step: where the stage begins or goes on. What a killed run logged from there on is replaced, as far as the
    logger can.
    """
    choice = LOGGERS[settings.name]
    return cast("RunLogger", choice.load()(folder, stage, settings, first_step)) if choice.code else None


def kept_id(folder: Path, stage: str, logger: str) -> Path:
    """Return where the run folder keeps by what a server knows a stage, so that a resumed one goes on there."""
    return folder / logger / f"{stage}.id"


def read_id(folder: Path, stage: str, logger: str, *, first_step: int) -> str | None:
    """Return by what a server knows a stage that is resumed; None where it begins, or is not known."""
    path = kept_id(folder, stage, logger)
    return read_text(path).strip() if first_step > 0 and path.exists() else None


def keep_id(folder: Path, stage: str, logger: str, value: str) -> None:
    """Keep what `read_id` reads."""
    write_atomically(kept_id(folder, stage, logger), f"{value}\n")
