"""Searchers and judges on a table of cells."""

from __future__ import annotations

import sys

from e2rnas.cli.output import show
from e2rnas.stages import study_searchers
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Study, and say what was found and where it is written."""
    show(*str(study_searchers(experiment, sys.argv[1:])).split("\n"))
