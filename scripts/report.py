"""One page of all results: python scripts/report.py run=runs/mine compare=[runs/other], or run=<folder of runs>."""

from __future__ import annotations

from pathlib import Path

from _app import run_app
from _output import show

from pipeline.report import run_report, sweep_report
from pipeline.report.seed_groups import runs_in
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Write report.html and its figures as PNG, and print the table of results."""
    folder = Path(experiment.run)
    runs, others = runs_in(folder), [run for other in experiment.compare for run in runs_in(Path(other))]
    if runs == [folder]:
        page, table = run_report.write(folder, others), run_report.table([folder, *others])
    else:
        page, table = sweep_report.write(folder, [*runs, *others]), sweep_report.table(folder, [*runs, *others])
    show(*table.split("\n"))
    show(str(page))


if __name__ == "__main__":
    run_app(main, "Write report.html, self-contained, and its figures as PNG.", one_process=True)
