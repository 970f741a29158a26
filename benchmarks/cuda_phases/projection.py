"""Hours of experiment=paper, from the steps that were measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cuda_phases.place import PAPER, Place, Row
from e2rnas.cli.app import compose_experiment

IMAGES = 50_000  # for training, of CIFAR-10


def paper_steps() -> tuple[int, int]:
    """Return the steps of the search, and those of the retraining, by conf/experiment/paper.yaml.

    >>> paper_steps()
    (19500, 281400)
    """
    paper = compose_experiment(["experiment=paper"])
    search, retrain = paper.search, paper.retrain
    of_weights = IMAGES // 2  # the other half trains alphas
    kept = round(IMAGES * (1 - retrain.held_back))
    return search.epochs * (of_weights // search.batch_size), retrain.epochs * -(-kept // retrain.batch_size)


def rows(place: Place, earlier: Callable[[str], Sequence[Row]]) -> Iterator[Row]:
    """Give the hours of the search in each order and precision, and of the retraining; evaluation is not in it."""
    of_search, of_retraining = paper_steps()
    batch = place.sizes.batches[0]
    note = {} if place.sizes is PAPER else {"note": "of a dry run's sizes: it says nothing of the paper's"}
    for row in earlier("steps"):
        if row.get("s") and row["batch"] == batch:
            way = f"search, {row['step']}, {row['order']} order, {row['precision']}"
            yield _hours(way, row["s"], of_search) | note
    for row in earlier("capture"):
        if row.get("graphs") == "auto":
            steps = of_search if row["step"].startswith("search") else of_retraining
            yield _hours(f"{row['step']}, from graphs, 32-true", row["s"], steps) | note
    for row in earlier("trainings"):
        if row["step"].startswith("retraining"):
            yield _hours(f"{row['step']}, {row['precision']}", row["s"], of_retraining) | note


def _hours(what: str, seconds: float, steps: int) -> Row:
    return {"what": what, "s a step": seconds, "steps": steps, "hours": steps * seconds / 3600}
