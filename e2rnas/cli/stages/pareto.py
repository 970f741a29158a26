"""Walk along the Pareto front from one supernet."""

from __future__ import annotations

from pathlib import Path

from e2rnas.cli.output import show
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.settings import Experiment
from pipeline.studies.pareto.front import table
from pipeline.studies.pareto.pareto import pareto


def main(experiment: Experiment) -> None:
    """Walk, and print the front."""
    fabric, data = make_fabric(experiment.fabric), load(experiment.data)
    folder = Path(experiment.run)
    show(*table(pareto(folder, experiment, data, fabric)).split("\n"))
    show(str(folder / "pareto.json"))
