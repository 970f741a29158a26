"""Benchmarks that others published are read as tables, by the forms that their authors' own readers take."""

import json
import pickle
import shutil

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.studies.study.study_file import read_study
from pipeline.studies.tables.table import load_table
from search_space import network_cost
from tests.support.cells.published import PGD, TEXTS, accuracies, nas_robbench, robustness_dataset
from tests.support.figures import drawing

KEPT = [0, 1, 2, 4, 5, 6]  # without the one that nothing goes through, and one that computes what another does


def test_the_robustness_dataset_is_a_table_of_one_training_a_cell(tmp_path):
    table = load_table(robustness_dataset(tmp_path), PGD)
    assert [entry.genotype.to_nasbench201() for entry in table] == [TEXTS[number] for number in KEPT]
    values = [accuracies(2)[str(number)] for number in KEPT]
    assert table.accuracies()[:, 0].tolist() == table.accuracies(part="validation")[:, 0].tolist() == values
    assert (table.data, table.attack, table.header) == ("cifar10", PGD, None)
    for number, entry in zip(KEPT, table, strict=True):
        assert entry.test["clean"].tolist() == [accuracies(0)[str(number)]]
        cost = network_cost(entry.genotype, channels=16, layers=17)
        assert (entry.parameters, entry.conv_linear_macs) == (cost.parameters, cost.conv_linear_macs)
    # NAS-Bench-201's largest network, as its API gives it: github.com/ayushi-3536/mo_hyperband
    assert table[TEXTS[1]].parameters == 1_531_546
    assert table[TEXTS[7]] is table[TEXTS[4]]
    assert np.isnan(table.seed_deviation)
    with pytest.raises(ValueError, match="does not say by which settings"):
        table.own_header  # noqa: B018  it is the reading that is refused


def test_nas_robbench_is_a_table_of_as_many_trainings_as_it_numbers(tmp_path):
    path = nas_robbench(tmp_path)
    table = load_table(path, "val_pgd_8.0_acc")
    assert table.accuracies().shape == (len(KEPT), 3)
    for number, row in zip(KEPT, table.accuracies().tolist(), strict=True):
        assert row == [accuracies(seed)[str(number)] for seed in range(3)]
    assert load_table(path.parent, "autoattack").accuracies().tolist() == [
        [accuracies(8)[str(number)]] for number in KEPT
    ]
    assert load_table(path, "clean").accuracies().shape == (len(KEPT), 1)


def test_the_only_data_set_and_the_only_attack_need_no_name(tmp_path):
    path = robustness_dataset(tmp_path, "ImageNet16-120")
    (path / "fog_accuracy.json").unlink()
    meta = json.loads((tmp_path / "meta.json").read_text())
    del meta["epsilons"]["pgd@Linf"][1]
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(RunError, match=r"pgd@Linf_accuracy.json: expected lists of 1 values"):
        load_table(tmp_path)
    (path / "pgd@Linf_accuracy.json").unlink()
    table = load_table(tmp_path)
    assert (table.data, table.attack) == ("ImageNet16-120", "clean")
    assert table[TEXTS[1]].parameters == 1_538_696  # ditto, of 120 classes


@pytest.mark.parametrize(
    ("data", "attack", "message"),
    [
        ("cifar10", None, "attack: none is named, expected one of fog, pgd@Linf_eps-0.5, pgd@Linf_eps-1.0; name it by"),
        ("cifar10", "pgd", "attack: found 'pgd', expected one of fog"),
        ("", PGD, "data set: none is named, expected one of cifar10, svhn; name FOLDER/DATA"),
        ("svhn", PGD, "sizes of networks are known for cifar10, cifar100, imagenet, not for 'svhn'"),
    ],
)
def test_what_a_benchmark_does_not_hold_is_refused_with_what_it_holds(data, attack, message, tmp_path):
    path = robustness_dataset(tmp_path)
    shutil.copytree(path, tmp_path / "svhn")
    for file in (tmp_path / "svhn").iterdir():
        file.write_text(file.read_text().replace("cifar10", "svhn"))
    with pytest.raises(ValueError, match=r"expected one of|sizes of") as caught:
        load_table(tmp_path / data if data else tmp_path, attack)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("meta.json", '"ids"', '"cells"', "meta.json: the file: expected an object with 'ids'"),
        ("meta.json", "avg_pool_3x3~0", "max_pool_3x3~0", "expected cells of NAS-Bench-201"),
        ("meta.json", "+|none~0|nor_conv_1x1~1|none~2|", "", "meta.json: expected cells of NAS-Bench-201"),
        ("meta.json", "|none~0|+", "", "meta.json: node 1 reads state 1; only states 0 to 0 come before it"),
        ("meta.json", '"isomorph": "0"', '"same": "0"', "ids.0: expected nb201-string and isomorph"),
        ("meta.json", "[0.5, 1.0]", "1.0", "meta.json: epsilons: pgd@Linf"),
        ("cifar10/pgd@Linf_accuracy.json", "0.", "1.", "pgd@Linf_accuracy.json: 0.0: Input should be less than"),
        ("cifar10/pgd@Linf_accuracy.json", '"accuracy"', '"confidence"', "expected an object with 'accuracy'"),
        ("cifar10/pgd@Linf_accuracy.json", "{", "[", "is not a JSON file"),
    ],
)
def test_a_damaged_benchmark_is_refused_in_one_line_that_names_the_file(file, old, new, message, tmp_path):
    robustness_dataset(tmp_path)
    path = tmp_path / file
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
    with pytest.raises(RunError) as caught:
        load_table(tmp_path / "cifar10", PGD)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["NAS-Bench-201-v1_1-096897.pth", "NATS-tss-v1_0-3ffb9.pickle.pbz2"])
def test_pickles_are_refused_without_being_read(name, tmp_path):
    (tmp_path / name).write_bytes(pickle.dumps({"meta_archs": list(TEXTS)}))
    with pytest.raises(RunError, match="can run code when they are read; clean accuracies of the same trainings"):
        load_table(tmp_path / name)


@pytest.mark.usefixtures("drawn")
def test_a_study_of_a_benchmark_says_that_others_published_it(tmp_path, call_script):
    path, folder = robustness_dataset(tmp_path), tmp_path / "study"
    given = [
        *("experiment=study_published", f"study.table={path}", f"study.attack={PGD}"),
        *("study.seeds=3", "study.budgets=[1,4]", "study.sample=2", "study.population=3"),
        *(f"run={folder}", f"study.results={folder}"),
    ]
    refused = {
        "study.judges=[training_speed,synflow]": "do without study.judges training_speed, study.judges synflow (exper",
        "study.searchers=[successive_halving]": "do without study.searchers successive_halving (exper",
        "study.supernets=[softmax]": "do without study.supernets (exper",
        "study.equal=seconds": "do without study.equal=seconds (exper",
    }
    for override, message in refused.items():
        status, out, err = call_script("study", *given, override)
        assert (status, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
        assert not folder.exists()
    with drawing():
        assert call_script("study", *given)[0] == 0
    study = read_study(folder)
    assert (study.table.published, study.table.trainings, study.table.training_passes) == (True, 1, 1)
    assert (study.table.training_seconds, study.table.deviation) == (None, None)
    assert {each.seconds for each in study.outcomes} == {()}
    best = max(accuracies(2)[str(number)] for number in KEPT)
    assert study.table.best == pytest.approx(best)
    local_search = [each for each in study.outcomes if each.searcher == "local_search"]
    assert set(local_search[-1].passes) == {4}
    page = (folder / "study_cifar10.md").read_text()
    assert "by others, who published them" in page
    assert "a searcher sees one training's accuracy on the same images" in page
