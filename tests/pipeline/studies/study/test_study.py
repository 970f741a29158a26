"""The study as a stage: what it writes, what it refuses, and that its judges and tests mean what they say."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

from e2rnas.cli.app import compose_experiment
from pipeline.data import load
from pipeline.errors import RunError
from pipeline.options.judges import JUDGES
from pipeline.options.searchers import SEARCHERS
from pipeline.settings import StudySettings
from pipeline.studies.study.searchers.bench import Bench
from pipeline.studies.study.searchers.costs import Cost
from pipeline.studies.study.statistics import paired_p, rank_correlation
from pipeline.studies.study.study_file import read_study
from pipeline.studies.study.table_study import equal_cost_tests, outcome, table_judgements, table_outcomes
from pipeline.studies.tables.table import load_table, write_table
from pipeline.studies.tables.tabulate import header_of
from search_space import Genotype, Network
from tests.support.cells.tables import TABULATED, header_by_hand, rows_by_hand, table_by_hand
from tests.support.figures import drawing
from tests.support.scripts import finish_script

TINY = (
    *TABULATED,
    "study.supernets=[]",
    "study.seeds=3",
    "study.budgets=[1,4]",
    "study.judged=4",
    "study.processes=1",
    "fabric.threads=1",
)
CELL = Genotype.from_nasbench201("|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|none~1|skip_connect~2|")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table by hand, of the settings above."""
    folder = tmp_path_factory.mktemp("table")
    experiment = compose_experiment(TABULATED)
    rows = list(rows_by_hand(np.random.default_rng(0).random((12, 3))))
    made = header_of(experiment, load(experiment.data), Genotype.from_json(json.dumps(rows[0].genotype)))
    write_table(folder / "table.parquet", header_by_hand(made.settings), rows)
    return folder


@pytest.fixture(scope="module")
def studied(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    with drawing():
        finish_script("study", *TINY, f"study.table={table}", f"run={folder}", f"study.results={folder / 'results'}")
    return folder


def test_the_stage_writes_what_searchers_chose_and_judges_said(studied, table):
    study = read_study(studied)
    assert {each.searcher for each in study.outcomes} == set(SEARCHERS)
    assert {each.judge for each in study.judgements} == set(JUDGES)
    assert {len(each.percentile) for each in study.outcomes} == {study.seeds} == {3}
    means = np.round(load_table(table).means, 6)
    for each in study.outcomes:
        assert set(each.accuracy) <= set(means)
        assert each.regret == pytest.approx([study.table.best - accuracy for accuracy in each.accuracy], abs=1e-5)
    assert {each.cells for each in study.judgements} == {12, 4}
    assert [test.searcher for test in study.tests if test.rival != "random_search"] == []


def test_the_page_and_the_results_hold_every_searcher_and_judge(studied):
    page = (studied / "report.html").read_text(encoding="utf-8")
    results = (studied / "results" / "study_digits.md").read_text(encoding="utf-8")
    for option in (*SEARCHERS.values(), *JUDGES.values()):
        assert option.label in page
        assert option.label in results
    names = {path.stem for path in (studied / "figures").glob("*.png")}
    assert names == {"study-percentile", "study-regret", "study-judges"}
    assert {path.stem for path in (studied / "results").glob("*.png")} == {
        f"study_digits-{name}" for name in ("percentile", "regret", "judges")
    }
    assert "python scripts/study.py experiment=study_nasbench201" in results
    assert str(studied) not in results


@pytest.mark.usefixtures("drawn")
def test_the_report_writes_the_page_again(studied, call_script):
    before = (studied / "report.html").read_text(encoding="utf-8")
    assert call_script("report", f"run={studied}")[0] == 0
    assert (studied / "report.html").read_text(encoding="utf-8") == before
    damaged = json.loads((studied / "study.json").read_text())
    damaged["seeds"] = -1
    (studied / "study.json").write_text(json.dumps(damaged))
    with pytest.raises(RunError, match=r"study.json is not what study.py writes: seeds"):
        read_study(studied)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("study.table=nothing", "no table 'nothing'"),
        ("retrain.epochs=3", "was made with other settings (retrain.epochs was 9, is 3)"),
        ("study.seeds=1", "study.seeds: Input should be greater than or equal to 2"),
        ("study.searchers=[climbing]", "expected one of random_cell"),
        ("study.judges=[macs,macs]", "study.judges: expected each once"),
        ("study.sample=11", "study.sample=11 is more than study.population=10"),
        ("study.rival=random_cell", "study.rival: expected one of random_search"),
        ("+study.searches.random_search=[]", "expected names of at most 40 letters"),
        ("objectives.names=[accuracy,parameters]", "0 of the 12 cells of the table are inside"),
    ],
)
def test_what_cannot_be_studied_is_refused_in_one_line(override, message, table, tmp_path, call_script):
    extra = ("objectives.parameters=[1,2]",) if "objectives" in override else ()
    given = [f"study.table={table}", f"run={tmp_path / 'new'}", f"study.results={tmp_path / 'new'}", override, *extra]
    status, out, err = call_script("study", *TINY, *given)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_searcher_meets_a_rival_of_its_own_seed_and_cost():
    generator = np.random.default_rng(0)
    bench = Bench(table_by_hand(generator.random((30, 2))), {})
    settings = StudySettings(searchers=("random_search", "local_search", "random_cell"), budgets=(5,))
    outcomes = list(table_outcomes(bench, settings, range(6)))
    tests = {test.searcher: test for test in equal_cost_tests(bench, settings, range(6), outcomes)}
    assert set(tests) == {"local_search", "random_cell"}
    random_search, local_search, _ = outcomes
    difference = np.subtract(local_search.accuracy, random_search.accuracy)
    assert tests["local_search"].difference == pytest.approx(difference.mean())
    assert tests["local_search"].p == pytest.approx(paired_p(local_search.accuracy, random_search.accuracy))
    assert (tests["random_cell"].difference, tests["random_cell"].p) == (0, 1)  # a rival of one training


def test_judges_are_asked_of_the_cells_inside_the_bounds():
    bench = Bench(table_by_hand(np.random.default_rng(0).random((30, 2))), {"parameters": (1010, None)})
    (found,) = table_judgements(bench, StudySettings(judges=("parameters",)))
    assert found.cells == len(bench) == 20
    assert found.tau == pytest.approx(stats.kendalltau(range(20), bench.means).statistic)


def test_what_is_equal_may_be_passes_or_seconds():
    bench = Bench(table_by_hand(np.random.default_rng(0).random((30, 2))), {})
    slow = [bench.mean_training * 3 + Cost(seconds=4 * bench.mean_training.seconds)] * 6
    for equal, trainings in (("passes", 3), ("seconds", 7)):
        settings = StudySettings(searchers=("random_search",), budgets=(trainings,), equal=equal)
        (rival,) = table_outcomes(bench, settings, range(6))
        found = outcome(bench, "slow", "slow", rival.accuracy, slow, uses_supernet=True)
        (test,) = equal_cost_tests(bench, settings, range(6), [found])
        assert (test.difference, test.p) == (0, 1)


def test_rank_correlation_is_one_of_the_same_order_and_none_of_a_constant():
    means = np.arange(10.0)
    assert rank_correlation(means[:, None] ** 3, means) == pytest.approx((1, 1, 1))
    assert rank_correlation(-means[:, None], means)[0] == pytest.approx(-1)
    assert rank_correlation(np.stack([means, -means, -means], axis=1), means)[0] == pytest.approx(-1 / 3)
    assert rank_correlation(np.ones((10, 1)), means) == (0, 0, 0)


def proxy(name, network, images):
    return JUDGES[name].load()(network, images, torch.arange(len(images)) % 10)


@pytest.mark.parametrize("name", [name for name, option in JUDGES.items() if option.reads == "network"])
def test_a_proxy_leaves_the_weights_alone_and_tells_networks_apart(name):
    images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    networks = [Network(CELL, channels=channels, layers=3, in_channels=1) for channels in (4, 8)]
    before = [weight.clone() for weight in networks[0].parameters()]
    scores = [proxy(name, network, images) for network in networks]
    assert all(torch.equal(*pair) for pair in zip(before, networks[0].parameters(), strict=True))
    assert scores[0] != scores[1]
    assert np.isfinite(scores).all()


def test_synflow_is_what_a_chain_of_absolute_weights_lets_through():
    network = Network(CELL, channels=4, layers=3, in_channels=1)
    images = torch.rand(2, 1, 8, 8)
    once = proxy("synflow", network, images)
    with torch.no_grad():
        network.classifier[-1].linear.weight.mul_(-3)  # every way passes it once, signs do not count
        network.classifier[-1].linear.bias.zero_()
    assert proxy("synflow", network, images) > once
