"""Weights and Biases: a run for each stage, grouped by the run folder."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.compute.faults import first_line
from pipeline.errors import RunError
from pipeline.runs.loggers.run_logger import Hyperparameters, RunLogger, as_dict, image_of, keep_id, read_id
from pipeline.settings import LoggerSettings

ID_FOLDER = "wandb"  # where the library itself keeps its files of a run folder


class WandbLogger(RunLogger):
    """Send figures by the package wandb, which reads WANDB_MODE, WANDB_ENTITY and its own log-in.

    A resumed stage goes on in the same run. There, steps only rise: what a killed run sent after its last checkpoint
    stays, and the steps that are done again are not sent twice. Raises RunError where no run can be begun.
    """

    def __init__(self, folder: Path, stage: str, settings: LoggerSettings, first_step: int) -> None:
        super().__init__(folder, stage)
        self._wandb = importlib.import_module("wandb")
        try:
            self._run = self._wandb.init(
                project=settings.project,
                group=folder.resolve().name,
                name=self.name,
                job_type=stage,
                dir=str(folder),
                id=read_id(folder, stage, ID_FOLDER, first_step=first_step),
                resume="allow",
            )
        except self._wandb.Error as error:
            raise RunError(f"logger=wandb: {first_line(error)}") from error
        keep_id(folder, stage, ID_FOLDER, str(self._run.id))

    @property
    def version(self) -> str:
        """Return the id of the run."""
        return str(self._run.id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send a point of each figure's curve."""
        self._run.log(dict(metrics), step=step)

    def log_hyperparams(
        self, params: Hyperparameters, metrics: Mapping[str, float] | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """Note settings as the run's configuration, and what came of them as its summary."""
        self._run.config.update(as_dict(params), allow_val_change=True)
        self._run.summary.update(dict(metrics or {}))

    def log_picture(self, name: str, png: bytes, step: int) -> None:
        """Send a picture."""
        self._run.log({name: self._wandb.Image(image_of(png))}, step=step)

    def finalize(self, status: str) -> None:
        """End the run, as failed unless the status is "success"."""
        self._run.finish(exit_code=0 if status == "success" else 1)
