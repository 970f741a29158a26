"""The last choice of a search, between its likeliest cells; and the warm-up, in which the alphas wait."""

import json
import shutil
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import stream_seed
from pipeline.data import load
from pipeline.networks.network_files import load_network
from pipeline.runs.metrics import read_metrics
from pipeline.search.objectives import Bound
from pipeline.search.selection.candidate_selection import MEASURES, draw_candidates, try_cells
from pipeline.search.selection.continued_search import Walk
from pipeline.search.selection.supernet_ranking import supernet_accuracies
from pipeline.training.network_trainer import Retraining
from search_space import PUBLISHED, CostTable, Genotype, NetworkShape, SearchSpace
from search_space.supernet.relaxation import DARTS
from tests.support.scripts import TINY, finish_script

pytestmark = pytest.mark.usefixtures("undrawn")

SHAPE = NetworkShape(channels=4, layers=3, num_classes=10, image_size=8, in_channels=1)
SELECTION = ("search.selection.candidates=3", "search.selection.epochs=1", "search.epochs=1")
HALVED = (*SELECTION, "search.selection.finalists=2")
POOL = (*SELECTION, "search.selection.pool=6", "pareto.adapt_epochs=1", "attack.eps=0.02")


def draw(count, alphas, *, space=None, bounds=None, seed=0):
    return draw_candidates(
        count,
        alphas,
        table=CostTable(space or SearchSpace(), SHAPE),
        bounds=bounds or {},
        relaxation=DARTS,
        generator=torch.Generator().manual_seed(seed),
    )


def random_alphas(space=None, scale=1.0):
    return scale * torch.randn((space or SearchSpace()).alpha_shape, generator=torch.Generator().manual_seed(1))


def test_candidates_differ_begin_with_the_alphas_own_and_are_those_of_their_seed():
    alphas = random_alphas()
    found = draw(12, alphas)
    assert found[0] == SearchSpace().derive(alphas)
    assert len(set(found)) == len(found) == 12
    assert draw(12, alphas) == found
    assert draw(12, alphas, seed=1)[1:] != found[1:]


def test_candidates_keep_the_bounds_where_the_likeliest_cells_do_not():
    table = CostTable(SearchSpace(), SHAPE)
    low, high = table.reachable("parameters")
    alphas = random_alphas()
    free = [table.exact(genotype)[0].item() for genotype in draw(12, alphas)]
    lower = low + 0.7 * (high - low)
    assert min(free) < lower
    bound = {"parameters": Bound("parameters", lower, None)}
    found = draw(12, alphas, bounds=bound)
    assert len(found) == 12
    assert all(table.exact(genotype)[0].item() >= lower for genotype in found)


def test_operations_are_drawn_with_their_probabilities():
    space = SearchSpace(nodes=3, operations=("skip_connect", "nor_conv_1x1", "nor_conv_3x3"), family="nasbench201")
    alphas = torch.tensor([1.0, 0.0, -1.0]).expand(space.alpha_shape).clone()
    found = draw(200, alphas, space=space)  # of 729: without replacement, so likely cells are a little too rare
    assert len(found) == 200
    drawn = Counter(edge.operation for genotype in found for edge in genotype.normal.edges)
    shares = [drawn[name] / drawn.total() for name in space.operations]
    expected = torch.softmax(alphas[0, 0], dim=-1).tolist()
    assert shares[0] > 0.4 > shares[1] > 0.2 > shares[2]
    assert stats.pearsonr(shares, expected).statistic > 0.95


def test_alphas_that_have_decided_give_one_cell():
    alphas = random_alphas()
    alphas[..., 1:] = 1e3 * alphas[..., 1:]
    assert draw(8, alphas) == [SearchSpace().derive(alphas)]


def searched(folder, overrides):
    """The run folder, after a tiny search."""
    finish_script("search", *TINY, *overrides, f"run={folder}")
    return folder


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    """A run folder after a search that ends with a choice between three."""
    return searched(tmp_path_factory.mktemp("selected") / "run", SELECTION)


def test_a_search_ends_with_the_candidate_that_trains_best(selected):
    result = json.loads((selected / "search.json").read_text())
    accuracies = [tried["accuracies"] for tried in result["selection"]]
    trained = {
        json.dumps(load_network(folder).description.genotype): load_network(folder).description.training
        for folder in (selected / "selection").iterdir()
    }
    assert len(accuracies) == len(trained) == 3
    assert accuracies == sorted(accuracies, reverse=True)
    for tried in result["selection"]:
        training = trained[json.dumps(tried["genotype"])]
        assert [training["held_back_accuracy"]] == tried["accuracies"]
        assert training["settings"]["retrain"]["held_back"] == 0.3
    genotype = Genotype.from_json((selected / "genotype.json").read_text())
    assert genotype == Genotype.from_json(json.dumps(result["selection"][0]["genotype"]))
    table = CostTable(compose_experiment(TINY).space.build(), SHAPE)
    assert result["derived_cost"]["parameters"] == table.exact(genotype)[0].item()
    assert all(bound["violation"] == 0 for bound in result["bounds"].values())


@pytest.mark.parametrize("seed", [1, 2])
def test_a_search_ends_inside_bounds_that_one_size_alone_keeps(tmp_path, call_script, seed):
    space = compose_experiment(TINY).space.build()
    table = CostTable(space, SHAPE)
    size = int(table.exact(space.random_genotype(torch.Generator().manual_seed(seed)))[0])
    bounds = ("objectives.macs=[null,1e6]", f"objectives.parameters=[{size},{size}]")
    status, out, err = call_script("search", *TINY, *SELECTION, *bounds, f"run={tmp_path / 'run'}")
    assert status == 0, err
    assert f"parameters: {size:,} is inside" in out
    genotype = Genotype.from_json((tmp_path / "run" / "genotype.json").read_text())
    assert table.exact(genotype)[0] == size


def test_a_choice_that_was_interrupted_goes_on_and_ends_the_same(selected, tmp_path, call_script, monkeypatch):
    from pipeline.search.selection import candidate_selection

    retrain, calls = candidate_selection.retrain, []

    def dying(*arguments, **named):
        calls.append(named["name"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return retrain(*arguments, **named)

    broken = tmp_path / "run"
    command = (*TINY, *SELECTION, f"run={broken}")
    monkeypatch.setattr(candidate_selection, "retrain", dying)
    with pytest.raises(KeyboardInterrupt):
        call_script("search", *command)
    finished = broken / "selection" / "000" / "network.safetensors"
    before = finished.stat().st_mtime_ns
    assert not (broken / "genotype.json").exists()
    assert call_script("search", *command)[0] == 0
    assert finished.stat().st_mtime_ns == before
    assert (broken / "genotype.json").read_bytes() == (selected / "genotype.json").read_bytes()


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """A run folder after a search that ends with a choice between three, two of which train on."""
    return searched(tmp_path_factory.mktemp("halved") / "run", HALVED)


def choice(folder):
    return json.loads((folder / "search.json").read_text())["selection"]


def test_the_best_after_the_first_round_are_finalists_and_the_best_of_them_is_taken(halved):
    tried = choice(halved)
    assert [len(cell["accuracies"]) for cell in tried] == [2, 2, 1]
    first = [cell["accuracies"][0] for cell in tried]
    assert min(first[:2]) >= first[2]
    assert tried[0]["accuracies"][1] >= tried[1]["accuracies"][1]
    assert json.loads((halved / "genotype.json").read_text()) == tried[0]["genotype"]


def test_a_finalist_is_the_network_of_a_retraining_that_no_round_interrupted(halved, tmp_path, call_script):
    best = choice(halved)[0]
    finalists = [path.parent for path in (halved / "selection").glob("*/network.json")]
    assert len(finalists) == 2
    winner = next(folder for folder in finalists if load_network(folder).description.genotype == best["genotype"])
    assert load_network(winner).description.training["held_back_accuracy"] == max(best["accuracies"])
    whole = tmp_path / "whole"
    recipe = (f"seed={stream_seed(0, 'selection')}", "retrain.held_back=0.3", f"genotype={halved / 'genotype.json'}")
    status, _, err = call_script("retrain", *TINY, *recipe, f"run={whole}")
    assert status == 0, err
    found, expected = (load_file(folder / "network.safetensors") for folder in (winner, whole))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_choice_that_lost_its_end_comes_to_the_same_without_training_again(halved, tmp_path, call_script):
    folder = tmp_path / "run"
    shutil.copytree(halved, folder)
    (folder / "search.json").unlink()
    checkpoints = {path: path.stat().st_mtime_ns for path in folder.glob("selection/*/checkpoint/*")}
    assert len(checkpoints) == 5  # two of each finalist
    assert call_script("search", *TINY, *HALVED, f"run={folder}")[0] == 0
    assert choice(folder) == choice(halved)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("selection/*/checkpoint/*")} == checkpoints


def test_finalists_that_were_interrupted_go_on_and_end_the_same(halved, tmp_path, call_script, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(halved, folder, ignore=shutil.ignore_patterns("search.json", "genotype.json", "selection"))
    step = Retraining.step

    def dying(self, *batch):
        if self.epoch == 1 and self.steps_of_epoch == 1:  # of the first finalist, which has done a step of its own
            raise KeyboardInterrupt
        return step(self, *batch)

    with monkeypatch.context() as broken:
        broken.setattr(Retraining, "step", dying)
        with pytest.raises(KeyboardInterrupt):
            call_script("search", *TINY, *HALVED, f"run={folder}")
    assert len(list(folder.glob("selection/*/checkpoint"))) == 3
    assert not list(folder.glob("selection/*/network.json"))
    assert call_script("search", *TINY, *HALVED, f"run={folder}")[0] == 0
    assert choice(folder) == choice(halved)
    networks = [sorted(run.glob("selection/*/network.safetensors")) for run in (folder, halved)]
    assert len(networks[0]) == 2
    assert [path.read_bytes() for path in networks[0]] == [path.read_bytes() for path in networks[1]]


@pytest.mark.parametrize("measure", MEASURES)
def test_rounds_of_several_epochs_are_compared_by_their_own_steps(tmp_path, measure):
    """The two rounds of two and four epochs, by the rows that the trainings themselves wrote."""
    overrides = (*HALVED, "search.selection.epochs=2", "retrain.epochs=4", f"search.selection.measure={measure}")
    experiment = compose_experiment([*TINY, *overrides])
    generator = torch.Generator().manual_seed(0)
    cells = [SearchSpace().random_genotype(generator) for _ in range(3)]
    tried = try_cells(tmp_path, experiment, load(experiment.data), make_fabric(experiment.fabric), cells)
    assert sorted(len(cell.accuracies) for cell in tried) == [1, 2, 2]
    for index, cell in enumerate(tried):
        rows = read_metrics(tmp_path / f"{index:03}", "retrain")
        for epochs, found in zip((2, 4), cell.accuracies, strict=False):
            steps = [row for row in rows if row["epoch"] < epochs]
            learned = [row["training_accuracy"] for row in steps[len(steps) // 2 :]]
            judged = [row["held_back_accuracy"] for row in steps if "held_back_accuracy" in row]
            by_learning = measure == "training_accuracy"
            assert len(judged) == epochs // (4 if by_learning else 2)  # images held back are read where they count
            assert found == pytest.approx(sum(learned) / len(learned) if by_learning else max(judged))


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """A run folder after a search whose supernet judges six cells, the best three of which are trained."""
    return searched(tmp_path_factory.mktemp("pooled") / "run", POOL)


def test_candidates_are_those_of_the_pool_that_the_supernet_judges_best(pooled):
    judged = json.loads((pooled / "pool.json").read_text())["judged"]
    genotypes = [Genotype.from_json(json.dumps(cell["genotype"])) for cell in judged]
    assert len(set(genotypes)) == 6
    accuracies = [cell["accuracy"] for cell in judged]
    assert len(set(accuracies)) > 1
    tried = [Genotype.from_json(json.dumps(cell["genotype"])) for cell in choice(pooled)]
    assert len(tried) == 3
    left_out = [accuracy for genotype, accuracy in zip(genotypes, accuracies, strict=True) if genotype not in tried]
    assert min(accuracies[genotypes.index(genotype)] for genotype in tried) >= max(left_out)
    experiment = compose_experiment([*TINY, *POOL])
    data, fabric = load(experiment.data), make_fabric(experiment.fabric)
    assert supernet_accuracies(pooled, experiment, data, fabric, genotypes[:2]) == accuracies[:2]


def test_a_pool_that_was_half_judged_goes_on_and_ends_the_same(pooled, tmp_path, call_script, monkeypatch):
    folder = tmp_path / "run"
    walk, calls = Walk.judge, []

    def dying(self):
        calls.append(self)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return walk(self)

    monkeypatch.setattr(Walk, "judge", dying)
    with pytest.raises(KeyboardInterrupt):
        call_script("search", *TINY, *POOL, f"run={folder}")
    assert len(json.loads((folder / "pool.json").read_text())["judged"]) == 3
    assert call_script("search", *TINY, *POOL, f"run={folder}")[0] == 0
    assert len(calls) == 7
    for name in ("pool.json", "genotype.json", "alphas.safetensors"):
        assert (folder / name).read_bytes() == (pooled / name).read_bytes()


OTHER_POOL = json.dumps({"judged": [{"genotype": json.loads(PUBLISHED["DARTS_V2"].genotype.to_json()), "accuracy": 0}]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OTHER_POOL, "is of other cells than the alphas of this search give"),
        ('{"judged": [{"genotype": {}}]}', "pool.json is not what search.py writes"),
    ],
)
def test_a_pool_of_another_search_is_refused(pooled, tmp_path, call_script, content, message):
    folder = tmp_path / "run"
    shutil.copytree(pooled, folder, ignore=shutil.ignore_patterns("search.json", "genotype.json", "selection"))
    (folder / "pool.json").write_text(content)
    status, _, err = call_script("search", *TINY, *POOL, f"run={folder}")
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


def test_a_pool_that_leaves_too_few_images_is_refused_before_any_work(tmp_path, call_script):
    folder = tmp_path / "run"
    status, _, err = call_script("search", *TINY, *POOL, "pareto.held_back=0.75", f"run={folder}")
    assert status == 2
    assert "that pareto.held_back=0.75 leaves for the alphas" in err
    assert not folder.exists()


def test_a_lone_candidate_is_in_no_final(tmp_path):
    experiment = compose_experiment([*TINY, *SELECTION, "search.selection.finalists=3"])
    genotype = SearchSpace().random_genotype(torch.Generator().manual_seed(0))
    fabric = make_fabric(experiment.fabric)
    (tried,) = try_cells(tmp_path, experiment, load(experiment.data), fabric, [genotype])
    assert len(tried.accuracies) == 1
    assert load_network(tmp_path / "000").description.training["settings"]["retrain"]["epochs"] == 1


def test_candidates_may_be_chosen_by_how_fast_they_learn(tmp_path, call_script):
    folder, changed = tmp_path / "run", ("search.selection.measure=training_accuracy", "search.selection.epochs=2")
    status, _, err = call_script("search", *TINY, *SELECTION, *changed, f"run={folder}")
    assert status == 0, err
    found = {json.dumps(cell["genotype"]): cell["accuracies"] for cell in choice(folder)}
    expected = {}
    for candidate in (folder / "selection").iterdir():
        third, fourth = (row["training_accuracy"] for row in read_metrics(candidate, "retrain")[2:])  # of 2 each epoch
        expected[json.dumps(load_network(candidate).description.genotype)] = [(third + fourth) / 2]
    assert found == expected
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize("row", [0, -1])
def test_a_choice_whose_steps_were_lost_says_so(halved, tmp_path, call_script, row):
    folder = tmp_path / "run"
    shutil.copytree(halved, folder)
    (folder / "search.json").unlink()
    lost = folder / "selection" / "001" / "metrics.jsonl"
    rows = lost.read_text().splitlines(keepends=True)
    del rows[row]
    lost.write_text("".join(rows))
    status, _, err = call_script("search", *TINY, *HALVED, f"run={folder}")
    assert status == 2
    assert f"{lost} lacks steps of the training in its folder; remove {lost.parent}" in err


def test_a_finished_choice_is_that_of_its_recipe(selected, call_script):
    assert call_script("search", *TINY, *SELECTION, f"run={selected}")[0] == 0
    status, _, err = call_script("search", *TINY, *SELECTION, f"run={selected}", "retrain.channels=6")
    assert status == 2
    assert "retrain.channels was 4, is 6" in err


def test_alphas_wait_in_the_warm_up_and_the_report_leaves_it_out(tmp_path, call_script):
    folder = tmp_path / "run"
    command = (*TINY, f"run={folder}", "search.epochs=3", "search.warm_up=2")
    status, _, err = call_script("search", *command)
    assert status == 0, err
    alphas = load_file(folder / "alphas.safetensors")
    first, second, third = (alphas[f"epoch_{epoch:05d}"] for epoch in (1, 2, 3))
    assert torch.equal(first, second)
    assert first.abs().max() < 6e-3  # 1e-3 N(0, 1), as drawn
    assert third.abs().max() > 0.05
    rows = read_metrics(folder, "search")
    assert [row.get("warm_up", False) for row in rows] == [True] * 4 + [False] * 2
    assert all("objectives" not in row and row["training_loss"] > 0 for row in rows[:4])
    assert call_script("report", f"run={folder}")[0] == 0


def test_a_warm_up_without_end_is_refused(tmp_path, call_script):
    status, _, err = call_script("search", *TINY, f"run={tmp_path / 'run'}", "search.warm_up=2")
    assert status == 2
    assert "search.warm_up=2 leaves no epoch of search.epochs=2 for alphas" in err
