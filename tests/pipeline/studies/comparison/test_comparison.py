"""The comparison: random cells are of the searched cells' size, its arithmetic is scipy's, and it resumes."""

import json
import re

import numpy as np
import pytest
import torch
from scipy import stats

from e2rnas.cli.app import Refused, compose_experiment
from pipeline.runs.metrics import read_metrics
from pipeline.search.objectives import bounds_of
from pipeline.search.selection.continued_search import fix_cell
from pipeline.studies.comparison.comparison import (
    Contender,
    cost_table,
    retrainings,
)
from pipeline.studies.comparison.comparison_report import OUTDATED, READING, strongest_attack, text, write
from pipeline.studies.comparison.comparison_statistics import (
    BROUGHT,
    CellResult,
)
from pipeline.studies.comparison.searches_without_supernet import (
    keeps_bounds,
    random_cells,
    searches_without_supernet,
)
from pipeline.studies.work import in_processes
from search_space import PUBLISHED, Genotype, Network, SearchSpace, Supernet, network_cost
from tests.support.cells.compared import cell
from tests.support.scripts import IN_ANY_SPACE, operations_of

SMALL = (
    "experiment=comparison",
    "seed=0",
    *(override for override in IN_ANY_SPACE if not override.startswith("objectives")),
    "space.nodes=4",  # as DARTS_V2 has
    operations_of("DARTS_V2"),
    "objectives.names=[accuracy,robustness,parameters]",
    "objectives.parameters=[2500,4000]",
    "objectives.macs=[null,null]",
    "attack.step=0.05",
    "retrain.attack.steps=1",
    "search.epochs=1",
    "search.warm_up=0",
    "search.selection.candidates=2",
    "search.selection.pool=3",
    "search.selection.finalists=1",
    "search.selection.epochs=1",
    "search.diagnostics.iterations=0",
    "retrain.epochs=1",
    "retrain.select_every=1",
    "comparison.random_seeds=1",
    "evaluate.attacks=[fgsm]",
    "comparison.searches=1",
    "comparison.random=2",
    "comparison.published=[DARTS_V2]",
    "comparison.seeds=1",
    "pareto.adapt_epochs=1",
    "pareto.held_back=0.5",
    "comparison.processes=1",
)


def evaluated(experiment, **settings):
    """The experiment with other settings of evaluation; PGD-20 unless named."""
    evaluate = experiment.evaluate.model_copy(update={"attacks": ("pgd-20",), **settings})
    return experiment.model_copy(update={"evaluate": evaluate})


@pytest.fixture(scope="module")
def experiment():
    return compose_experiment(SMALL)


@pytest.fixture(scope="module")
def table(experiment):
    return cost_table(experiment)


def test_random_cells_keep_the_bounds_and_are_those_of_their_seed(experiment, table):
    cells = random_cells(experiment, table, 4)
    assert len(set(cells)) == len(cells) == 4
    for genotype in cells:
        cost = network_cost(genotype, channels=4, layers=3, num_classes=10, image_size=8, in_channels=1)
        assert 2500 <= cost.parameters <= 4000
    assert random_cells(experiment, table, 4) == cells
    assert not set(cells) & set(random_cells(experiment.model_copy(update={"seed": 1}), table, 4))
    assert not set(cells) & set(random_cells(experiment, table, 4, "something else"))


def test_random_cells_are_uniform_over_what_is_inside(experiment, table):
    """Rejection keeps the odds between cells: those inside hold operations as often as unbounded draws that pass."""
    bounds = bounds_of(experiment.objectives).values()
    generator = torch.Generator().manual_seed(5)
    inside = [g for g in (table.space.random_genotype(generator) for _ in range(100)) if keeps_bounds(g, bounds, table)]
    drawn = random_cells(experiment, table, 20)
    names = [name for name in table.space.operations if name != "none"]

    def counts(genotypes):
        held = [edge.operation for genotype in genotypes for edge in genotype.normal.edges]
        return [held.count(name) for name in names]

    assert stats.chi2_contingency([counts(inside), counts(drawn)]).pvalue > 1e-3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("retrain.parameters=3000", "leave it null"),
        ("retrain.channels=6", "needs them the same"),
        ("objectives.parameters=[null,4000]", "need both bounds"),
        ("objectives.parameters=[3000,3000.5]", "no cell of this space"),
    ],
)
def test_a_comparison_that_would_not_be_fair_is_refused(override, message):
    with pytest.raises(ValueError, match=message):
        cost_table(compose_experiment([*SMALL, override]))


@pytest.mark.parametrize("names", ["[DARTS_V2,DARTS_V2]", "[MINE]"])
def test_published_cells_are_known_and_named_once(names):
    with pytest.raises(Refused, match="each once: "):
        compose_experiment([*SMALL, f"comparison.published={names}"])


def test_every_cell_is_retrained_by_one_recipe_but_for_the_channels_of_published_ones(experiment, tmp_path):
    genotype = PUBLISHED["DARTS_V2"].genotype
    contenders = [Contender(kind, kind, genotype) for kind in ("searched", "random", "published")]
    seeds = experiment.comparison.model_copy(update={"seeds": 3, "random_seeds": 2})
    works = list(retrainings(tmp_path, experiment.model_copy(update={"comparison": seeds}), contenders, 3000))
    assert [work.experiment.seed for work in works] == [0, 1, 2, 0, 1, 0, 1, 2]
    recipes = {work.contender.kind: work.experiment.retrain.model_dump() for work in works}
    assert recipes["searched"] == recipes["random"] == experiment.retrain.model_dump()
    assert recipes["published"] == experiment.retrain.model_dump() | {"parameters": 3000}
    assert len({work.folder for work in works}) == len(works)


def test_searched_cells_stand_also_beside_random_searches(experiment):
    cells = [cell("searched", x) for x in (0.6, 0.8)] + [cell("random", x) for x in (0.4, 0.2)]
    assert "random search" not in text(evaluated(experiment), cells)
    said = text(evaluated(experiment), [*cells, cell("random search", 0.5), cell("random search", 0.7)])
    assert "- 1 search; 2 random searches, which choose in the same way between 2 random cells; 2 random cells," in said
    assert "**Searched minus random search: +10.0 ± 14.1 points (Welch's t test: p 0.55).**" in said


def test_predictors_stand_between_searched_cells_and_random_searches(experiment):
    kinds = {"searched": 0.6, "predictor": 0.5, "random search": 0.4, "random": 0.3}
    cells = [cell(kind, mean + off) for kind, mean in kinds.items() for off in (-0.01, 0.01)]
    said = text(evaluated(experiment), cells)
    assert "2 predictors, which train 2 of 3 random cells each; " in said
    assert "**Searched minus predictor: +10.0 ± 1.4 points" in said
    rows = [line.split(" ")[1] for line in said.splitlines() if line.startswith("| ")]
    assert rows.index("predictor-0.49") < rows.index("random")


def test_a_predictor_trains_cells_of_random_ones_inside_the_bounds_and_takes_one_of_them(tmp_path):
    predicted = ["search.selection.proposals=predictor", "search.selection.pool=4", "search.selection.candidates=2"]
    experiment = compose_experiment([*SMALL, *predicted, "search.selection.finalists=1", "comparison.processes=1"])
    table = cost_table(experiment)
    found = searches_without_supernet(tmp_path, experiment, table)
    assert list(found) == ["random search", "predictor"]
    (chosen,) = found["predictor"]
    assert keeps_bounds(chosen, bounds_of(experiment.objectives).values(), table)
    folders = sorted((tmp_path / "predictors" / "seed0").iterdir())
    assert len(folders) == 2
    trained = [json.loads((folder / "network.json").read_text())["genotype"] for folder in folders]
    assert json.loads(chosen.to_json()) in trained
    assert searches_without_supernet(tmp_path, experiment, table) == found


def test_the_sizes_name_the_norm_and_the_images_that_are_attacked(experiment):
    cells = [cell(kind, accuracy) for kind in ("searched", "random") for accuracy in (0.5, 0.6)]
    in_l2 = evaluated(experiment, norm="L2", eps=0.5, images=50)
    assert "50 for testing; L2, eps 0.5." in text(in_l2, cells)
    limited = experiment.data.model_copy(update={"test_limit": 90})
    in_linf = evaluated(experiment.model_copy(update={"data": limited}), norm="Linf", eps=8 / 255, images=None)
    assert "90 for testing; Linf, eps 8/255." in text(in_linf, cells)


def test_cw_is_the_strongest_attack_only_where_its_radius_is_that_of_the_others(experiment):
    accuracies = {"clean": (0.9,), "pgd-20": (0.5,), "cw": (0.4,)}
    cells = [CellResult(kind, kind, 100, 1000, accuracies) for kind in ("searched", "random")]
    both = {"attacks": ("pgd-20", "cw")}
    assert strongest_attack(evaluated(experiment, norm="L2", **both), cells) == "cw"
    assert strongest_attack(evaluated(experiment, norm="Linf", **both), cells) == "pgd-20"


def test_what_was_written_under_a_comparison_is_kept_and_marked_once_its_figures_change(experiment, tmp_path):
    pgd = evaluated(experiment)
    cells = [cell(kind, accuracy) for kind in ("searched", "random") for accuracy in (0.5, 0.6)]

    def written(standings):
        return write(tmp_path, pgd, standings, "command", 1.0).read_text(encoding="utf-8")

    first = written(cells)
    assert READING not in first
    reading = f"\n{READING}\n\n- The searches win.\n\n- By luck.\n"
    (tmp_path / "comparison_digits.md").write_text(first + reading, encoding="utf-8")
    assert written(cells) == first + reading
    others = [*cells[:-1], cell("random", 0.7)]
    marked = written(others)
    assert marked.endswith(reading.replace(READING, f"{READING}\n\n{OUTDATED}"))
    assert "random-0.7" in marked
    assert written(others) == marked
    assert written(cells).count(OUTDATED) == 1


def test_a_supernet_set_to_a_cell_computes_nothing_else():
    torch.manual_seed(0)
    space = SearchSpace()
    supernet = Supernet(space, channels=4, layers=3, in_channels=1)
    genotype = space.random_genotype(torch.Generator().manual_seed(3))
    one_hot = space.one_hot(genotype)
    images = torch.rand(6, 1, 8, 8)
    before = supernet(images)
    fix_cell(supernet, one_hot)
    logits = supernet(images)
    assert (logits - before).abs().max() > 1e-3
    used = torch.autograd.grad(logits.square().sum(), supernet.weights(), materialize_grads=True)
    names = [name for name, parameter in supernet.named_parameters() if parameter is not supernet.alphas]
    silent = sum(not gradient.any() for gradient in used)
    network = Network(genotype, channels=4, layers=3, in_channels=1)
    assert 0 < silent < len(names)
    assert len(names) - silent <= len(list(network.parameters()))


def test_results_come_in_the_order_of_the_works():
    works = [lambda value=value: value for value in range(4)]
    assert in_processes("test", works, 1) == [0, 1, 2, 3]


def assert_is_the_best_of_its_candidates(cell, folder):
    """Whether a cell of a random search is the one that learned best, by the metrics of the candidates' trainings."""
    best = {}
    for candidate in sorted(folder.iterdir()):
        learned = [row["training_accuracy"] for row in read_metrics(candidate, "retrain")]
        best[candidate] = np.mean(learned[len(learned) // 2 :])
    assert len(best) == 2
    trained = json.loads((max(best, key=best.get) / "network.json").read_text())
    assert trained["genotype"] == cell["genotype"]


def lines_without_progress(out):
    """What a script prints but for the lines of its progress, which begin with the time of day."""
    return [line for line in out.splitlines() if not re.match(r"\d\d:\d\d:\d\d ", line)]


@pytest.mark.usefixtures("drawn")
def test_a_comparison_writes_table_pictures_and_figures_and_resumes(tmp_path, call_script):
    command = (*SMALL, f"run={tmp_path / 'run'}", f"comparison.results={tmp_path / 'results'}")
    status, out, err = call_script("compare", *command)
    assert status == 0, err
    table = (tmp_path / "results" / "comparison_digits.md").read_text()
    for name in ("searched-0", "random-search-0", "random-0", "random-1", "DARTS_V2", "ResNet-8", "random: mean of 2"):
        assert f"{name} " in table or f"{name}** " in table
    figures = json.loads((tmp_path / "results" / "comparison_digits.json").read_text())
    cells = {row["name"]: row for row in figures["cells"]}
    assert len(cells["random-0"]["judgements"]) == 1
    searched, chosen, *random = (
        cells[name]["accuracies"]["fgsm"][0] for name in ("searched-0", "random-search-0", "random-0", "random-1")
    )
    over_random, over_search = searched - np.mean(random), searched - chosen
    unknown = {"error": None, "p": None}
    assert figures["searched_minus_random"] == {"value": pytest.approx(over_random)} | unknown
    assert figures["searched_minus_random_search"] == {"value": pytest.approx(over_search)} | unknown
    assert f"**Searched minus random search: {100 * over_search:+.1f} points.**" in table
    edges = {name: len(Genotype.from_json(json.dumps(row["genotype"])).normal.edges) for name, row in cells.items()}
    assert set(edges.values()) == {8, 3}
    assert edges["ResNet-8"] == 3
    assert_is_the_best_of_its_candidates(cells["random-search-0"], tmp_path / "run" / "random_searches" / "seed0")
    assert all(2500 <= row["parameters"] <= 4000 for row in figures["cells"] if row["kind"] not in BROUGHT)
    for name in ("comparison_digits", "comparison_digits_judgement"):
        assert (tmp_path / "results" / f"{name}.png").read_bytes().startswith(b"\x89PNG")

    written = tmp_path / "run" / "cells" / "random-0" / "seed0" / "network.safetensors"
    before = written.stat().st_mtime_ns
    assert lines_without_progress(call_script("compare", *command)[1]) == lines_without_progress(out)
    assert written.stat().st_mtime_ns == before
    status, _, err = call_script("compare", *command, "retrain.epochs=2")
    assert status == 2
    assert "holds a run with other settings" in err
