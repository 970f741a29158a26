"""The settings of a run beside its accuracies, so that a logger can set runs beside one another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.runs.loggers.run_logger import make_logger
from pipeline.runs.settings_record import NOT_KEPT, defaults, leaves
from pipeline.settings import Experiment

STAGE = "evaluate"
ALWAYS = ("seed",)
NEVER = {"data.path", *NOT_KEPT}  # places on this machine
WHAT_MADE_IT = ("seed", "data", "space", "objectives", "attack", "weight_optimizer", "search", "retrain", "evaluate")
"""Groups of settings on which a measured network depends."""


def log_hyperparameters(folder: Path, experiment: Experiment, figures: Mapping[str, float]) -> None:
    """Note what an evaluation found beside the settings of the run, as far as they are not the default.

    figures: accuracies by the name of the attack, in [0, 1].
    """
    logger = make_logger(folder, STAGE, experiment.logger)
    if logger is None:
        return
    logger.log_hyperparams(hyperparameters(experiment), {f"accuracy/{name}": found for name, found in figures.items()})
    logger.finalize("success")


def hyperparameters(experiment: Experiment) -> dict[str, object]:
    """Return the settings that a measured network depends on, by dotted key, but those that are as by default.

    >>> hyperparameters(Experiment(retrain={"epochs": 10}))
    {'seed': 0, 'retrain.epochs': 10}
    """
    return {
        key: value
        for key, value in leaves(experiment)
        if key.split(".")[0] in WHAT_MADE_IT and key not in NEVER and (key in ALWAYS or value != defaults()[key])
    }
