"""Search a cell."""

from __future__ import annotations

from e2rnas.cli.output import show
from e2rnas.stages import prepared, read_search, search_in_words
from pipeline.search.search import search
from pipeline.settings import Experiment


def main(experiment: Experiment) -> float | None:
    """Search, and say what was found. -> the chosen cell's accuracy after its last round, where there was a choice."""
    context = prepared(experiment)
    search(*context)
    if not context.fabric.is_global_zero:
        return None
    show(*search_in_words(context.folder))
    selection = read_search(context.folder).selection
    return selection[0].accuracies[-1] if selection else None
