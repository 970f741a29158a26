"""Configurations: the shipped ones are complete, wrong ones are refused in plain words before any work."""

import re

import pytest
import yaml
from _app import CONF, Refused, compose_experiment, explain
from conftest import TINY

from pipeline.bilevel import derived_shape
from pipeline.objectives import bounds_of, check_attainable
from pipeline.settings import Experiment
from search_space import CostTable, NetworkShape, Supernet

OPTIONS = [
    (group.name, option.stem) for group in sorted(CONF.iterdir()) if group.is_dir() for option in group.glob("*.yaml")
]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_of_every_group_composes(group, option):
    extra = ["data.path=somewhere"] if (group, option) == ("data", "huggingface") else []
    assert isinstance(compose_experiment([f"{group}={option}", *extra]), Experiment)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_says_what_it_is_in_its_first_line(group, option):
    text = (CONF / group / f"{option}.yaml").read_text()
    comment = next(line for line in text.splitlines() if not line.startswith("# @package"))
    assert comment.startswith("# ")
    assert yaml.safe_load(text)


def test_paper_is_the_published_setting():
    paper = compose_experiment(["experiment=paper"])
    search, retrain = paper.search, paper.retrain
    assert (search.channels, search.layers, search.epochs, search.batch_size) == (16, 8, 50, 64)
    assert (search.derived_channels, search.derived_layers) == (36, 20)
    assert (retrain.channels, retrain.layers, retrain.epochs, retrain.batch_size) == (36, 20, 600, 96)
    assert (retrain.auxiliary_weight, retrain.drop_path, paper.data.cutout) == (0.4, 0.2, 16)
    optimizer = paper.weight_optimizer
    assert (optimizer.learning_rate, optimizer.momentum, optimizer.weight_decay, optimizer.clip) == (
        0.025,
        0.9,
        3e-4,
        5,
    )
    assert (search.alpha_learning_rate, search.alpha_betas, search.alpha_weight_decay) == (3e-4, (0.5, 0.999), 1e-3)
    assert (paper.attack.eps, paper.attack.step, paper.attack.steps) == (8 / 255, None, 7)  # eps / 4 is 2/255
    assert (retrain.attack.eps, retrain.attack.step, retrain.attack.steps) == (8 / 255, None, 10)
    assert paper.evaluate.eps == 8 / 255


@pytest.mark.parametrize(("name", "in_channels", "image_size"), [("paper", 3, 32), ("demo", 1, 8)])
def test_an_experiment_builds_its_supernet_and_has_bounds_that_can_be_met(name, in_channels, image_size):
    experiment = compose_experiment([f"experiment={name}"])

    class Data:
        num_classes = 10

    Data.in_channels, Data.image_size = in_channels, image_size
    shape = derived_shape(experiment, Data)
    assert isinstance(shape, NetworkShape)
    check_attainable(bounds_of(experiment.objectives), CostTable(experiment.space.build(), shape))
    supernet = Supernet(
        experiment.space.build(),
        channels=experiment.search.channels,
        layers=experiment.search.layers,
        in_channels=in_channels,
    )
    assert len(supernet.cells) == experiment.search.layers


@pytest.mark.parametrize("experiment", ["demo", "paper"])
@pytest.mark.parametrize("group", ["objectives", "attack", "weight_optimizer", "recipe"])
def test_every_option_of_a_group_goes_with_every_experiment(experiment, group):
    for name, option in OPTIONS:
        if name == group:
            order = ["search.order=first"] if option in ("adamw", "learned") else []
            compose_experiment([f"experiment={experiment}", f"{group}={option}", *order])


@pytest.mark.parametrize("option", ["fgsm", "fgsm_rs", "pgd7"])
def test_the_attack_of_retraining_does_not_change_with_that_of_the_search(option):
    attack = compose_experiment([f"attack={option}"]).retrain.attack
    assert (attack.name, attack.eps, attack.step, attack.steps) == ("pgd", 8 / 255, None, 10)


@pytest.mark.parametrize("overrides", [[], ["data=huggingface"], ["foo=1"]])
def test_help_never_ends_in_a_traceback(call_script, overrides):
    status, out, err = call_script("search", "--help", *overrides)
    assert (status, bool(out)) == (0, True) if not overrides else (2, False)
    assert "Traceback" not in err


def test_one_attack_radius_is_used_by_all_stages_unless_one_is_told_otherwise():
    experiment = compose_experiment(["attack.eps=4/255", "evaluate.eps=2/255"])
    assert experiment.attack.eps == experiment.retrain.attack.eps == 4 / 255
    assert experiment.evaluate.eps == 2 / 255


def test_help_explains_every_key():
    text = explain("", [])

    def leaves(model, prefix=""):
        for name, field in type(model).model_fields.items():
            value = getattr(model, name)
            if hasattr(type(value), "model_fields"):
                yield from leaves(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", field.description

    for key, description in leaves(Experiment()):
        assert description, f"{key} has no description"
        assert re.search(rf"^  {re.escape(key)}=", text, re.MULTILINE), key
        assert description in text


REFUSALS = [
    (["data.limt=3"], "unknown key data.limt; did you mean data.limit?"),
    (["foo=1"], "unknown key foo"),
    (["+search.foo=1"], "unknown key search.foo"),
    (["data=imagenet"], "Could not find 'data/imagenet' Available options in 'data': cifar10 digits huggingface"),
    (["experiment=none"], "Available options in 'experiment': collapse "),
    (["search.epochs=abc"], "search.epochs: Input should be a valid integer"),
    (["search.epochs=0"], "search.epochs: Input should be greater than 0, found 0"),
    (["search.layers=2"], "search.layers: Input should be greater than or equal to 3, found 2"),
    (["search.order=second"], "search.order: Input should be 'first', 'unrolled', 'neumann' or 'cg', found 'second'"),
    (["attack.eps=8"], "attack.eps: Input should be less than or equal to 1, found 8"),
    (["attack.eps=8/0"], "attack.eps: expected a number or a fraction such as 8/255"),
    (["attack.eps=nan"], "attack.eps: Input should be a finite number"),
    (["attack.eps=.nan"], "attack.eps: Input should be a valid number"),
    (["attack.name=cw"], "attack.name: Input should be 'pgd', 'fgsm' or 'fgsm_rs', found 'cw'"),
    (["data=huggingface"], "data.path names a folder or hub set"),
    (["data.test_split=train"], "are both train: nothing would be held out"),
    (["attack.step=0.1"], "leaves the ball of eps=0.03137; null is eps / 4"),
    (["attack=null"], "Config group override must be a string"),
    (["retrain=standard"], "retrain: this is a group of keys"),
    (["evaluate.attacks=fgsm"], "evaluate.attacks: expected a list, such as [a,b], found 'fgsm'"),
    (["evaluate.attacks=[fgsm,fgsm]"], "each attack is named once"),
    (["objectives.parameters=[30e3]"], "objectives.parameters.1: a value is missing here"),
    (["objectives.parameters=[null,-5]"], "objectives.parameters.1"),
    (["retrain.channels=5000"], "retrain.channels: Input should be less than or equal to 4096"),
    (["search.alpha_betas=[1,0.999]"], "search.alpha_betas.0: Input should be less than 1"),
    (["search.order=unrolled", "weight_optimizer=adamw"], "looks through a step of sgd"),
    (["run="], "run: String should have at least 1 character"),
    (["data.path=x"], "goes with data=huggingface, and only with it"),
    (["weight_optimizer.name=lamb"], "weight_optimizer.name: Input should be 'sgd', 'adamw' or 'learned'"),
    (["weight_optimizer.name=learned"], "needs weight_optimizer.theta: a shipped name, or a file"),
    (["weight_optimizer.theta=mlp"], "weight_optimizer.theta goes with name=learned; sgd has none"),
    (["search.order=unrolled", "weight_optimizer=learned"], "looks through a step of sgd"),
    (["search.order=cg", "weight_optimizer=learned"], "reads the learning rate and weight decay of the weights"),
    (["guard=skips_rollback", "weight_optimizer=learned"], "raises the weight decay of the weights"),
    (["weight_optimizer.learning_rate=1/0"], "expected a number or a fraction such as 8/255"),
    (["objectives.names=[]"], "at least one objective"),
    (["objectives.names=[parameters]", "objectives.macs=[null,null]"], "needs accuracy or robustness"),
    (["objectives.parameters=[5,3]"], "objectives.parameters: lower bound 5 is above upper bound 3"),
    (["objectives=accuracy", "objectives.macs=[1,2]"], "objectives.macs is bounded but macs is not among"),
    (["objectives.parameters=[null,null]"], "give objectives.parameters=[lower, upper]"),
    (["space.operations=[none]"], "at least one operation other than none"),
    (["space.operations=[conv_9x9]"], "space.operations.0: Input should be 'none', 'max_pool_3x3'"),
    (["space.nodes=0"], "space.nodes: Input should be greater than 0"),
    (["evaluate.attacks=[pgd-7]"], "evaluate.attacks.0: Input should be 'fgsm', 'pgd-20'"),
    (["fabric.devices=3"], "search.batch_size=64 cannot be shared evenly by 3 processes"),
    (["fabric.precision=16-mixed"], "fabric.precision: Input should be '32-true' or 'bf16-mixed'"),
    (["retrain.held_back=1"], "retrain.held_back: Input should be less than 1"),
    (["seed=-1"], "seed: Input should be greater than or equal to 0"),
    (["search.epochs=="], "Error parsing override 'search.epochs=='"),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSALS)
def test_a_wrong_configuration_is_refused_with_what_is_allowed(overrides, message):
    with pytest.raises(Refused, match=re.escape(message)):
        compose_experiment(overrides)


WORK_REFUSALS = [
    ("search", ["data.limt=3"], "unknown key data.limt"),
    ("search", ["objectives.parameters=[1,2]"], "no cell of this space meets objectives.parameters=[1, 2]"),
    ("search", ["search.batch_size=60"], "search.batch_size=60 is larger than a part of the training set"),
    ("search", ["data.limit=5000"], "asks for more than the 1437 images"),
    ("retrain", ["genotype=DARTS_V9"], "genotype=DARTS_V9 is not a published name (DARTS_V1, DARTS_V2"),
    ("retrain", ["genotype=DARTS_V2", "retrain.parameters=3"], "with one channel the network already has"),
    ("evaluate", [], "network.json does not exist"),
    ("export", [], "network.json does not exist"),
    ("report", [], "holds nothing to report"),
    ("export", ["fabric.devices=2"], "this script runs in one process"),
    ("demo", ["fabric.devices=2"], "this script runs in one process"),
]


@pytest.mark.parametrize(("script", "overrides", "message"), WORK_REFUSALS)
def test_a_script_refuses_before_any_work_with_one_message_and_writes_nothing(
    tmp_path, call_script, script, overrides, message
):
    folder = tmp_path / "run"
    status, out, err = call_script(script, *TINY, f"run={folder}", *overrides)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err
    assert not folder.exists()
