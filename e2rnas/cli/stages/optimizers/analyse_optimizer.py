"""An optimizer, taken apart."""

from __future__ import annotations

import sys
from pathlib import Path

from e2rnas.cli.output import show
from e2rnas.stages import analyse
from pipeline.networks.module_path import let_be_found
from pipeline.presentation.tables import text_table
from pipeline.report import analysis_report
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Analyse, write the page, and print the table of mechanisms."""
    reference = experiment.analyse.optimizer
    file = let_be_found(reference) if ":" in reference else None
    found = analyse(experiment, sys.argv[1:])
    page = analysis_report.write(Path(experiment.run))
    if file:
        show(f"{reference} runs the code of {file}")
    rows = [(each.mechanism, "found" if each.found else "not found", each.figure) for each in found.verdicts]
    show(*text_table(("mechanism", found.optimizer, "it rests on"), rows, words=(found.optimizer, "it rests on")))
    show(*(f"{each.mechanism}: {each.said}" for each in found.verdicts), str(page))
