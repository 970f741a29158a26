"""Evaluation through its script: norms, radii, classes, corruptions, own modules and transfer, on real images."""

import hashlib
import importlib
import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.data import load
from pipeline.evaluation.accuracy import Accuracy
from pipeline.evaluation.stored_evaluation import read_robustness
from pipeline.evaluation.transfer import load_models
from pipeline.runs.files import write_json
from pipeline.settings import DataSettings
from tests.support.runs.evaluated import THEIRS, images_of
from tests.support.scripts import TINY

pytestmark = pytest.mark.usefixtures("importable")


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def evaluate(call_script, run):
    def call(*overrides):
        status, out, err = call_script("evaluate", *THEIRS, f"run={run}", "evaluate.attacks=[]", *overrides)
        assert status == 0, err
        return out

    return call


def stored(folder):
    """The protocol last evaluated, as it is stored."""
    return json.loads((folder / "robustness.json").read_text())["protocols"][-1]


def last(folder):
    return read_robustness(folder / "robustness.json")[0]


def test_rows_by_class_add_up_to_all_and_are_those_of_the_network(run, evaluate):
    evaluate("evaluate.attacks=[pgd-20]")
    content = stored(run)
    assert content["classes"]["names"] == [str(digit) for digit in range(10)]
    assert sum(content["classes"]["images"]) == 40
    for row in content["attacks"]:
        assert sum(row["right_by_class"]) == row["right"]
        assert all(np.less_equal(row["right_by_class"], content["classes"]["images"]))
    images, labels = images_of("test")
    with torch.no_grad():
        right = importlib.import_module("their_models").fitted()(images).argmax(1) == labels
    expected = [int(right[labels == digit].sum()) for digit in range(10)]
    assert content["attacks"][0]["right_by_class"] == expected
    assert sum(expected) >= 30


def test_a_sweep_starts_at_clean_falls_with_the_radius_and_ends_at_nothing(run, evaluate):
    out = evaluate("evaluate.sweep=[0.5,1e-6,0.1]", "evaluate.attacks=[pgd-20]")
    rows = last(run).sweep
    assert [row.settings["eps"] for row in rows] == [1e-6, 0.1, 0.5]
    clean, at_eps = last(run).attacks
    assert rows[0].right == clean.right
    assert rows[1].right == at_eps.right  # the same attack: measured once
    assert rows[0].right > rows[1].right > rows[2].right
    assert rows[2].right <= 4
    assert "pgd-20 eps 0.5" in out


def test_in_l2_the_norm_is_in_every_row_and_restarts_of_what_has_them(run, evaluate):
    names = ["pgd-20", "pgd-20-targeted", "cw", "apgd-ce"]
    evaluate("evaluate.norm=L2", "evaluate.eps=0.5", "evaluate.restarts=2", f"evaluate.attacks=[{','.join(names)}]")
    clean, *rows = last(run).attacks
    assert [(row.attack, row.settings["norm"], row.settings["eps"]) for row in rows] == [(n, "L2", 0.5) for n in names]
    assert [row.settings["restarts"] for row in rows] == [2, 2, 1, 2]
    assert max(row.right for row in rows) < clean.right


def test_corruptions_are_measured_on_all_images_and_named_with_their_strength(run, evaluate):
    evaluate("evaluate.corruptions=[gaussian_noise,jpeg]")
    rows = last(run).corruptions
    assert [row.attack for row in rows] == [f"{name}-{s}" for name in ("gaussian_noise", "jpeg") for s in range(1, 6)]
    assert [row.settings["quality"] for row in rows[5:]] == [80, 65, 58, 50, 40]
    assert rows[0].settings["deviation"] == 0.04
    assert rows[4].images == 40
    assert rows[4].right <= rows[0].right + 2


def test_everything_that_is_known_is_kept_and_nothing_is_measured_twice(run, evaluate):
    evaluate("evaluate.attacks=[fgsm]", "evaluate.corruptions=[contrast]", "evaluate.sweep=[0.2]")
    before = stored(run)
    evaluate("evaluate.attacks=[pgd-20]", "evaluate.corruptions=[brightness]", "evaluate.sweep=[0.05]")
    after = stored(run)
    assert [row["attack"] for row in after["attacks"]] == ["clean", "fgsm", "pgd-20"]
    assert after["attacks"][:2] == before["attacks"]  # the seconds too
    assert after["sweep"][1] == before["sweep"][0]
    assert after["corruptions"][:5] == before["corruptions"]
    assert len(after["corruptions"]) == 10
    evaluate("evaluate.attacks=[pgd-20]", "evaluate.restarts=3")
    assert [row["attack"] for row in stored(run)["attacks"]] == ["clean", "pgd-20"]  # another evaluation


def test_a_sweep_of_another_attack_stays(run, evaluate):
    out = evaluate("evaluate.sweep=[0.2,0.05]", "evaluate.sweep_attack=fgsm")
    assert [" ".join(line.split()[:3]) for line in out.splitlines() if "eps" in line] == [
        "fgsm eps 0.05",
        "fgsm eps 0.2",
    ]
    before = stored(run)["sweep"]
    out = evaluate("evaluate.sweep=[0.1]")
    assert [" ".join(line.split()[:3]) for line in out.splitlines() if "eps" in line] == ["pgd-20 eps 0.1"]
    after = stored(run)["sweep"]
    assert after[:2] == before
    assert [(row["attack"], row["settings"]["eps"]) for row in after[2:]] == [("pgd-20", 0.1)]
    evaluate()
    assert stored(run)["sweep"] == after


def test_a_factory_whose_weights_changed_is_measured_anew(theirs, run, evaluate):
    file = theirs / "theirs.safetensors"
    weights, content = load_file(file), file.read_bytes()
    evaluate()
    before = stored(run)
    evaluate()
    assert stored(run)["attacks"] == before["attacks"]  # the seconds too: it is the same module
    try:
        save_file({name: -value for name, value in weights.items()}, file)
        evaluate()
    finally:
        file.write_bytes(content)
    after = stored(run)
    assert after["network"]["factory"] == before["network"]["factory"]
    assert after["network"]["state_sha256"] != before["network"]["state_sha256"]
    assert after["attacks"][0]["right"] < 10 < before["attacks"][0]["right"]


def test_a_robustness_json_of_before_is_read_and_continued(run, evaluate):
    evaluate("evaluate.attacks=[fgsm]")
    content = stored(run)
    for key in ("state_sha256", "classes", "sweep", "checks", "check_rows", "corruptions", "environment"):
        del content[key]
    old = ("attacks", "eps", "cw_radius", "images", "batch_size")
    content["settings"]["evaluate"] = {key: content["settings"]["evaluate"][key] for key in old}
    for row in content["attacks"]:
        del row["right_by_class"]
        row["seconds"] = 123.0
    write_json(run / "robustness.json", content)
    assert [row.right_by_class for row in last(run).attacks] == [(), ()]
    evaluate("evaluate.attacks=[fgsm,pgd-20]")
    assert [row.seconds == 123 for row in last(run).attacks] == [True, True, False]


@pytest.mark.parametrize("content", ["[]", "{}", '{"settings": {}, "network": {}, "attacks": [{"nonsense": 1}]}', "{"])
def test_a_robustness_json_of_something_else_is_refused_in_one_line(content, run, call_script):
    run.mkdir()
    (run / "robustness.json").write_text(content)
    with pytest.raises(ValueError, match=r"robustness\.json is not"):
        last(run)
    status, _, err = call_script("evaluate", *THEIRS, f"run={run}", "evaluate.attacks=[]")
    assert (status, err.count("\n")) == (2, 1)
    assert "robustness.json is not" in err
    assert "evaluate.replace=true begins it anew and keeps the old file beside it" in err


@pytest.mark.usefixtures("few_queries")
def test_the_verdict_is_printed_and_stored(run, evaluate):
    out = evaluate("evaluate.checks=true", "evaluate.attacks=[pgd-20]")
    checks = stored(run)["checks"]
    assert out.splitlines()[-1] == checks["verdict"]
    assert {check["name"] for check in checks["checks"]} >= {"large radius", "black box", "transfer"}
    assert all(check["reason"] for check in checks["checks"])
    surrogate = stored(run)["check_rows"][-1]
    assert surrogate["settings"]["surrogate"]["steps"] == 300
    assert surrogate["right"] >= next(row for row in stored(run)["check_rows"] if row["attack"] == "pgd-20")["right"]


@pytest.mark.slow  # the one above has the surrogate that is trained for it
@pytest.mark.usefixtures("few_queries")
def test_another_run_can_be_the_surrogate(run, trained, evaluate):
    evaluate("evaluate.checks=true", f"evaluate.surrogate={trained}")
    first = stored(run)["check_rows"][-1]
    assert first["settings"]["surrogate"]["name"] == "PDARTS"
    evaluate("evaluate.checks=true")
    rows = stored(run)["check_rows"]
    assert [row["attack"] for row in rows].count(first["attack"]) == 1
    assert rows[-1] != first


def test_a_users_own_module_is_evaluated_with_its_weights(theirs, run, call_script):
    status, out, err = call_script(
        "evaluate",
        *TINY,
        f"run={run}",
        "evaluate.model=their_models:Linear",
        "evaluate.model_arguments={scale: 2.0}",
        f"evaluate.weights={theirs / 'theirs.safetensors'}",
    )
    assert status == 0, err
    content = stored(run)
    network = content["network"]
    assert (network["format"], network["factory"]) == ("module", "their_models:Linear")
    assert network["arguments"] == {"scale": 2}
    assert network["sha256"] == hashlib.sha256((theirs / "theirs.safetensors").read_bytes()).hexdigest()
    assert content["cost"]["parameters"] == 650
    assert content["cost"]["conv_linear_macs"] == content["cost"]["thop_macs"] == 640
    assert content["attacks"][0]["right"] >= 30
    assert "clean" in out
    status, out, err = call_script("report", *TINY, f"run={run}")
    assert status == 0, err


@pytest.mark.slow
@pytest.mark.usefixtures("drawn")
def test_the_diagonal_of_the_transfer_matrix_is_robust_accuracy_and_the_rest_is_above(
    trained, tmp_path, run, evaluate, call_script
):
    models = ["their_models:fitted", "their_models:mirrored", str(trained)]
    chosen = ["data.limit=null", f"run={tmp_path / 'matrix'}", f"evaluate.models=[{','.join(models)}]"]
    status, out, err = call_script("evaluate", *TINY, *chosen)
    assert status == 0, err
    (content,) = json.loads((tmp_path / "matrix" / "transfer.json").read_text())["protocols"]
    names = [model["name"] for model in content["models"]]
    assert names == ["fitted", "mirrored", "PDARTS"]
    rows = {(row["made_on"], row["tried_on"]): row["right"] for row in content["rows"]}
    clean = {row["tried_on"]: row["right"] for row in content["clean"]}
    assert len(rows) == 9
    assert rows["fitted", "fitted"] < rows["mirrored", "fitted"] < clean["fitted"]
    assert all(rows[made_on, tried_on] <= clean[tried_on] for made_on, tried_on in rows)
    evaluate("evaluate.attacks=[pgd-20]")
    assert abs(last(run).attacks[1].right - rows["fitted", "fitted"]) <= 1  # other random starts
    assert (tmp_path / "matrix" / "figures" / "transfer.png").read_bytes().startswith(b"\x89PNG")
    assert len(out.splitlines()) >= 9


def test_networks_of_one_name_are_called_as_they_were_given(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    given = [str(trained), str(tmp_path / "copy")]
    assert list(load_models(given, load(DataSettings(test_limit=40)))) == given


def test_an_accuracy_survives_json():
    row = Accuracy("fgsm", {"eps": 0.1}, 3, 4, 0.75, 0.3, 0.95, 1.0, (1, 2))
    assert Accuracy.of(json.loads(json.dumps(asdict(row)))) == row
