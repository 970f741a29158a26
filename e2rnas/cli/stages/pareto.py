"""Walk along the Pareto front from one supernet."""

from __future__ import annotations

from e2rnas.cli.output import show
from e2rnas.stages import prepared
from pipeline.settings import Experiment
from pipeline.studies.pareto.pareto import pareto


def main(experiment: Experiment) -> None:
    """Walk, and print the front."""
    context = prepared(experiment)
    show(*str(pareto(*context)).split("\n"), str(context.folder / "pareto.json"))
