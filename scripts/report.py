"""One page of all results: python scripts/report.py run=runs/mine compare=[runs/other]."""

from __future__ import annotations

from pathlib import Path

from _app import run_app

import pipeline.report as report
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Write report.html and its figures as PNG, and print the table of results."""
    folder, others = Path(experiment.run), [Path(other) for other in experiment.compare]
    page = report.write(folder, others)
    print(report.table([folder, *others]))
    print(page)


if __name__ == "__main__":
    run_app(main, "Write report.html, self-contained, and its figures as PNG.", one_process=True)
