"""The page and the table show every protocol, and its commands repeat each."""

import json
import re
import shlex

import pytest

from pipeline.errors import RunError
from pipeline.evaluation.stored_evaluation import read_robustness
from pipeline.networks.network_files import load_network
from pipeline.report import run_report
from pipeline.report.reproduction import stages
from pipeline.report.run_reader import read_run
from pipeline.runs.files import write_json
from pipeline.settings import Experiment
from tests.support.runs.folders import accuracy, evaluation_of, write_robustness
from tests.support.runs.protocols import card_of, stored


def rights(folder):
    """How many images each row of a sweep has right, by attack and radius."""
    (only,) = stored(folder)
    return {(row["attack"], row["settings"]["eps"]): row["right"] for row in only["sweep"]}


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
