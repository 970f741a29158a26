"""Figures of several protocols and weights stand side by side, and none is lost, or shown of what it is not."""

import json
import re
import shlex

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import RunError
from pipeline.evaluation.stored_evaluation import read_robustness
from pipeline.evaluation.stored_transfer import read_transfer
from pipeline.export.export import export, find
from pipeline.networks.network_files import load_network
from pipeline.report import run_report
from pipeline.report.reproduction import stages
from pipeline.report.run_reader import read_run
from pipeline.runs.files import keep_beside, write_json
from pipeline.settings import Experiment
from tests.support.exported import write_network
from tests.support.run_folders import ONNX, accuracy, evaluation_of, write_robustness

pytestmark = pytest.mark.usefixtures("undrawn")

SMALL = (  # each is given, as a run folder remembers what was given before
    "fabric.accelerator=cpu",
    "seed=0",
    "data.test_limit=40",
    "evaluate.attacks=[fgsm]",
    "evaluate.eps=0.1",
    "evaluate.norm=Linf",
    "evaluate.images=null",
    "evaluate.batch_size=250",
)


@pytest.fixture
def run(tmp_path):
    """A run folder with a network of the digits."""
    write_network(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def evaluate(call_script, run):
    def call(*overrides):
        status, out, err = call_script("evaluate", *SMALL, f"run={run}", *overrides)
        assert status == 0, err
        return out

    return call


def stored(folder, name="robustness.json"):
    """The protocols as the file has them, the one last evaluated last."""
    return json.loads((folder / name).read_text())["protocols"]


def rights(folder):
    """How many images each row of a sweep has right, by attack and radius."""
    (only,) = stored(folder)
    return {(row["attack"], row["settings"]["eps"]): row["right"] for row in only["sweep"]}


def replace_weights(folder):
    path = folder / "network.safetensors"
    tensors = {name: value + 0.1 if value.is_floating_point() else value for name, value in load_file(path).items()}
    save_file(tensors, path)


@pytest.mark.parametrize(
    "changed",
    [
        "seed=1",
        "evaluate.eps=0.2",
        "data.test_limit=30",
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


def card_of(folder):
    export(folder, Experiment(), find(folder, None), ("safetensors",), None)
    return (folder / "model_card.md").read_text()


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


def test_the_report_shows_every_protocol_in_words_the_last_one_first(run):
    description = load_network(run).description
    for seed, right in ((0, 100), (3, 90)):
        experiment = Experiment(seed=seed, evaluate={"eps": 8 / 255, "attacks": ("pgd-20",)})
        write_robustness(run, description, [accuracy("clean", 190), accuracy("pgd-20", right)], experiment)
    page = run_report.write(run).read_text(encoding="utf-8")
    words = [f"ε\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}8/255 in Linf, 200 test images, seed {seed}" for seed in (3, 0)]
    first, second = (page.index(f'<th scope="row">{each}</th>') for each in words)
    assert first < second
    assert page.index("45.0", first) < second < page.index("50.0", second)
    assert f"The attacks by {words[1]}" in page
    assert all(f"<summary>Settings of evaluate by {each}</summary>" in page for each in words)
    table = run_report.table([run]).replace("\n  ", " ")
    assert "by another protocol, ε = 8/255 in Linf, 200 test images, seed 0: clean 95.0 %, pgd-20 50.0 %." in table


def test_the_commands_of_the_report_repeat_sweeps_by_several_attacks(run, evaluate, call_script):
    for attack in ("fgsm", "pgd-20"):
        evaluate("evaluate.attacks=[]", "evaluate.sweep=[0.05,0.1]", f"evaluate.sweep_attack={attack}")
    commands = [stage["command"] for stage in stages(read_run(run), []) if stage["name"] == "evaluate"]
    before = rights(run)
    (run / "robustness.json").unlink()
    assert len(commands) == 2
    for command in commands:
        status, _, err = call_script("evaluate", *shlex.split(command.replace("\\\n", " "))[2:])
        assert status == 0, err
    assert rights(run) == before
    assert len(before) == 4


def test_the_commands_of_the_report_repeat_every_protocol_the_last_one_last(run):
    description = load_network(run).description
    for seed in (3, 0):
        write_robustness(run, description, [accuracy("clean", 190)], Experiment(seed=seed))
    commands = [stage["command"] for stage in stages(read_run(run), []) if stage["name"] == "evaluate"]
    assert [re.search(r"\bseed=\d+", command)[0] for command in commands] == ["seed=3", "seed=0"]


@pytest.mark.parametrize("more", [(0, 1), (1, 0)], ids=["the last alone has it", "an earlier alone has it"])
def test_protocols_of_other_attacks_share_a_table_with_a_dash_where_one_was_not_measured(run, more):
    description = load_network(run).description
    for seed, has_more in enumerate(more):
        rows = [accuracy("clean", 190), *([accuracy("pgd-20", 100)] if has_more else [])]
        write_robustness(run, description, rows, Experiment(seed=seed))
    table = run_report.write(run).read_text(encoding="utf-8").partition("By protocol")[2].partition("</table>")[0]
    assert table.count("95.0") == 2
    assert table.count("50.0") == table.count("not measured") == 1


def write_first_version(folder):
    """robustness.json as it was before it held several protocols."""
    entry = evaluation_of(folder, load_network(folder).description, [accuracy("clean", 38, 40)])
    content = entry.model_dump(mode="json", exclude={"state_sha256"})
    content["settings"]["data"]["test_limit"] = 40
    write_json(folder / "robustness.json", content)
    return content


def test_figures_of_the_first_version_are_shown_with_a_remark_and_taken_for_no_weights(run, evaluate):
    content = write_first_version(run)
    page = run_report.write(run).read_text(encoding="utf-8")
    assert "did not record of which weights they are" in page
    assert "95.0" in page
    assert "Not measured: no robustness is claimed. The run" in card_of(run)
    evaluate("evaluate.eps=8/255")
    old, new = stored(run)
    assert (old["state_sha256"], old["attacks"]) == (None, content["attacks"])
    assert old["settings"]["seed"] == new["settings"]["seed"]
    assert [row["attack"] for row in new["attacks"]] == ["clean", "fgsm"]
    assert new["attacks"][0]["seconds"] != old["attacks"][0]["seconds"]


CONTRADICTIONS = {
    "more right than images": (lambda e: e["attacks"][0].update(right=201), "expected 0 <= right <= images"),
    "another accuracy": (lambda e: e["attacks"][0].update(accuracy=0.5), "expected an accuracy of 190 / 200"),
    "an interval elsewhere": (lambda e: e["attacks"][0].update(low=0.99), "expected 0 <= low <= 0.95 <= high <= 1"),
    "negative seconds": (lambda e: e["attacks"][0].update(seconds=-1), "expected seconds of at least 0"),
    "true for a number": (lambda e: e["attacks"][0].update(right=True), "right: Input should be a valid integer"),
    "classes that do not add up": (
        lambda e: e["attacks"][0].update(right_by_class=[1, 2, 3]),
        "expected right_by_class of at least 0 that add up to 190",
    ),
    "a row twice": (lambda e: e["attacks"].append(e["attacks"][0]), "attacks: expected each row once, found 'clean'"),
    "no clean row": (lambda e: e["attacks"].pop(0), "attacks: expected a row 'clean'"),
    "images that differ": (lambda e: e.update(sweep=[accuracy("fgsm", 3, 7).__dict__]), "expected 200 images in every"),
    "names without counts": (
        lambda e: e.update(classes={"names": ["a", "b"], "images": [200]}),
        "classes: expected images of each of 2 classes",
    ),
    "a digest that is none": (lambda e: e.update(state_sha256="0"), "state_sha256: String should match pattern"),
    "a corruption without a severity": (
        lambda e: e.update(corruptions=[accuracy("jpeg", 3).__dict__ | {"settings": {"corruption": "jpeg"}}]),
        "corruptions: expected settings.severity in every row",
    ),
    "a size that is missing": (lambda e: e["cost"].pop("parameters"), "cost: expected parameters,.*parameters missing"),
    "a machine without a name": (lambda e: e["environment"].pop("processor"), "environment: expected processor"),
    "an unknown key": (lambda e: e.update({"a\n\x1b[2J": 1}), r"protocols\.0\.a\\n\\x1b\[2J: Extra inputs are not"),
    "a setting out of range": (lambda e: e["settings"]["evaluate"].update(eps=-1), "settings.evaluate.eps: Input"),
    "a norm that is none": (lambda e: e["attacks"][1]["settings"].update(norm=[]), "norm: Input should be 'Linf' or"),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_figures_that_contradict_one_another_are_one_line_that_names_file_and_key(what, run):
    change, message = CONTRADICTIONS[what]
    write_robustness(run, load_network(run).description, [accuracy("clean", 190), accuracy("pgd-20", 100)])
    path = run / "robustness.json"
    content = json.loads(path.read_text())
    change(content["protocols"][0])
    path.write_text(json.dumps(content))
    for read in (lambda: read_robustness(path), lambda: read_run(run), lambda: card_of(run)):
        with pytest.raises(RunError, match=message) as caught:
            read()
        assert str(caught.value).startswith(f"{path} is not what evaluate.py writes: protocols.0")
        assert str(caught.value).isprintable()


def test_a_changed_buffer_changes_the_digest_of_a_network(run):
    network = load_network(run).network
    digest = load_network(run).state_sha256
    assert load_network(run).state_sha256 == digest
    with torch.no_grad():
        next(network.buffers()).add_(1e-3)
    assert type(load_network(run))(network.train(), load_network(run).description).state_sha256 != digest
