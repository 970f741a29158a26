"""Event files for TensorBoard, in tensorboard/<stage> of the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from pipeline.runs.loggers.run_logger import Hyperparameters, RunLogger, as_dict, image_of
from pipeline.settings import LoggerSettings


class TensorBoardLogger(RunLogger):
    """Write event files; those of steps that a killed run logged after its last checkpoint are not shown.

    Fabric's own logger of this name writes nothing in a task of SLURM that is not the first, also where each task is a
    run by itself, and takes $ in the name of a folder for a variable. Hence the writer below it.
    """

    def __init__(self, folder: Path, stage: str, settings: LoggerSettings, first_step: int) -> None:
        super().__init__(folder, stage)
        self._writer = SummaryWriter(self.log_dir, purge_step=first_step)

    @property
    def log_dir(self) -> str:
        """Return the folder of the event files."""
        return str(self.folder / "tensorboard" / self.stage)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write a point of each figure's curve."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def log_hyperparams(
        self, params: Hyperparameters, metrics: Mapping[str, float] | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """Write a row of the table of runs by their settings, with what came of them as its columns."""
        plain = {
            key: value if isinstance(value, int | float | str) else str(value) for key, value in as_dict(params).items()
        }
        self.log_metrics(metrics or {}, 0)
        for summary in hparams(plain, dict(metrics or {})):  # type: ignore[no-untyped-call]
            self._writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]

    def log_picture(self, name: str, png: bytes, step: int) -> None:
        """Show a picture."""
        pixels = np.asarray(image_of(png).convert("RGB"))
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def finalize(self, status: str) -> None:
        """Close the files."""
        self._writer.close()
