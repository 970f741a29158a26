"""Train a network that continues Green's functions."""

from __future__ import annotations

from pathlib import Path

from e2rnas.cli.output import show
from pipeline.continuation.train_continuation import describe, train_continuation
from pipeline.runs.files import read_json
from pipeline.settings import Experiment


def main(experiment: Experiment) -> float:
    """Train, and say what was reached. -> mean L1 error on simulations that trained nothing."""
    folder = Path(experiment.run)
    train_continuation(folder, experiment)
    show(describe(folder))
    return float(read_json(folder / "continuation.json")["curve"][-1]["error"])
