"""Configurations: the shipped ones are complete, wrong ones are refused in plain words before any work."""

import itertools
import re

import pytest
import torch
import yaml

from e2rnas.cli.app import CONF, compose_experiment, explain
from e2rnas.cli.composing.groups import groups, options
from pipeline.data import ImageData
from pipeline.data.images import Images
from pipeline.search.objectives import bounds_of, check_attainable, derived_shape
from pipeline.settings import Experiment
from search_space import CostTable, NetworkShape, Supernet
from tests.support.runs.fake_loggers import FakeMlflow, FakeWandb, install
from tests.support.slowly import slowly

OPTIONS = [(group, option) for group in groups() for option in options(group)]
FILES = sorted(CONF.glob("*/*.yaml"))


def composed_of(chosen):
    """The experiment of the given options, {group: option}."""
    extra = ["data.path=somewhere"] if chosen.get("data") == "huggingface" else []
    return compose_experiment([*(f"{group}={option}" for group, option in chosen.items()), *extra])


@pytest.fixture(autouse=True)
def _loggers_are_installed(monkeypatch):
    for package in (FakeWandb(), FakeMlflow()):
        install(monkeypatch, package)


EXPERIMENTS = options("experiment")
GROUPS = [group for group in groups() if group != "experiment"]
ROWS = [
    {group: option for group, option in zip(GROUPS, row, strict=True) if option}
    for row in itertools.zip_longest(*(options(group) for group in GROUPS))
]


@pytest.mark.parametrize("chosen", [*ROWS, *({"experiment": name} for name in EXPERIMENTS)], ids=str)
def test_every_option_of_every_group_composes(chosen):
    """With options of other groups, as a composition takes a third of a second."""
    assert isinstance(composed_of(chosen), Experiment)


@pytest.mark.slow
@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_alone(group, option):
    assert isinstance(composed_of({group: option}), Experiment)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_every_file_of_an_option_says_what_it_is_in_its_first_line(path):
    text = path.read_text()
    comment = next(line for line in text.splitlines() if not line.startswith("# @package"))
    assert comment.startswith("# ")
    assert yaml.safe_load(text) or "what holds by default." in text.lower()


def test_the_table_of_search_spaces_has_a_row_for_each():
    rows = re.findall(r"^\| `(\w+)` \|", (CONF.parent / "docs/how_to/search_spaces.md").read_text(), re.MULTILINE)
    assert sorted(rows) == options("space")


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
    assert (retrain.average_decay, retrain.label_smoothing) == (0.9995, 0)


@pytest.mark.parametrize(("name", "in_channels", "image_size"), [("paper", 3, 32), ("demo", 1, 8)])
def test_an_experiment_builds_its_supernet_and_has_bounds_that_can_be_met(name, in_channels, image_size):
    experiment = compose_experiment([f"experiment={name}"])

    images = Images(torch.zeros(10, in_channels, image_size, image_size, dtype=torch.uint8), torch.arange(10))
    shape = derived_shape(experiment, ImageData("ten", images, images, tuple("0123456789")))
    assert isinstance(shape, NetworkShape)
    check_attainable(bounds_of(experiment.objectives), CostTable(experiment.space.build(), shape))
    supernet = Supernet(
        experiment.space.build(),
        channels=experiment.search.channels,
        layers=experiment.search.layers,
        in_channels=in_channels,
    )
    assert len(supernet.cells) == experiment.search.layers


@pytest.mark.parametrize("experiment", ["demo", *slowly("paper")])
def test_every_option_of_a_group_goes_with_every_experiment(experiment):
    """With options of other groups, as a composition takes a third of a second."""
    groups_of_methods = ("objectives", "attack", "weight_optimizer", "recipe")
    for row in itertools.zip_longest(*(options(group) for group in groups_of_methods)):
        chosen = {group: option for group, option in zip(groups_of_methods, row, strict=True) if option}
        # only a search of the first order goes with these two
        order = ["search.order=first"] if chosen.get("weight_optimizer") in ("adamw", "learned") else []
        found = compose_experiment([f"experiment={experiment}", *(f"{g}={o}" for g, o in chosen.items()), *order])
        assert found.retrain.recipe == chosen.get("recipe", found.retrain.recipe)


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
    text = explain("search", [], everything=True)

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
