"""Take the result away."""

from __future__ import annotations

from e2rnas.cli.output import show
from e2rnas.stages import export_run
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Export in every form that is asked for, and say what was written."""
    show(*str(export_run(experiment)).split("\n"))
