"""One page of all results."""

from __future__ import annotations

from pathlib import Path

from e2rnas.cli.output import show
from pipeline.report import run_report, table_report
from pipeline.report.sweeps import sweep_report
from pipeline.report.sweeps.seed_groups import runs_in
from pipeline.settings import Experiment
from pipeline.studies.tables.table import FILE as TABLE


def main(experiment: Experiment) -> None:
    """Write report.html and its figures as PNG, and print the table of results."""
    folder = Path(experiment.run)
    if (folder / TABLE).exists():
        show(str(table_report.write(folder)))
        return
    runs, others = runs_in(folder), [run for other in experiment.compare for run in runs_in(Path(other))]
    if runs == [folder]:
        page, table = run_report.write(folder, others), run_report.table([folder, *others])
    else:
        page, table = sweep_report.write(folder, [*runs, *others]), sweep_report.table(folder, [*runs, *others])
    show(*table.split("\n"))
    show(str(page))
