"""Searched cells beside random and published ones."""

from __future__ import annotations

import sys

from e2rnas.cli.output import show
from e2rnas.stages import compare_cells
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Compare, and print the table and where it is written."""
    show(*str(compare_cells(experiment, sys.argv[1:])).split("\n"))
