"""The last choice of a search, between its likeliest cells; and the warm-up, in which the alphas wait."""

import json
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file
from scipy import stats

from e2rnas.cli.app import compose_experiment
from pipeline.networks.network_files import load_network
from pipeline.runs.metrics import read_metrics
from pipeline.search.objectives import Bound
from pipeline.search.selection.candidate_selection import draw_candidates
from search_space import CostTable, Genotype, NetworkShape, SearchSpace
from search_space.supernet.relaxation import DARTS
from tests.support.runs.selected import SELECTION, choice, searched
from tests.support.scripts import TINY

SHAPE = NetworkShape(channels=4, layers=3, num_classes=10, image_size=8, in_channels=1)


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
    found = draw(80, alphas, space=space)  # without replacement, so likely cells are a little too rare
    assert len(found) == 80
    drawn = Counter(edge.operation for genotype in found for edge in genotype.normal.edges)
    shares = [drawn[name] / drawn.total() for name in space.operations]
    expected = torch.softmax(alphas[0, 0], dim=-1).tolist()
    assert shares[0] > 0.4 > shares[1] > 0.2 > shares[2]
    assert stats.pearsonr(shares, expected).statistic > 0.95


def test_alphas_that_have_decided_give_one_cell():
    alphas = random_alphas()
    alphas[..., 1:] = 1e3 * alphas[..., 1:]
    assert draw(8, alphas) == [SearchSpace().derive(alphas)]


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


@pytest.mark.slow  # that cells are inside bounds however narrow is a law of objectives
@pytest.mark.parametrize("seed", [1, 2])
def test_a_search_ends_inside_bounds_that_one_size_alone_keeps(tmp_path, call_script, seed):
    space = compose_experiment([*TINY, *SELECTION]).space.build()
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


@pytest.mark.slow
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
