"""A run folder remembers the settings of its stages; the command line comes on top, and may not contradict them."""

import json
import shutil

import pytest

from e2rnas.cli import app
from e2rnas.cli.app import compose_experiment
from e2rnas.cli.composing import remembered
from e2rnas.cli.composing.remembered import given_keys
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.runs.settings_record import NOT_KEPT, keep_settings, kept_settings, leaves
from pipeline.search import search as search_stage
from pipeline.search.search import search
from pipeline.settings import Experiment
from pipeline.training.retrain import retrain
from tests.support.scripts import TINY
from tests.support.slowly import slowly

LARGER = [f"{key}layers" for key in ("search.", "search.derived_", "retrain.")]
LARGER += ["search.derived_channels", "retrain.channels"]
OWN = ("data.crop_padding=2", "evaluate.images=20", "evaluate.attacks=[fgsm]", "export.formats=[json]")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search and a retraining with settings that are nobody's defaults."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    experiment = compose_experiment([*TINY, *OWN, f"run={folder}"])
    data, fabric = load(experiment.data), make_fabric(experiment.fabric)
    genotype = search(folder, experiment, data, fabric)
    retrain(folder, experiment, data, fabric, name="mine", genotype=genotype)
    return folder


@pytest.fixture
def mine(finished, tmp_path):
    """A copy that may be written to, and is found from elsewhere."""
    return shutil.copytree(finished, tmp_path / "mine")


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def settings_in(path, *keys):
    content = json.loads(path.read_text())
    for key in keys:
        content = content[key]
    return content


def test_the_record_holds_every_setting_but_those_of_one_call(finished):
    experiment = compose_experiment([*TINY, *OWN, f"run={finished}"])
    expected = {key: value for key, value in leaves(experiment) if key not in NOT_KEPT}
    assert kept_settings(finished, "search") == expected
    assert not {"run", "compare", "evaluate.model", "evaluate.weights"} & set(expected)


def test_run_alone_suffices_for_every_stage(mine, call_script):
    before = files_of(mine)
    for script in ("search", "retrain"):
        assert call_script(script, f"run={mine}")[0] == 0  # both are finished: with other settings it would be refused
    assert files_of(mine) == before
    for script in ("evaluate", "export", "report"):
        status, _, err = call_script(script, f"run={mine}")
        assert status == 0, err
    rows = settings_in(mine / "robustness.json", "protocols", -1, "attacks")
    assert [(row["attack"], row["images"]) for row in rows] == [("clean", 20), ("fgsm", 20)]


def test_retraining_takes_the_settings_that_the_search_was_given(finished, tmp_path, call_script):
    for name in ("genotype.json", "search.json", "settings.json"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        shutil.copy(finished / name, tmp_path / "mine")
    status, _, err = call_script("retrain", f"run={tmp_path / 'mine'}", "retrain.epochs=1")
    assert status == 0, err
    expected = settings_in(finished / "network.json", "training", "settings")
    expected["retrain"]["epochs"] = 1
    assert settings_in(tmp_path / "mine" / "network.json", "training", "settings") == expected
    kept = kept_settings(tmp_path / "mine", "retrain")
    assert kept["retrain.epochs"] == 1
    assert kept_settings(tmp_path / "mine", "search")["retrain.epochs"] == 2


def test_a_search_that_was_stopped_goes_on_without_being_told_again(finished, tmp_path, monkeypatch, call_script):
    def stop(*arguments):
        raise FloatingPointError("as if it had been killed")

    with monkeypatch.context() as patch:
        patch.setattr(search_stage, "_candidates_tried", stop)
        assert call_script("search", *TINY, *OWN, f"run={tmp_path / 'run'}")[0] == 1
    assert not (tmp_path / "run" / "search.json").exists()
    status, _, err = call_script("search", f"run={tmp_path / 'run'}")
    assert status == 0, err
    for name in ("genotype.json", "alphas.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()


def test_a_published_cell_is_remembered_by_the_stage_that_was_given_it(tmp_path, call_script):
    experiment = compose_experiment([*TINY, f"run={tmp_path}", "genotype=DARTS_V2"])
    keep_settings(tmp_path, "retrain", experiment)
    assert kept_settings(tmp_path, "retrain")["genotype"] == "DARTS_V2"
    assert "genotype" not in kept_settings(tmp_path, "evaluate")
    status, _, err = call_script("retrain", f"run={tmp_path}")
    assert status == 0, err
    assert settings_in(tmp_path / "network.json", "name") == "DARTS_V2"


REFUSED = [
    ("search", "search.epochs=3", "search.epochs was 2, is 3"),
    ("retrain", "search.epochs=3", "search.epochs: {mine} was searched with 2, the command line says 3; leave it out"),
    ("retrain", "space.nodes=3", "space.nodes: {mine} was searched with 2, the command line says 3"),
    ("retrain", "retrain.epochs=3", "retrain.epochs was 2, is 3"),
    (
        "retrain",
        "data=huggingface data.path=x/mnist",
        "data.name: {mine} was searched on digits, the command line says mnist; choose another run= ",
    ),
    ("evaluate", "retrain.layers=4", "retrain.layers: {mine} was trained with 3, the command line says 4"),
    ("evaluate", "objectives.names=[accuracy]", "objectives.names: {mine} was searched with ['accuracy', "),
    ("export", "search.layers=4", "search.layers: {mine} was searched with 3, the command line says 4"),
]


@pytest.mark.parametrize(("script", "overrides", "says"), REFUSED, ids=[f"{case[0]} {case[1]}" for case in REFUSED])
def test_what_contradicts_an_earlier_stage_is_refused_with_both_values(mine, call_script, script, overrides, says):
    before = files_of(mine)
    extra = ["objectives.parameters=[null,null]", "objectives.macs=[null,null]"] if "names" in overrides else []
    status, out, err = call_script(script, f"run={mine}", *overrides.split(), *extra)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert says.format(mine=mine) in err
    assert files_of(mine) == before


FREE = [
    "seed=7",
    "attack.eps=0.3",
    "data.limit=null",
    *slowly("evaluate.norm=L2", "search.epochs=2", "fabric.threads=1"),
]


@pytest.mark.parametrize("override", FREE)
def test_what_an_evaluation_may_choose_anew_is_not_refused(mine, call_script, override):
    status, _, err = call_script("evaluate", f"run={mine}", override, "evaluate.attacks=[]")
    assert status == 0, err


def evaluated_eps(folder, *overrides):
    given = [f"run={folder}", *overrides]
    config = app.composed(given)
    remembered.fill(config, given, "evaluate", one_process=False)
    return app.validated(config).evaluate.eps


def test_a_radius_follows_that_of_the_attack_unless_it_was_given_one_of_its_own(mine):
    assert evaluated_eps(mine) == 0.1
    assert evaluated_eps(mine, "attack.eps=0.2") == 0.2
    assert evaluated_eps(mine, "evaluate.eps=0.05", "attack.eps=0.2") == 0.05
    record = json.loads((mine / "settings.json").read_text())
    record["stages"]["retrain"]["evaluate"]["eps"] = 0.05
    (mine / "settings.json").write_text(json.dumps(record))
    assert evaluated_eps(mine, "attack.eps=0.3") == 0.05
    assert evaluated_eps(mine, "attack.eps=0.3", "evaluate.eps=${attack.eps}") == 0.3


def test_what_one_evaluation_was_asked_for_is_not_asked_of_the_next(mine, call_script):
    before = kept_settings(mine, "evaluate")
    assert call_script("evaluate", f"run={mine}", "evaluate.attacks=[]", "seed=7", "evaluate.eps=0.3")[0] == 0
    assert kept_settings(mine, "evaluate") == before


def test_a_folder_without_a_record_gives_what_its_results_name(mine, call_script):
    (mine / "settings.json").unlink()
    for script in ("search", "retrain"):
        status, _, err = call_script(script, f"run={mine}", "evaluate.attacks=[]", "fabric.accelerator=cpu")
        assert status == 0, err
    status, _, err = call_script("evaluate", f"run={mine}", "evaluate.attacks=[]", "evaluate.images=20")
    assert status == 0, err
    assert kept_settings(mine, "evaluate")["data.crop_padding"] == 2


def spoiled(record, how):
    stage = record["stages"]["search"]
    if how == "an unknown key":
        stage["search"]["speed"] = 3
    elif how == "an unknown group":
        stage["quantum"] = {"bits": 3}
    elif how == "a value out of range":
        stage["search"]["epochs"] = -1
    elif how == "a word for a number":
        stage["search"]["epochs"] = "2"
    elif how == "a group that is a number":
        stage["search"] = 3
    elif how == "a newer version":
        record["version"] = 2
    elif how == "an unknown stage":
        record["stages"]["dance"] = {}
    elif how == "a look-up":
        stage["data"]["name"] = "${oc.env:HOME}"
    return record


SPOILT = {
    "an unknown key": "search: search.speed: Extra inputs are not permitted",
    "an unknown group": "search: quantum: Extra inputs are not permitted",
    "a value out of range": "search: search.epochs: Input should be greater than 0, found -1",
    "a word for a number": "search: search.epochs: expected 2, found '2'; it was changed, or is of another version",
    "a group that is a number": "search: search: Input should be an object, found 3",
    "a newer version": "version: Input should be 1, found 2",
    "an unknown stage": "stages.dance",
    "a look-up": "data.name holds ${...}, which is for the command line alone",
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_record_that_was_changed_is_one_line_that_names_it(mine, call_script, how):
    record = json.loads((mine / "settings.json").read_text())
    (mine / "settings.json").write_text(json.dumps(spoiled(record, how)))
    before = files_of(mine)
    status, out, err = call_script("search", f"run={mine}")
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith(f"error: {mine / 'settings.json'}")
    assert SPOILT[how] in err
    assert "$HOME" not in err
    assert files_of(mine) == before


def test_code_that_a_record_names_is_not_run(mine, call_script):
    record = json.loads((mine / "settings.json").read_text())
    record["stages"]["retrain"]["evaluate"]["model"] = "antigravity:fly"
    (mine / "settings.json").write_text(json.dumps(record))
    status, _, err = call_script("evaluate", f"run={mine}")
    assert status == 0, err
    assert settings_in(mine / "robustness.json", "protocols", -1, "network", "name") == "mine"


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        ((), set()),
        (("seed=3", "search.guard.action=stop"), {"seed", "search.guard.action"}),
        (("search.guard={action: stop, window: 3}",), {"search.guard.action", "search.guard.window"}),
        (("evaluate.attacks=[fgsm]", "+data.limit=3"), {"evaluate.attacks", "data.limit"}),
        (("data=digits",), {"data"}),
        (("attack=fgsm", "recipe=trades"), {"attack", "retrain.recipe", "retrain.beta", "retrain.check_overfitting"}),
        (("balance=mgda",), {"objectives.balance.name", "objectives.balance.normalisation"}),
        (("space=nasbench201",), {"space.family", "space.nodes", "space.operations", *LARGER}),
    ],
)
def test_keys_that_a_command_line_gives_are_those_of_its_groups_too(overrides, keys):
    assert set(given_keys(overrides)) >= keys
    if "recipe=trades" not in overrides:
        assert set(given_keys(overrides)) == keys


def test_an_option_of_a_group_undoes_all_that_another_one_sets():
    assert {"search.partial_channels", "search.relaxation.zero_one"} <= set(given_keys(["relaxation=softmax"]))
    assert set(given_keys(["guard=none"])) == set(given_keys(["guard=robust_darts_rollback"]))


def test_an_experiment_gives_the_keys_of_the_files_that_it_builds_on():
    keys = set(given_keys(["experiment=pareto_demo"]))
    assert {"pareto.points", "retrain.layers", "data", "objectives", "weight_optimizer", "retrain.recipe"} <= keys
    assert not {"seed", "search", "retrain", "search.order"} & keys


def test_every_setting_is_kept_and_found_again(tmp_path):
    experiment = Experiment(run=str(tmp_path), seed=5)
    keep_settings(tmp_path, "pareto", experiment)
    assert kept_settings(tmp_path, "retrain")["seed"] == 5
    assert kept_settings(tmp_path, "meta_train") == {}
