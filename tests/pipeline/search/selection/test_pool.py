"""A pool of cells, judged by the weights of the supernet: the best of them become candidates."""

import json
import shutil

import pytest

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.search.selection.continued_search import Walk
from pipeline.search.selection.supernet_ranking import supernet_accuracies
from search_space import PUBLISHED, Genotype
from tests.support.runs.selected import SELECTION, choice, searched
from tests.support.scripts import TINY
from tests.support.slowly import slowly

POOL = (
    *SELECTION,
    "search.selection.pool=6",
    "pareto.adapt_epochs=1",
    "pareto.attack.steps=2",
    "search.diagnostics.iterations=0",
    "attack.eps=0.02",
)


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


def test_cells_that_are_not_adapted_are_judged_together_as_each_alone(pooled):
    experiment = compose_experiment([*TINY, *POOL, "pareto.adapt_epochs=0"])
    data, fabric = load(experiment.data), make_fabric(experiment.fabric)
    cells = [Genotype.from_json(json.dumps(cell["genotype"])) for cell in choice(pooled)]
    together = supernet_accuracies(pooled, experiment, data, fabric, cells)
    assert together == [supernet_accuracies(pooled, experiment, data, fabric, [cell])[0] for cell in cells]
    assert supernet_accuracies(pooled, experiment, data, fabric, cells[::-1]) == together[::-1]


@pytest.mark.slow
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
        *slowly(('{"judged": [{"genotype": {}}]}', "pool.json is not what search.py writes")),
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
