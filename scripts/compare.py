"""Searched cells beside random and published ones: python scripts/compare.py experiment=comparison."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

from _app import run_app
from _output import show

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


if __name__ == "__main__":
    run_app(
        main,
        "Retrain searched, random and published cells by one recipe, and compare them.",
        one_process=True,
        when_out_of_memory="lower search.batch_size or retrain.batch_size",
    )
