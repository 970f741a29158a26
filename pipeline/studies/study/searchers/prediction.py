"""A searcher that predicts the accuracy of cells from those it has trained, and trains the most promising ones."""

from __future__ import annotations

from pipeline.search.selection.accuracy_model import AccuracyModel, best_expected, most_promising
from pipeline.studies.study.searchers.bench import Trainings

FIRST = 5  # cells that are drawn before anything can be predicted


def predictor(trainings: Trainings) -> int:
    """Train the cell of the highest upper confidence bound, again and again, and choose that of the highest mean.

    A Gaussian process predicts accuracies (`AccuracyModel`). The first cells are those of random search. What is chosen
    is a cell that was trained.
    """
    model = AccuracyModel(trainings.bench.held)
    while trainings.can_train():
        is_first = len(trainings.seen) < FIRST
        trainings.train(trainings.draw() if is_first else most_promising(model, trainings.seen, trainings.order))
    return best_expected(model, trainings.seen)
