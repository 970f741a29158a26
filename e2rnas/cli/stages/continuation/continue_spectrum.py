"""From a measured Green's function to its spectrum."""

from __future__ import annotations

from pathlib import Path

from e2rnas.cli.output import show
from pipeline.continuation.continuation import continue_measured, in_words
from pipeline.report.spectra import spectrum_report
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Continue the data, write spectrum and page, and say what was found."""
    folder = Path(experiment.run)
    found = continue_measured(folder, experiment)
    show(*in_words(folder, found), str(spectrum_report.write(folder)))
