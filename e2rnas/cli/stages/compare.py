"""Searched cells beside random and published ones."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

from e2rnas.cli.output import show
from pipeline.settings import Experiment
from pipeline.studies.comparison.comparison import compare
from pipeline.studies.comparison.comparison_report import text, write


def main(experiment: Experiment) -> None:
    """Compare, and write the table, the pictures and the figures as JSON."""
    started = time.monotonic()
    standings = compare(Path(experiment.run), experiment)
    minutes = (time.monotonic() - started) / 60
    path = write(Path(experiment.comparison.results), experiment, standings, command(experiment), minutes)
    show(*text(experiment, standings).split("\n"))
    show(str(path))


def command(experiment: Experiment) -> str:
    """The command line that was given, but where files are kept, with the last part of a folder of images alone."""
    overrides = [word for word in sys.argv[1:] if not word.startswith(("run=", "comparison.results="))]
    line = shlex.join(["python", "scripts/compare.py", *overrides])
    images = experiment.data.path
    return line.replace(images, Path(images).name) if images and Path(images).is_dir() else line
