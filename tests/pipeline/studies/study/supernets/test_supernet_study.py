"""Searches by supernets in a study: their settings, their images, what they cost, and that none is made twice."""

import json

import numpy as np
import pytest
import torch

from e2rnas.cli.app import compose_experiment
from e2rnas.cli.composing.variants import variant
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.runs.settings_record import leaves
from pipeline.studies.study.study_file import read_study
from pipeline.studies.study.supernets.searches import (
    FoundFile,
    PassCounter,
    entropies,
    searched_images,
    supernet_macs,
)
from pipeline.studies.tables import rows as stored
from pipeline.studies.tables.table import load_table, write_table
from pipeline.studies.tables.tabulate import header_of
from pipeline.training.training_images import TrainingImages
from search_space import CostTable, Genotype, Supernet, canonical_form, inherit
from search_space.network.passes import heard_by
from search_space.supernet.paths import SinglePath
from tests.support.cells.tables import SPACE, TABULATED, header_by_hand, rows_by_hand
from tests.support.figures import drawing
from tests.support.scripts import finish_script

TINY = (
    *TABULATED,
    "search.channels=2",
    "search.layers=3",
    "search.epochs=2",
    "search.warm_up=1",
    "search.batch_size=16",
    "search.diagnostics.iterations=0",
    "study.seeds=2",
    "study.budgets=[1,4]",
    "study.judges=[macs]",
    "study.searchers=[random_search]",
    "study.judged_by_supernets=3",
    "study.processes=1",
    "pareto.adapt_epochs=0",
    "fabric.threads=1",
    "+study.searches.choice=['search.selection.candidates=2','search.selection.epochs=1']",
    "study.supernets=[softmax,choice]",
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table by hand of four cells, with the header of the settings above."""
    folder = tmp_path_factory.mktemp("table")
    experiment = compose_experiment([*TINY, "seed=5"])
    rows = list(rows_by_hand(np.random.default_rng(0).random((4, 3))))
    made = header_of(experiment, load(experiment.data), Genotype.from_json(json.dumps(rows[0].genotype)))
    header = header_by_hand(made.settings).model_copy(update={"images": made.images})
    shares = [row.model_copy(update={name: {"pgd-20": (9, 8, 7)} for name in ("validation", "test")}) for row in rows]
    empty = tuple((0,) * 3 for _ in range(9))
    curves = dict.fromkeys(("trained", "clean", "robust"), empty)
    write_table(folder / "table.parquet", header, [row.model_copy(update=curves) for row in shares])
    return folder


def run_study(table, folder, *more):
    finish_script("study", *TINY, f"study.table={table}", f"run={folder}", f"study.results={folder / 'results'}", *more)
    return read_study(folder)


@pytest.fixture(scope="module")
def studied(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    with drawing():
        run_study(table, folder)
    return folder


def found_in(folder, name, seed):
    path = folder / "searches" / name / f"seed{seed}" / "found.json"
    return FoundFile.model_validate_json(path.read_text())


def test_each_search_has_an_outcome_a_decision_and_a_judgement(studied):
    study = read_study(studied)
    by_supernets = [each for each in study.outcomes if each.uses_supernet]
    assert [each.searcher for each in by_supernets] == ["softmax", "choice, alphas", "choice"]
    assert [each.search for each in study.decisions] == ["softmax", "choice"]
    assert [len(each.entropy) for each in study.decisions] == [2, 2]
    assert [(each.judge, each.cells, each.supernets) for each in study.judgements if each.supernets] == [
        ("softmax", 3, 2),
        ("softmax with size", 3, 2),
        ("choice", 3, 2),
        ("choice with size", 3, 2),
    ]
    assert {test.searcher for test in study.tests} == {"softmax", "choice, alphas", "choice"}
    assert (studied / "figures" / "study-alphas.png").is_file()
    softmax, own, choice = by_supernets
    assert softmax.genotypes == own.genotypes  # a last choice changes nothing of the search before it
    assert own.passes == pytest.approx(softmax.passes)
    assert all(whole > alone for whole, alone in zip(choice.passes, own.passes, strict=True))
    assert all(seconds > 0 for seconds in softmax.seconds)


def test_cells_that_the_table_lacks_are_trained_once_by_its_recipe_and_seeds(studied, table):
    study, tabulated = read_study(studied), load_table(table)
    header, rows = stored.read(studied / "cells")
    assert header == tabulated.header
    forms = [canonical_form(Genotype.from_json(json.dumps(row.genotype))) for row in rows]
    assert len(set(forms)) == len(forms)
    known = {canonical_form(entry.genotype) for entry in tabulated}
    assert not known & set(forms)
    for each in study.outcomes:
        for genotype, accuracy in zip(each.genotypes, each.accuracy, strict=False):
            form = canonical_form(Genotype.from_json(json.dumps(genotype)))
            counts = rows[forms.index(form)].test["pgd-20"] if form in forms else (9, 8, 7)
            assert accuracy == pytest.approx(np.mean(counts) / header.images.test, abs=1e-6)
            assert form in forms or form in known


def test_a_study_that_goes_on_searches_and_trains_nothing_again(studied, table, monkeypatch):
    def refuse(*arguments, **more):
        raise AssertionError("made again")

    before = read_study(studied)
    monkeypatch.setattr("pipeline.studies.study.supernets.searches.search", refuse)
    monkeypatch.setattr("pipeline.studies.tables.tabulate.train_and_measure", refuse)
    monkeypatch.setattr("pipeline.studies.study.supernets.supernet_study.supernet_accuracies", refuse)
    assert run_study(table, studied) == before


def test_a_search_that_was_stopped_begins_again_so_that_its_cost_is_whole(studied, table):
    before = found_in(studied, "softmax", 1000)
    (studied / "searches" / "softmax" / "seed1000" / "found.json").unlink()
    run_study(table, studied)
    after = found_in(studied, "softmax", 1000)
    assert after.chosen.passes == before.chosen.passes > 0
    assert after.chosen.genotype == before.chosen.genotype


def test_passes_are_counted_as_the_method_makes_them(studied):
    found = found_in(studied, "softmax", 1000)
    steps, batch, attack = 80 // 2 // 16, 16, 2 + 1  # attacked by PGD-2, then the loss; 80 images train
    weights, alphas = 2 * steps * attack, steps * (1 + attack)  # alphas from the second epoch on: clean and attacked
    assert found.chosen.supernet_passes == batch * (weights + alphas)
    assert found.chosen.passes > found.chosen.supernet_passes  # each runs every operation


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+study.searches.a=['relaxation=nothing']", "study.searches.a: relaxation=nothing: expected one of"),
        ("+study.searches.a=['search.epoch=3']", "study.searches.a: unknown key search.epoch"),
        ("+study.searches.a=['search.batch_size=60']", "study.searches.a: search.batch_size=60 is larger than a part"),
        ("+study.searches.a=['space.nodes=3']", "study.searches.a: its cells are not of the table's space"),
        ("study.supernets=[a]", "study.supernets: expected names of study.searches"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_any_work(override, message, table, tmp_path, call_script):
    folder = tmp_path / "new"
    chosen = () if "supernets" in override else ("study.supernets=[a]",)
    status, out, err = call_script("study", *TINY, f"study.table={table}", f"run={folder}", override, *chosen)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not folder.exists()


def test_a_variant_changes_what_its_overrides_name_and_nothing_else():
    experiment = compose_experiment([*TINY, "search.relaxation.dropout=0.2", "attack.steps=4"])
    found = variant(experiment, ["relaxation=gdas", "search.epochs=7"], "here")
    before = dict(leaves(experiment))
    changed = {key: value for key, value in leaves(found) if before[key] != value}
    assert changed == {
        "search.relaxation.operations": "gumbel",
        "search.relaxation.dropout": 0.0,  # choosing one of a group undoes the others
        "search.epochs": 7,
    }
    assert variant(experiment, [], "here") == experiment


def test_searches_see_the_images_that_train_the_tables_networks_alone():
    experiment = compose_experiment([*TINY, "seed=5"])
    own = TrainingImages(experiment, load(experiment.data), make_fabric(experiment.fabric)).train
    given = searched_images(experiment)
    torch.testing.assert_close(given.train.images, own.images)
    assert 0 < len(own) < len(load(experiment.data).train)


def test_a_counter_tells_supernets_from_networks_and_forward_passes_from_whole_ones():
    supernet, counter = Supernet(SPACE, channels=2, layers=3, in_channels=1), PassCounter()
    images = torch.rand(6, 1, 8, 8)
    with heard_by(counter):
        supernet(images)
        with torch.no_grad():
            supernet(images)
    supernet(images)  # nobody listens
    assert counter.now[:2] == pytest.approx((8, 0))
    assert counter.at_last_supernet[:2] == pytest.approx((8, 0))


def test_a_counter_takes_a_single_path_for_a_network_that_is_the_supernets():
    supernet, counter = Supernet(SPACE, channels=2, layers=3, in_channels=1), PassCounter()
    genotype = SPACE.random_genotype(torch.Generator().manual_seed(0))
    path, images = SinglePath(supernet), torch.rand(6, 1, 8, 8)
    path.take(genotype)
    with heard_by(counter):
        path(images)
        inherit(supernet, genotype)(images)
    assert counter.now[:2] == (0, 12)
    assert counter.at_last_supernet[:2] == (0, 6)


def test_the_supernets_macs_are_those_of_all_its_operations():
    experiment = compose_experiment(TINY)
    data = load(experiment.data)
    shape = data.network_shape(channels=2, layers=3)
    costs = CostTable(experiment.space.build(), shape)
    largest = costs.reachable("conv_linear_macs")[1]
    one = supernet_macs(experiment, data)
    assert one > largest
    fixed = costs.fixed[1].item()
    # of five operations two have MACs: 1x1 and 3x3 convolutions, 1 : 9; the largest cell has 3x3 everywhere
    assert one - fixed == pytest.approx((largest - fixed) * 10 / 9)


def test_entropies_are_whole_of_equal_chances_and_none_of_a_decision():
    strengths = torch.tensor([[[0.2, 0.2, 0.2], [0.0, 3.0, 0.0], [0.5, 0.5, 0.0]]])
    mask = torch.tensor([[[True] * 3, [True] * 3, [True, True, False]]])
    assert entropies(strengths, mask) == [1, 0, 1]
    assert entropies(strengths, torch.tensor([[[True, False, False]] * 3])) == []
