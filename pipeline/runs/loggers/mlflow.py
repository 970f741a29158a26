"""MLflow: a run for each stage, in the experiment that `logger.project` names."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.compute.faults import first_line
from pipeline.errors import RunError
from pipeline.runs.loggers.run_logger import Hyperparameters, RunLogger, as_dict, image_of, keep_id, read_id
from pipeline.settings import LoggerSettings

ID_FOLDER = "mlflow"
MOST_LETTERS = 500  # of a value that every server takes
STATES = {"success": "FINISHED", "failed": "FAILED", "aborted": "KILLED"}
"""Lightning's words for how a stage ended -> MLflow's."""


class MlflowLogger(RunLogger):
    """Send figures by the package mlflow to MLFLOW_TRACKING_URI or, without it, where that release keeps its runs.

    A resumed stage goes on in the same run; steps that are done again are there twice, with the same figures. Raises
    RunError where the server or file cannot be used.
    """

    def __init__(self, folder: Path, stage: str, settings: LoggerSettings, first_step: int) -> None:
        super().__init__(folder, stage)
        mlflow = importlib.import_module("mlflow")
        self._metric, self._param = mlflow.entities.Metric, mlflow.entities.Param
        try:
            self._client = mlflow.MlflowClient()
            self._run_id = read_id(folder, stage, ID_FOLDER, first_step=first_step) or self._new_run(settings.project)
        except (ImportError, mlflow.exceptions.MlflowException) as error:
            raise RunError(f"logger=mlflow: {first_line(error)}") from error
        keep_id(folder, stage, ID_FOLDER, self._run_id)

    def _new_run(self, project: str) -> str:
        found = self._client.get_experiment_by_name(project)
        experiment = self._client.create_experiment(project) if found is None else found.experiment_id
        tags = {"stage": self.stage, "run folder": self.folder.resolve().name}
        return str(self._client.create_run(experiment, run_name=self.name, tags=tags).info.run_id)

    @property
    def version(self) -> str:
        """Return the id of the run."""
        return self._run_id

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send a point of each figure's curve, all in one call."""
        now = int(1000 * time.time())
        points = [self._metric(name, float(value), now, step or 0) for name, value in metrics.items()]
        self._client.log_batch(self._run_id, metrics=points)

    def log_hyperparams(
        self, params: Hyperparameters, metrics: Mapping[str, float] | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """Note settings as the run's parameters, and what came of them as its figures."""
        values = [self._param(key, str(value)[:MOST_LETTERS]) for key, value in as_dict(params).items()]
        self._client.log_batch(self._run_id, params=values)
        self.log_metrics(metrics or {}, 0)

    def log_picture(self, name: str, png: bytes, step: int) -> None:
        """Keep a picture among the run's files."""
        self._client.log_image(self._run_id, image_of(png), artifact_file=f"{name}/{step:08d}.png")

    def finalize(self, status: str) -> None:
        """End the run."""
        self._client.set_terminated(self._run_id, STATES.get(status, "FAILED"))
