"""Searchers of a table: laws of what they choose, pay and see."""

import numpy as np
import pytest

from pipeline.options.searchers import SEARCHERS
from pipeline.settings import StudySettings
from pipeline.studies.study.searchers.bench import Bench, Trainings
from pipeline.studies.study.searchers.sampling import random_search, rungs_of, successive_halving
from pipeline.studies.study.searchers.walks import climb
from pipeline.studies.study.table_settings import cells_left_out
from pipeline.studies.study.table_study import search_table
from pipeline.studies.tables.distinct_cells import distinct_cells
from pipeline.studies.tables.table import Table
from search_space import canonical_form
from tests.support.cells.tables import RECIPE, SPACE, header_by_hand, rows_by_hand, table_by_hand

CELLS = 40
TRAINING = sorted(name for name, option in SEARCHERS.items() if option.trains)
EXACT = ["evolution", "local_search", "predictor", "random_search"]  # spend whole trainings, all that they are given


def bench_of(seed=0, noise=0.0, **within):
    """A bench of random accuracies, the same on validation and test images but for noise."""
    generator = np.random.default_rng(seed)
    test = generator.permutation(CELLS)[:, None].repeat(2, axis=1) / CELLS
    seen = np.clip(test + noise * generator.normal(size=test.shape), 0, 1)
    return Bench(table_by_hand(test, seen, test[:, :1].repeat(9, axis=1)), within)


def chosen(bench, name, budget, seed, **settings):
    return search_table(bench, StudySettings(**settings), name, budget, seed)


def test_random_search_finds_the_order_statistic_of_the_best_of_its_draws():
    bench, drawn = bench_of(), 5
    ranks = [CELLS * bench.means[chosen(bench, "random_search", drawn, seed)[0]] + 1 for seed in range(600)]
    expected = drawn * (CELLS + 1) / (drawn + 1)  # of the largest of so many different ones of 1 to CELLS
    assert np.mean(ranks) == pytest.approx(expected, abs=4 * np.std(ranks) / np.sqrt(len(ranks)))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("budget", [1, 7, CELLS, 3 * CELLS])
def test_the_budget_is_spent_to_the_last_training_and_no_cell_is_paid_for_twice(name, budget):
    bench = bench_of(noise=0.2)
    _, cost = chosen(bench, name, budget, 3, population=4, sample=2)
    trained = min(budget, CELLS)
    assert cost.passes == pytest.approx(trained * bench.passes.whole)
    assert cost.seconds == pytest.approx(trained * 6.0 * bench.passes.whole / bench.passes.tabulated)


@pytest.mark.parametrize("budget", [1, 2, 5, 11, 30])
def test_halving_stays_within_its_budget_and_nearly_spends_it(budget):
    bench = bench_of()
    _, cost = chosen(bench, "successive_halving", budget, 0)
    assert cost.passes <= budget * bench.passes.whole + 1e-6
    trainings = Trainings(bench, budget, 0)
    successive_halving(trainings)
    assert trainings.spent == pytest.approx(cost.passes / bench.passes.whole)
    assert budget < 5 or trainings.spent > 0.6 * min(budget, 12)  # 12: of all cells


def test_halving_whose_curves_tell_the_truth_finds_the_best_of_all_that_it_began_with():
    bench = bench_of()
    trainings = Trainings(bench, 1000, seed=1)
    assert bench.means[successive_halving(trainings)] == bench.means.max()
    assert len(trainings.seen) == 4
    assert rungs_of(9) == [1, 3, 9]


@pytest.mark.parametrize("budget", [1, 5, 8])
def test_evolution_that_pays_for_its_first_population_alone_is_random_search(budget):
    bench = bench_of(noise=0.3)
    for seed in range(10):
        assert chosen(bench, "evolution", budget, seed, population=8) == chosen(bench, "random_search", budget, seed)
    assert any(
        chosen(bench, "evolution", 20, seed, population=8) != chosen(bench, "random_search", 20, seed)
        for seed in range(10)
    )


def test_children_are_the_nearest_cells_that_were_not_trained():
    bench = bench_of()
    trainings = Trainings(bench, 12, seed=0, population=10, sample=10)  # the parent is the best of all
    SEARCHERS["evolution"].load()(trainings)
    trained = list(trainings.seen)
    for count in (10, 11):
        alive = trained[count - 10 : count]
        parent = max(alive, key=lambda cell: trainings.seen[cell])
        left = [cell for cell in range(CELLS) if cell not in trained[:count]]
        assert bench.distances(parent)[trained[count]] == bench.distances(parent)[left].min()


def test_local_search_climbs_to_a_cell_that_no_neighbour_beats():
    bench = bench_of()
    ends = set()
    for seed in range(20):
        trainings = Trainings(bench, 1000, seed)
        end = climb(trainings, trainings.order[0])
        assert trainings.seen[end] >= max(trainings.train(cell) for cell in bench.neighbours(end).tolist())
        assert trainings.seen[end] >= trainings.seen[trainings.order[0]]
        ends.add(end)
    assert len(ends) > 1


@pytest.mark.parametrize("name", sorted({*TRAINING} - {"predictor"}))  # it takes what it does not expect for noise
def test_a_searcher_that_can_pay_for_all_cells_takes_the_best_where_nothing_is_noise(name):
    bench = bench_of()
    assert bench.means[chosen(bench, name, 10 * CELLS, 0)[0]] == bench.means.max()


@pytest.mark.parametrize("name", list(SEARCHERS))
def test_no_searcher_sees_test_images_or_more_than_one_training(name):
    generator = np.random.default_rng(0)
    seen, curves = generator.random((CELLS, 2)), generator.random((CELLS, 9))
    found = [chosen(Bench(table_by_hand(generator.random((CELLS, 2)), seen, curves), {}), name, 9, 5) for _ in range(2)]
    assert found[0] == found[1]
    trainings = Trainings(Bench(table_by_hand(seen, seen), {}), CELLS, 5)
    random_search(trainings)
    assert all(accuracy in np.round(seen[cell], 4) for cell, accuracy in trainings.seen.items())


def test_sizes_choose_without_training_inside_the_bounds():
    bench = bench_of(parameters=(None, 1020))
    assert len(bench) == 21
    for name, place in (("largest_parameters", 1020), ("largest_macs", 1000)):
        cell, cost = chosen(bench, name, 0, 0)
        assert bench.entries[cell].parameters == place
        assert cost.passes == 0
    with pytest.raises(ValueError, match=r"0 of the 40 cells .* study\.leave_out leaves are inside"):
        Bench(bench_of().table, {}, left_out=[canonical_form(entry.genotype) for entry in bench_of().entries])
    with pytest.raises(ValueError, match="1 of the 40 cells of the table are inside"):
        bench_of(parameters=(None, 1000))


def test_the_distance_of_two_cells_is_the_number_of_edges_in_which_they_differ():
    bench = bench_of()
    texts = [entry.genotype.to_nasbench201().replace("+", "").split("|") for entry in bench.entries]
    for cell in range(0, CELLS, 7):
        differing = [sum(a != b for a, b in zip(text, texts[cell], strict=True)) for text in texts]
        assert bench.distances(cell).tolist() == differing
        nearest = bench.neighbours(cell)
        assert cell not in nearest
        assert {differing[other] for other in nearest} == {sorted(differing)[1]}
    assert SPACE.nodes == 2


def test_a_percentile_counts_equal_cells_half_and_regret_may_be_negative():
    bench = Bench(table_by_hand([[0.2, 0.4], [0.5, 0.5], [0.3, 0.3]]), {})
    assert [bench.percentile(mean) for mean in (0.1, 0.3, 0.4, 0.6)] == pytest.approx([0, 100 / 3, 200 / 3, 100])
    assert bench.regret(0.3) == pytest.approx(0.2)
    assert bench.regret(0.6) == pytest.approx(-0.1)


def test_a_predictor_finds_better_cells_than_random_search_where_edges_tell_of_accuracy():
    worth = np.random.default_rng(5).normal(size=bench_of().held.shape[1])
    worths = bench_of().held @ worth
    means = (worths - worths.min()) / np.ptp(worths)
    bench = Bench(table_by_hand(means[:, None].repeat(2, axis=1)), {})
    found = {
        name: [bench.percentile(bench.means[chosen(bench, name, 12, seed)[0]]) for seed in range(10)]
        for name in ("predictor", "random_search")
    }
    assert np.mean(found["predictor"]) > np.mean(found["random_search"]) + 2


def test_cells_that_are_left_out_are_those_that_tabulate_trained_first():
    space = {"family": SPACE.family, "nodes": SPACE.nodes, "operations": SPACE.operations}
    header = header_by_hand({"seed": 0, "retrain": RECIPE, "space": space})
    table = Table.of_rows(header, list(rows_by_hand(np.linspace(0, 1, CELLS)[:, None])))
    settings = StudySettings(table="by_hand", leave_out=25)
    rest = Bench(table, {}, cells_left_out(table, settings))
    forms = {canonical_form(entry.genotype) for entry in rest.entries}
    assert forms == {canonical_form(cell) for cell in distinct_cells(SPACE, len(table), seed=0)[25:]}
    assert rest.means.tolist() == [table.mean(entry.genotype) for entry in rest.entries]
