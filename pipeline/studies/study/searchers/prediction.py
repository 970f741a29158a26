"""A searcher that predicts the accuracy of cells from those it has trained, and trains the most promising ones."""

from __future__ import annotations

from itertools import product

import numpy as np

from pipeline.studies.study.searchers.bench import Trainings
from pipeline.studies.tables.table import Floats

FIRST = 5  # cells that are drawn before anything can be predicted
REACHES = (1.0, 2.0, 4.0)  # edges by which two cells differ whose accuracies still tell of one another
NOISES = (0.1, 0.3, 1.0)  # variance of one training, beside that of cells


def predictor(trainings: Trainings) -> int:
    """Train the cell of the highest upper confidence bound, again and again, and choose that of the highest mean.

    A Gaussian process predicts accuracies; its covariance falls with the number of edges in which two cells differ. The
    bound is one deviation above the mean (Srinivas et al. 2010). The first cells are those of random search. What is
    chosen is a cell that was trained, by its predicted mean and not by what was seen, so that luck counts less.
    """
    while trainings.can_train():
        if len(trainings.seen) < FIRST:
            trainings.train(trainings.draw())
            continue
        means, deviations = predicted(trainings)
        bounds = means + deviations
        left = [cell for cell in trainings.order if cell not in trainings.seen]
        trainings.train(max(left, key=lambda cell: float(bounds[cell])))
    means, _ = predicted(trainings)
    return max(trainings.seen, key=lambda cell: (float(means[cell]), trainings.seen[cell]))


def predicted(trainings: Trainings) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation of each cell's accuracy, [cells], given the accuracies seen.

    The reach of the covariance and the noise of one training are those of the highest marginal likelihood.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF

    cells = list(trainings.seen)
    held, accuracies = trainings.bench.held, np.array([trainings.seen[cell] for cell in cells])
    fits = [
        # squared distances of rows count each differing edge twice
        GaussianProcessRegressor(RBF(np.sqrt(reach)), alpha=noise, optimizer=None, normalize_y=True).fit(
            held[cells], accuracies
        )
        for reach, noise in product(REACHES, NOISES)
    ]
    likeliest = max(fits, key=lambda fit: float(fit.log_marginal_likelihood_value_))
    means, deviations = likeliest.predict(held, return_std=True)
    return means, deviations
