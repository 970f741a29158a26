"""Tables: cells trained side by side are as retrained alone, the stage resumes and merges, what is read is checked."""

import json
from dataclasses import replace

import pytest
import torch

from attacks import evaluation_attack
from e2rnas.cli.app import Refused, compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.evaluation.accuracy import classified_right
from pipeline.studies.tables import rows as stored
from pipeline.studies.tables.distinct_cells import distinct_cells
from pipeline.studies.tables.side_by_side_training import SideBySideTraining, clip_each
from pipeline.studies.tables.table import SHIPPED, TABLE_FILE, load_table
from pipeline.studies.tables.tabulate import form_of
from pipeline.training.network_trainer import Retraining
from search_space import Genotype, Network, SearchSpace, canonical_form
from search_space.network.side_by_side import SideBySide
from tests.support.figures import drawing
from tests.support.scripts import finish_script

NASBENCH201 = SearchSpace(
    nodes=3, operations=("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"), family="nasbench201"
)


TINY = (
    "experiment=table_nasbench201",
    "space.nodes=2",
    "data.limit=120",
    "data.test_limit=40",
    "retrain.layers=3",
    "retrain.epochs=2",
    "retrain.batch_size=32",
    "tabulate.cells=3",
    "tabulate.seeds=2",
    "tabulate.processes=1",
    "evaluate.attacks=[fgsm]",
)


CELL = Genotype.from_nasbench201(
    "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|skip_connect~2|"
)


def made(*overrides, seeds=(0,)):
    experiment = compose_experiment([*TINY, *overrides])
    data, fabric = load(experiment.data), make_fabric(experiment.fabric)
    return experiment, data, fabric, SideBySideTraining(experiment, data, fabric, CELL, seeds)


def trained(training, epochs=2):
    for epoch in range(epochs):
        training.run_epoch(epoch)
    return training.kept


def test_one_seed_beside_none_is_trained_as_retraining_trains_it():
    experiment, data, fabric, training = made(
        "recipe=standard", "weight_optimizer.clip=0.5", "retrain.label_smoothing=0.2"
    )
    kept = trained(training).alone(0)
    alone = Retraining(experiment, data, fabric, CELL)
    for epoch in range(2):
        alone.start_epoch()
        for images, labels in alone.batches():
            alone.step(images, labels)
            alone.end_step()
        assert alone.epoch == epoch + 1
    for name, values in alone.network.state_dict().items():
        torch.testing.assert_close(kept.state_dict()[name], values, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("overrides", [("recipe=standard",), ("recipe=standard", "retrain.average_decay=0.9")])
def test_seeds_side_by_side_are_those_seeds_alone(overrides):
    together = trained(made(*overrides, seeds=(3, 4, 5))[-1])
    for index, seed in enumerate((3, 4, 5)):
        own = trained(made(*overrides, seeds=(seed,))[-1]).alone(0).state_dict()
        for name, values in together.alone(index).state_dict().items():
            torch.testing.assert_close(values, own[name], rtol=1e-3, atol=1e-4, msg=name)


def test_each_networks_gradient_is_clipped_as_pytorch_clips_one():
    networks = [Network(CELL, channels=4, layers=3, in_channels=1) for _ in range(3)]
    together = SideBySide(networks)
    generator = torch.Generator().manual_seed(0)
    slopes = [torch.randn(weight.shape, generator=generator) for weight in together.parameters()]
    expected, norms = [], []
    for index, factor in enumerate((1, 0.001, 1)):
        for slope in slopes:
            together.blocks(slope)[index].mul_(factor)
        weights = [torch.zeros_like(together.blocks(slope)[index]).requires_grad_() for slope in slopes]
        for weight, slope in zip(weights, slopes, strict=True):
            weight.grad = together.blocks(slope)[index].clone()
        norms.append(torch.nn.utils.clip_grad_norm_(weights, 2.0))
        expected.append([weight.grad for weight in weights])
    torch.testing.assert_close(clip_each(together, slopes, 2.0), torch.stack(norms))
    for index, own in enumerate(expected):
        for slope, grad in zip(slopes, own, strict=True):
            torch.testing.assert_close(together.blocks(slope)[index], grad)


@pytest.mark.parametrize("attack", ["fgsm", "apgd-ce"])
def test_the_final_counts_are_those_of_each_network_attacked_alone(attack):
    experiment, data, _, training = made(f"evaluate.attacks=[{attack}]", seeds=(0, 1))
    trained(training)
    found = training.final(data.test)
    images, labels = next(data.test.batches(100))
    for index in range(2):
        network = training.kept.eval().alone(index)
        attacked = evaluation_attack(attack, network, eps=experiment.evaluate.eps)(images, labels)
        assert found["clean"][index] == int(classified_right(network, images, labels).sum())
        assert found[attack][index] == pytest.approx(int(classified_right(network, attacked, labels).sum()), abs=1)


def test_cells_are_distinct_and_those_of_a_larger_count_begin_with_those_of_a_smaller():
    for space, count in ((replace(NASBENCH201, nodes=2), 40), (SearchSpace(nodes=2), 20)):
        cells = distinct_cells(space, count, seed=5)
        assert len({canonical_form(cell) for cell in cells}) == count
        assert cells[:7] == distinct_cells(space, 7, seed=5) != distinct_cells(space, 7, seed=6)
        for cell in cells:
            space.check_member(cell)
    small = SearchSpace(nodes=2, operations=("none", "skip_connect", "nor_conv_1x1"), family="nasbench201")
    with pytest.raises(ValueError, match=r"the space has 8 cells that compute different functions; lower it"):
        distinct_cells(small, 9, seed=0)
    with pytest.raises(ValueError, match=r"tabulate.cells=null asks for all cells of a space"):
        distinct_cells(SearchSpace(), None, seed=0)


@pytest.fixture(scope="module")
def tabulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    with drawing():
        finish_script("tabulate", *TINY, f"run={folder}")
    return folder


def without_seconds(folder):
    return {form_of(row): row.model_copy(update={"seconds": 0.0}) for row in stored.read(folder)[1]}


def test_the_stage_makes_a_table_and_a_page(tabulated):
    table = load_table(tabulated)
    assert len(table) == 3
    assert table.attack == "fgsm"
    assert table.accuracies().shape == (3, 2)
    assert table[0].robust.shape == (2, 2)
    page = (tabulated / "report.html").read_text(encoding="utf-8")
    assert "3 cells that compute different functions, each trained with 2 seeds" in page
    assert table[0].genotype.to_nasbench201().split("|")[1] in page
    assert len(list((tabulated / "figures").glob("table-*.png"))) == 4


def test_a_killed_tabulation_goes_on_with_the_next_cell(tabulated, tmp_path, call_script, monkeypatch):
    lines = (tabulated / stored.CELLS_FILE).read_text().splitlines(keepends=True)
    (tmp_path / stored.CELLS_FILE).write_text("".join(lines[:-1]) + lines[-1][:100])
    status, _, err = call_script("tabulate", *TINY, f"run={tmp_path}")
    assert (status, err) == (0, "")
    assert without_seconds(tmp_path) == without_seconds(tabulated)
    ran = [row.seconds for row in stored.read(tmp_path)[1][:2]]
    assert ran == [row.seconds for row in stored.read(tabulated)[1][:2]]


def test_a_table_alone_is_gone_on_with(tabulated, tmp_path, call_script):
    merge = f"tabulate.merge={json.dumps([str(tabulated / TABLE_FILE)])}"
    assert call_script("tabulate", merge, f"run={tmp_path}")[0] == 0
    assert stored.read(tmp_path)[0] == stored.read(tabulated)[0]
    assert call_script("tabulate", *TINY, f"run={tmp_path}")[0] == 0
    assert without_seconds(tmp_path) == without_seconds(tabulated)


def test_shards_merge_into_the_table_of_all(tabulated, tmp_path, call_script):
    shards = [tmp_path / "tabulate.shard=0", tmp_path / "tabulate.shard=1"]  # as a sweep names them
    header, rows = stored.read(tabulated)
    for place, folder in enumerate(shards):
        folder.mkdir()
        stored.begin(folder, header)
        for row in rows[place::2]:
            stored.append(folder, row)
    merge = f"tabulate.merge={json.dumps([str(shard) for shard in shards])}"
    assert call_script("tabulate", merge, f"run={tmp_path / 'whole'}")[0] == 0
    assert without_seconds(tmp_path / "whole") == without_seconds(tabulated)
    assert (tmp_path / "whole" / TABLE_FILE).read_bytes() == (tabulated / TABLE_FILE).read_bytes()
    other = rows[0].model_copy(update={"test": dict.fromkeys(rows[0].test, (0, 0))})
    (tmp_path / "c").mkdir()
    stored.begin(tmp_path / "c", header)
    stored.append(tmp_path / "c", other)
    status, _, err = call_script("tabulate", f"{merge[:-1]},{tmp_path / 'c'}]", f"run={tmp_path / 'other'}")
    assert status == 2
    assert "has other figures of a cell than what was merged before it" in err
    assert not (tmp_path / "other").exists()


def test_other_settings_in_the_folder_are_refused(tabulated, call_script):
    before = (tabulated / stored.CELLS_FILE).read_bytes()
    status, _, err = call_script("tabulate", *TINY, f"run={tabulated}", "retrain.epochs=3")
    assert status == 2
    assert "retrain.epochs was 2, is 3" in err
    assert (tabulated / stored.CELLS_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe=free", "retrain.recipe=free: the cells of a table are trained side by side"),
        ("retrain.awp_gamma=0.01", "retrain.awp_gamma=0.01: the cells"),
        ("retrain.drop_path=0.1", "retrain.drop_path=0.1: the cells"),
        ("retrain.batch_size=500", "retrain.batch_size=500 is larger than the 80 training images"),
        ("evaluate.attacks=[]", "evaluate.attacks names none"),
        ("tabulate.cells=600", "cells that compute different functions; lower it, or set it to null for all"),
        ("tabulate.shard=1", "tabulate.shard=1 counts from 0 and is below tabulate.shards=1"),
        ("tabulate.merge=[runs/nowhere]", "no table 'runs/nowhere': expected a file, a run folder"),
    ],
)
def test_what_cannot_be_tabulated_is_refused_in_one_line(override, message, tmp_path, call_script):
    status, out, err = call_script("tabulate", *TINY, f"run={tmp_path / 'new'}", override)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_table_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(ValueError, match=r"no table 'nothing': expected a file, a run folder, or one of those shipped"):
        load_table("nothing")
    with pytest.raises(Refused, match=r"tabulate.seeds"):
        compose_experiment([*TINY, "tabulate.seeds=1"])


@pytest.mark.slow
def test_the_shipped_table_is_the_beginning_of_the_experiments_and_can_be_gone_on_with(tmp_path, call_script):
    table = load_table("nasbench201_digits")
    assert call_script("tabulate", "tabulate.merge=[nasbench201_digits]", f"run={tmp_path}")[0] == 0
    # its first cell is there, so that nothing is trained; other settings than the table's would be refused
    status, _, err = call_script("tabulate", "experiment=table_nasbench201", "tabulate.cells=1", f"run={tmp_path}")
    assert (status, err) == (0, "")
    assert len(load_table(tmp_path)) == len(table)
    assert table.accuracies().shape == (len(table), 3)
    assert (SHIPPED / "nasbench201_digits.parquet").stat().st_size < 2000 * len(table)
