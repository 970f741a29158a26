"""One page of all results."""

from __future__ import annotations

from pathlib import Path

from e2rnas.cli.output import show
from e2rnas.stages import report_runs
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Write report.html and its figures as PNG, and print the table of results."""
    page, lines = report_runs(Path(experiment.run), [Path(other) for other in experiment.compare])
    show(*lines, str(page))
