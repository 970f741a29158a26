"""Cells of a space, trained and attacked, as one table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from e2rnas.cli.output import show
from pipeline.report import table_report
from pipeline.settings import Experiment
from pipeline.studies.tables.table import load_table
from pipeline.studies.tables.tabulate import tabulate


def main(experiment: Experiment) -> None:
    """Train what is missing, write the table and its page, and say what it holds."""
    path = tabulate(Path(experiment.run), experiment)
    table = load_table(path)
    best = table.best()
    median, deviation = 100 * float(np.median(table.means)), 100 * table.seed_deviation
    show(
        f"{len(table):,} cells, {table.attack}: best {100 * table.means.max():.1f} %, median {median:.1f} %; one "
        f"training deviates by {deviation:.1f} points",
        f"best: {table_report.in_words(best.genotype)}",
        str(path),
        str(table_report.write(path.parent)),
    )
