"""The last choice by a predictor: which cells of a pool are trained, in which order, and which is chosen."""

import json

import numpy as np
import pytest

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.search.selection import predicted_choice
from pipeline.search.selection.predicted_choice import JudgedPool, try_predicted
from search_space import Genotype, SearchSpace
from tests.support.cells.generators import generator
from tests.support.runs.selected import SELECTION, choice, searched
from tests.support.scripts import TINY

POOL = (
    *SELECTION,
    "search.selection.candidates=4",
    "search.selection.pool=6",
    "search.selection.proposals=predictor",
    "pareto.adapt_epochs=0",
    "pareto.attack.steps=1",
    "search.diagnostics.iterations=0",
)


def pool_of(truth, judge):
    space, draw = SearchSpace(), generator(4)
    genotypes = [space.random_genotype(draw) for _ in truth]
    return JudgedPool(genotypes, list(judge), [1000] * len(genotypes))


def tried_of(pool, truth, monkeypatch, count):
    """What is tried of a pool where a cell has the accuracy `truth` says, and the folders' places in their order."""
    places = []

    def accuracy(self, place, genotype, epochs):
        assert genotype == pool.genotypes[place]
        places.append(place)
        return float(truth[place])

    monkeypatch.setattr(predicted_choice.Trials, "accuracy", accuracy)
    experiment = compose_experiment([*TINY, "search.selection.pool=99", f"search.selection.candidates={count}"])
    return try_predicted(None, experiment, None, make_fabric(experiment.fabric), pool), places


def test_the_first_cells_are_the_judges_best_and_no_cell_is_tried_twice(monkeypatch):
    random = np.random.default_rng(0)
    truth, judge = random.uniform(size=(2, 20))
    tried, places = tried_of(pool_of(truth, judge), truth, monkeypatch, 8)
    assert places[:3] == np.argsort(-judge)[:3].tolist()
    assert len(set(places)) == len(tried) == 8
    expected = [candidate.expected for candidate in tried]
    assert expected == sorted(expected, reverse=True)


def test_a_pool_without_a_supernet_is_judged_by_its_sizes_alone_and_trained_whole_where_it_is_small(monkeypatch):
    genotypes = pool_of(np.zeros(4), np.zeros(4)).genotypes
    pool = JudgedPool(genotypes, None, [30, 10, 40, 20])
    assert pool.judgements.shape == (4, 1)
    tried, places = tried_of(pool, np.array([0.3, 0.1, 0.4, 0.2]), monkeypatch, 8)
    assert places == [2, 0, 3, 1]
    assert tried[0].genotype == genotypes[2]


def test_a_predictor_that_has_a_good_judge_finds_better_cells_than_one_that_has_none(monkeypatch):
    random = np.random.default_rng(1)
    found = {"good": [], "none": []}
    for _ in range(10):
        truth = random.uniform(size=60)
        for name, judge in (("good", truth + 0.15 * random.normal(size=60)), ("none", random.uniform(size=60))):
            tried, _ = tried_of(pool_of(truth, judge), truth, monkeypatch, 5)
            found[name].append((truth < tried[0].accuracies[0]).mean())
    assert np.mean(found["good"]) > 0.9 > np.mean(found["none"])


def test_a_search_ends_with_the_cell_that_is_expected_to_be_best(tmp_path):
    folder = searched(tmp_path / "run", POOL)
    tried = choice(folder)
    assert len(tried) == 4
    assert tried[0]["expected"] == max(cell["expected"] for cell in tried)
    assert Genotype.from_json((folder / "genotype.json").read_text()) == Genotype.from_json(
        json.dumps(tried[0]["genotype"])
    )


@pytest.mark.parametrize(
    "change", ["search.selection.pool=null", "search.selection.finalists=2", "search.selection.candidates=1"]
)
def test_a_predictor_without_a_pool_or_with_finalists_is_refused(call_script, change):
    status, _, err = call_script("search", *TINY, *POOL, change)
    assert status == 2
    assert "search.selection.proposals=predictor needs a search.selection.pool" in err
