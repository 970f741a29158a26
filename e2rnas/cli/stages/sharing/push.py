"""Give the trained network away in the layout of a hub of models."""

from __future__ import annotations

from e2rnas.cli.output import show
from e2rnas.sharing import push_to_hub
from pipeline.settings import Experiment


def main(experiment: Experiment) -> None:
    """Write the files, upload them where a repository is named, and say what was written."""
    settings = experiment.push
    pushed = push_to_hub(experiment.run, settings.repository, folder=settings.folder, private=settings.private)
    show(*str(pushed).split("\n"))
