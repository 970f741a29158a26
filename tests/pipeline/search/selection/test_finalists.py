"""The best candidates of a first round train on as finalists, and go on where they were interrupted."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.compute.seeds import stream_seed
from pipeline.data import load
from pipeline.networks.network_files import load_network
from pipeline.runs.metrics import read_metrics
from pipeline.search.selection.candidate_selection import try_cells
from pipeline.training.network_trainer import Retraining
from tests.support.runs.selected import SELECTION, choice, searched
from tests.support.scripts import TINY
from tests.support.slowly import slowly

HALVED = (*SELECTION, "search.selection.finalists=2")


@pytest.fixture(scope="module")
def halved(tmp_path_factory):
    """A run folder after a search that ends with a choice between three, two of which train on."""
    return searched(tmp_path_factory.mktemp("halved") / "run", HALVED)


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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["training_accuracy", *slowly("held_back_accuracy")])
def test_rounds_of_several_epochs_are_compared_by_their_own_steps(tmp_path, measure):
    """The two rounds of two and four epochs, by the rows that the trainings themselves wrote."""
    overrides = (*HALVED, "search.selection.epochs=2", "retrain.epochs=4", f"search.selection.measure={measure}")
    experiment = compose_experiment([*TINY, *overrides])
    generator = torch.Generator().manual_seed(0)
    cells = [experiment.space.build().random_genotype(generator) for _ in range(3)]
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


def test_a_lone_candidate_is_in_no_final(tmp_path):
    experiment = compose_experiment([*TINY, *SELECTION, "search.selection.finalists=3"])
    genotype = experiment.space.build().random_genotype(torch.Generator().manual_seed(0))
    fabric = make_fabric(experiment.fabric)
    (tried,) = try_cells(tmp_path, experiment, load(experiment.data), fabric, [genotype])
    assert len(tried.accuracies) == 1
    assert load_network(tmp_path / "000").description.training["settings"]["retrain"]["epochs"] == 1


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
