"""What a Gaussian process expects of cells: against scikit-learn's and a density of scipy's, and what it chooses."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from pipeline.search.selection.accuracy_model import (
    NOISES,
    REACHES,
    TRUSTS,
    AccuracyModel,
    best_expected,
    edges_held,
    most_promising,
    standard_ranks,
)
from search_space import SearchSpace
from tests.support.cells.generators import generator

SPACE = SearchSpace(nodes=3, operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"), family="nasbench201")


def cells(count):
    draw = generator(3)
    _, held = edges_held([SPACE.random_genotype(draw) for _ in range(count)])
    return held


def accuracies_of(held, seen, seed=0):
    random = np.random.default_rng(seed)
    worths = held @ random.normal(size=held.shape[1])
    return dict.fromkeys(seen) | {cell: float(worths[cell] + 0.3 * random.normal()) for cell in seen}


def test_expectations_without_judges_are_those_of_scikit_learn():
    held = cells(30)
    seen = accuracies_of(held, [4, 9, 17, 2, 25, 28])
    fits = [
        # squared distances of rows count each differing edge twice
        GaussianProcessRegressor(RBF(np.sqrt(reach)), alpha=noise, optimizer=None, normalize_y=True).fit(
            held[list(seen)], list(seen.values())
        )
        for reach, noise in product(REACHES, NOISES)
    ]
    likeliest = max(fits, key=lambda fit: fit.log_marginal_likelihood_value_)
    expected, expected_deviations = likeliest.predict(held, return_std=True)
    means, deviations = AccuracyModel(held).predict(seen)
    np.testing.assert_allclose(means, expected)
    np.testing.assert_allclose(deviations, expected_deviations, rtol=1e-6)


def test_the_likeliest_trust_in_judges_is_that_of_the_normal_density():
    held, random = cells(30), np.random.default_rng(1)
    judgements = np.stack([standard_ranks(random.normal(size=30)) for _ in range(2)], axis=1)
    chosen = [0, 3, 5, 8, 13, 21, 29]
    seen = {cell: float(0.5 + 0.1 * judgements[cell, 0] + 0.02 * random.normal()) for cell in chosen}
    values = np.array(list(seen.values()))
    scaled = (values - values.mean()) / values.std()
    differing = (held[:, None] != held[None]).sum(axis=-1) / 2
    found = []
    for reach, trust, noise in product(REACHES, TRUSTS, NOISES):
        covariance = np.exp(-differing / reach) + trust * judgements @ judgements.T
        of_seen = covariance[np.ix_(chosen, chosen)] + noise * np.eye(len(chosen))
        likelihood = multivariate_normal(np.zeros(len(chosen)), of_seen).logpdf(scaled)
        found.append((likelihood, trust, np.linalg.solve(of_seen, covariance[chosen]).T @ scaled))
    _, trust, mean = max(found, key=lambda one: one[0])
    assert trust > 0
    means, _ = AccuracyModel(held, judgements).predict(seen)
    np.testing.assert_allclose(means, values.mean() + values.std() * mean)


def test_judges_that_are_right_are_followed_and_judges_that_are_wrong_are_not():
    held, random = cells(60), np.random.default_rng(2)
    truth = standard_ranks(random.normal(size=60))
    seen = {cell: float(truth[cell]) for cell in range(12)}
    left = range(12, 60)
    for judge, least in ((truth, 0.9), (-truth, 0.9), (standard_ranks(random.normal(size=60)), -0.5)):
        means, _ = AccuracyModel(held, judge[:, None]).predict(seen)
        assert np.corrcoef(means[left], truth[left])[0, 1] > least


def test_equal_accuracies_are_expected_of_all_cells():
    means, deviations = AccuracyModel(cells(5)).predict({0: 0.5, 1: 0.5})
    assert means == pytest.approx(0.5)
    assert np.isfinite(deviations).all()


def test_what_is_proposed_was_not_seen_and_has_the_highest_bound():
    held = cells(20)
    seen = accuracies_of(held, [1, 2, 3, 4, 5])
    model = AccuracyModel(held)
    means, deviations = model.predict(seen)
    bounds = means + deviations
    bounds[list(seen)] = -np.inf
    assert bounds[most_promising(model, seen, range(20))] == bounds.max()
    assert best_expected(model, seen) == max(seen, key=lambda cell: means[cell])
