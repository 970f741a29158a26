"""A searcher that predicts the accuracy of cells from those it has trained, and trains the most promising ones."""

from __future__ import annotations

from pipeline.search.selection.accuracy_model import AccuracyModel, best_expected, most_promising, standard_ranks
from pipeline.studies.study.searchers.bench import Trainings


def predictor(trainings: Trainings) -> int:
    """Train the cell that promises most, again and again, and choose the one of which most is expected.

    A Gaussian process expects it (`AccuracyModel`), of the cells trained before and of sizes: it begins with the cells
    of the most parameters, ties in the order of the draw, and follows size as far as accuracies bear it out.
    """
    sizes = standard_ranks([entry.parameters for entry in trainings.bench.entries])
    model = AccuracyModel(trainings.bench.held, sizes[:, None])
    while trainings.can_train():
        trainings.train(most_promising(model, trainings.seen, trainings.order))
    return best_expected(model, trainings.seen)
