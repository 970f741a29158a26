"""Train a learned optimizer."""

from __future__ import annotations

from pathlib import Path

from e2rnas.cli.output import show
from pipeline.meta_training.meta_train import meta_train
from pipeline.meta_training.theta_result import describe
from pipeline.runs.files import read_json
from pipeline.settings import Experiment


def main(experiment: Experiment) -> float:
    """Train, and say what was reached. -> normalised loss on tasks that trained nothing, over a training."""
    folder = Path(experiment.run)
    meta_train(folder, experiment)
    show(describe(folder))
    return float(read_json(folder / "theta.json")["best"]["mean"])
