"""Where figures of a run go beside metrics.jsonl, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from on_demand import Option


@dataclass(frozen=True, kw_only=True)
class LoggerChoice(Option):
    """A logger; its code takes the run folder, the stage, LoggerSettings and the first step, and returns a RunLogger.

    package: what has to be installed for it, by its name in Python; none for "".  install: the command that does so.
    """

    package: str = ""
    install: str = ""


LOGGERS: Mapping[str, LoggerChoice] = {
    "tensorboard": LoggerChoice(
        label="TensorBoard",
        meaning="event files in tensorboard/ of the run folder",
        code="pipeline.runs.loggers.tensorboard:TensorBoardLogger",
    ),
    "wandb": LoggerChoice(
        label="Weights and Biases",
        meaning="a run of `logger.project` for each stage; WANDB_MODE=offline keeps it in the run folder",
        code="pipeline.runs.loggers.wandb:WandbLogger",
        package="wandb",
        install="pip install -e '.[wandb]'",
    ),
    "mlflow": LoggerChoice(
        label="MLflow",
        meaning="a run of the experiment `logger.project` for each stage, at MLFLOW_TRACKING_URI",
        code="pipeline.runs.loggers.mlflow:MlflowLogger",
        package="mlflow",
        install="pip install mlflow",  # no extra: it asks for a newer requests than torchattacks names
    ),
    "none": LoggerChoice(label="none", meaning="metrics.jsonl alone"),
}
