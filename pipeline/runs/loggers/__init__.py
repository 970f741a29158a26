"""Loggers beside metrics.jsonl: TensorBoard, Weights and Biases, MLflow, behind Lightning's interface of a logger."""

from pipeline.runs.loggers.hyperparameters import log_hyperparameters
from pipeline.runs.loggers.run_logger import RunLogger, make_logger

__all__ = ["RunLogger", "log_hyperparameters", "make_logger"]
