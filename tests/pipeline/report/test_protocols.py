"""Figures of several protocols and weights stand side by side, and none is lost, or shown of what it is not."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.evaluation.stored_transfer import read_transfer
from pipeline.networks.network_files import load_network
from pipeline.report import run_report
from pipeline.report.run_reader import read_run
from pipeline.runs.files import keep_beside, write_json
from tests.support.runs.exported import write_network
from tests.support.runs.folders import ONNX
from tests.support.runs.protocols import SMALL, card_of, stored


def replace_weights(folder):
    path = folder / "network.safetensors"
    tensors = {name: value + 0.1 if value.is_floating_point() else value for name, value in load_file(path).items()}
    save_file(tensors, path)


@pytest.mark.parametrize(
    "changed",
    [
        "evaluate.eps=0.2",
        pytest.param("seed=1", marks=pytest.mark.slow),
        pytest.param("data.test_limit=30", marks=pytest.mark.slow),
        pytest.param("evaluate.images=20", marks=pytest.mark.slow),
        pytest.param("evaluate.norm=L2", marks=pytest.mark.slow),
        pytest.param("evaluate.batch_size=20", marks=pytest.mark.slow),
    ],
)
def test_an_evaluation_by_other_settings_keeps_the_figures_that_were_there(run, evaluate, changed):
    attacks = "evaluate.attacks=[pgd-20]"
    evaluate(attacks)
    (first,) = stored(run)
    evaluate(attacks, changed)
    before, second = stored(run)
    assert before == first
    assert second["settings"] != first["settings"]
    assert [row["attack"] for row in second["attacks"]] == ["clean", "pgd-20"]
    evaluate(attacks)
    assert stored(run) == [second, first]  # nothing is measured twice: the seconds too are those of before


def test_another_list_of_attacks_adds_rows_to_the_same_protocol(run, evaluate):
    evaluate()
    (first,) = stored(run)
    evaluate("evaluate.attacks=[pgd-20]", "evaluate.sweep=[0.05]")
    (both,) = stored(run)
    assert both["attacks"][:2] == first["attacks"]
    assert [row["attack"] for row in both["attacks"]] == ["clean", "fgsm", "pgd-20"]
    asked = both["settings"]["evaluate"]
    assert (asked["attacks"], asked["sweep"]) == (["fgsm", "pgd-20"], [0.05])  # one evaluation that finds all of it
    evaluate()
    assert stored(run) == [both]


def test_a_radius_that_was_measured_otherwise_is_kept_beside(run, evaluate):
    sweep = ("evaluate.attacks=[]", "evaluate.sweep=[0.05]", "evaluate.sweep_attack=fgsm")
    evaluate(*sweep)
    (first,) = stored(run)
    del first["sweep"][0]["settings"]["statistics"]  # as before attacks were told how to treat BatchNorm
    write_json(run / "robustness.json", {"format": "robustness", "version": 2, "protocols": [first]})
    evaluate(*sweep)
    before, second = stored(run)
    assert before == first
    assert [row["settings"]["eps"] for row in second["sweep"]] == [0.05]
    assert "statistics" in second["sweep"][0]["settings"]


def test_replaced_weights_are_measured_anew_and_the_old_figures_stay_theirs(run, evaluate):
    evaluate()
    (first,) = stored(run)
    replace_weights(run)
    assert "done before" not in evaluate()
    before, second = stored(run)
    assert before == first
    assert second["network"] == first["network"]
    assert second["state_sha256"] == load_network(run).state_sha256 != first["state_sha256"]


def test_figures_of_other_weights_are_in_no_table_page_or_card(run, evaluate):
    evaluate()
    page = run_report.write(run).read_text(encoding="utf-8")
    assert 'id="results"' in page
    assert "on a held-back part of the training set" in card_of(run)
    replace_weights(run)
    found = read_run(run)
    assert (found.robustness, found.examples, len(found.set_aside)) == (None, None, 1)
    page = run_report.write(run).read_text(encoding="utf-8")
    assert 'id="results"' not in page
    assert "robustness.json holds figures of other weights than these, which are not shown: mine (" in page
    assert "run evaluate.py to measure the present ones" in page
    assert "now holds was not evaluated; run evaluate.py." in run_report.table([run])
    card = card_of(run)
    assert "Not measured: no robustness is claimed. The run" in card
    assert "is of the training of other weights than these" in card
    assert "held-back part" not in card
    evaluate()
    page = run_report.write(run).read_text(encoding="utf-8")
    assert 'id="results"' in page
    assert "which are not shown: mine (" in page
    assert "| fgsm |" in card_of(run)


def test_figures_of_a_graph_that_was_exported_of_other_weights_are_not_shown(run):
    write_json(run / "onnx.json", ONNX | {"state_sha256": load_network(run).state_sha256})
    assert read_run(run).onnx is not None
    replace_weights(run)
    assert read_run(run).onnx is None
    write_json(run / "onnx.json", ONNX)  # of an older version, which did not say of which weights it is
    assert read_run(run).onnx is not None


def test_replace_begins_anew_and_keeps_the_old_file_beside_it(run, evaluate):
    evaluate()
    old = (run / "robustness.json").read_bytes()
    evaluate("seed=1", "evaluate.replace=true")
    assert (run / "robustness-1.json").read_bytes() == old
    (only,) = stored(run)
    assert (only["settings"]["seed"], "replace" in only["settings"]["evaluate"]) == (1, False)
    (run / "robustness.json").write_text("damaged")
    evaluate("evaluate.replace=true")
    assert (run / "robustness-1.json").read_bytes() == old
    assert (run / "robustness-2.json").read_text() == "damaged"


def test_a_copy_beside_a_file_overwrites_nothing_and_is_made_once(tmp_path):
    path = tmp_path / "a.json"
    keep_beside(path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "a-1.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a-2.json").mkdir()
    path.write_text("first")
    for _ in range(2):
        keep_beside(path)
    assert (tmp_path / "a-3.json").read_text() == "first"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a-1.json", "a-2.json", "a-3.json", "a.json"]


def test_examples_of_another_protocol_are_kept_beside_those_of_the_last(run, evaluate):
    evaluate()
    first = (run / "examples.safetensors").read_bytes()
    evaluate("evaluate.eps=0.2")
    second = (run / "examples.safetensors").read_bytes()
    assert (run / "examples-1.safetensors").read_bytes() == first != second
    evaluate()
    evaluate("evaluate.eps=0.2")
    names = {"examples.safetensors", "examples-1.safetensors", "examples-2.safetensors"}
    assert {path.name for path in run.glob("examples*")} == names


def test_transfer_by_another_protocol_or_between_others_keeps_the_figures_that_were_there(run, tmp_path, call_script):
    write_network(tmp_path / "other", name="other", channels=5)
    folder = tmp_path / "matrix"

    def transfer(*overrides):
        models = f"evaluate.models=[{run},{tmp_path / 'other'}]"
        status, out, err = call_script("evaluate", *SMALL, f"run={folder}", models, *overrides)
        assert status == 0, err
        return out

    transfer("evaluate.transfer_attack=fgsm")
    (first,) = stored(folder, "transfer.json")
    transfer("evaluate.transfer_attack=fgsm", "evaluate.eps=0.2")
    replace_weights(run)
    transfer("evaluate.transfer_attack=fgsm")
    before, other_eps, other_weights = stored(folder, "transfer.json")
    assert before == first
    assert other_eps["attack"]["eps"] == 0.2
    assert other_weights["models"][0]["state_sha256"] != first["models"][0]["state_sha256"]
    page = run_report.write(folder).read_text(encoding="utf-8")
    assert page.count("How attacks transfer</h3>") == 3
    old = (folder / "transfer.json").read_bytes()
    transfer("evaluate.transfer_attack=fgsm", "evaluate.replace=true")
    assert (folder / "transfer-1.json").read_bytes() == old
    assert len(read_transfer(folder / "transfer.json")) == 1


def test_a_changed_buffer_changes_the_digest_of_a_network(run):
    network = load_network(run).network
    digest = load_network(run).state_sha256
    assert load_network(run).state_sha256 == digest
    with torch.no_grad():
        next(network.buffers()).add_(1e-3)
    assert type(load_network(run))(network.train(), load_network(run).description).state_sha256 != digest
