"""What docs/architecture.md says about adding an option: its examples work once registered, and an entry is enough."""

import dataclasses
import re
import runpy
import subprocess
import sys
import types
from types import MappingProxyType

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attacks import evaluation_attack, training_attack
from attacks.registry import EVALUATION_ATTACKS, TRAINING_ATTACKS, EvaluationAttack, TrainingAttack
from mgda import balance
from mgda.registry import BALANCES, BalanceOption
from pipeline.options.objectives import OBJECTIVES, ObjectiveOption
from pipeline.options.recipes import RECIPES, Recipe
from pipeline.presentation.words import named, recipe_in_words
from pipeline.search.balancing import make_aggregator
from pipeline.search.supernet_losses import SupernetLosses
from pipeline.settings import BalanceSettings, ObjectiveSettings, RetrainSettings
from pipeline.training.recipes import Outputs
from search_space import CostTable, Network, NetworkShape, SearchSpace, Supernet, network_cost
from search_space.cells.genotype import OPERATION_NAMES
from search_space.network.operations import OPERATIONS
from tests.support.scripts import ROOT

DOCUMENT = (ROOT / "docs/architecture.md").read_text()
EXAMPLES = dict(re.findall(r"\n### ([^\n]+)\n(?:(?!\n##).)*?```python\n(.*?)```", DOCUMENT, re.DOTALL))


WRITE_OPTIONS = runpy.run_path(str(ROOT / "docs/write_options.py"))


@pytest.fixture
def example(monkeypatch):
    """What the section's Python defines as `name`, and the "module:name" by which an entry finds it."""

    def defined(heading, name):
        module = types.ModuleType("added")
        exec(EXAMPLES[heading], vars(module))  # noqa: S102 - the project's own text
        monkeypatch.setitem(sys.modules, "added", module)
        return f"added:{name}"

    return defined


def register(monkeypatch, registry, with_entry):
    """Put a registry with one entry more in the place of every name that stands for it."""
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "search_space"]:
        for name in [name for name, value in vars(module).items() if value is registry]:
            monkeypatch.setattr(module, name, with_entry)


def test_an_added_operation_is_searched_derived_measured_and_trained(monkeypatch, example):
    example("A search operation", "blurred")
    factory = sys.modules["added"].blurred
    register(monkeypatch, OPERATIONS, MappingProxyType({**OPERATIONS, "blurred": factory}))
    register(monkeypatch, OPERATION_NAMES, (*OPERATION_NAMES, "blurred"))
    space = SearchSpace(2, ("skip_connect", "blurred"))
    supernet = Supernet(space, channels=4, layers=3, num_classes=3, in_channels=1)
    logits = supernet(torch.rand(2, 1, 8, 8))
    (slope,) = torch.autograd.grad(logits.square().sum(), supernet.alphas)
    assert slope[..., 1].any()
    with torch.no_grad():
        supernet.alphas[..., 1] += 5
    genotype = supernet.derive()
    assert genotype.operations == {"blurred"}
    network = Network(genotype, channels=4, layers=3, num_classes=3, in_channels=1)
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 3)
    shape = NetworkShape(channels=4, layers=3, num_classes=3, image_size=8, in_channels=1)
    parameters = sum(weight.numel() for weight in network.parameters())
    assert network_cost(genotype, **dataclasses.asdict(shape)).parameters == parameters
    assert CostTable(space, shape).exact(genotype)[0] == parameters


def test_an_added_objective_is_a_loss_and_has_a_preference_and_a_name(monkeypatch, example):
    added = ObjectiveOption(label="smooth", meaning="half as bright", code=example("An objective", "smooth_loss"))
    monkeypatch.setitem(OBJECTIVES, "smooth_loss", added)
    assert ObjectiveSettings(names=("accuracy", "smooth_loss")).names == ("accuracy", "smooth_loss")
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    batch = types.SimpleNamespace(images=torch.rand(8, 1, 4, 4), labels=torch.arange(8) % 3)
    fabric = types.SimpleNamespace(autocast=torch.enable_grad)
    losses = SupernetLosses(network, lambda batch: batch.images, fabric, adversarial_fraction=0.0).validation(batch)
    assert list(losses) == ["accuracy", "robustness", "smooth_loss"]
    assert losses["smooth_loss"]() == F.cross_entropy(network(batch.images / 2), batch.labels)
    assert named("smooth_loss") == "smooth"


def test_an_added_attack_is_run_in_training_and_in_evaluation(monkeypatch, example):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 3
    added = TrainingAttack(label="MI-FGSM", meaning="by momentum", code=example("An attack", "momentum_pgd"))
    monkeypatch.setitem(TRAINING_ATTACKS, "momentum_pgd", added)
    longer = EvaluationAttack(label="pgd-50", meaning="50 steps", classes=("PGD",), steps=50)
    monkeypatch.setitem(EVALUATION_ATTACKS, "pgd-50", longer)
    attacks = (
        training_attack("momentum_pgd", network, eps=0.1, step=0.05, steps=3),
        evaluation_attack("pgd-50", network, eps=0.1, num_classes=3),
    )
    for attack in attacks:
        attacked = attack(images, labels)
        assert (attacked - images).abs().max() <= 0.1 + 1e-6
        assert F.cross_entropy(network(attacked), labels) > F.cross_entropy(network(images), labels)


def test_an_added_recipe_trains_and_is_said_in_words(monkeypatch, example):
    code = example("A recipe", "logit_pairing")
    recipe = Recipe(
        label="ALP", meaning="", code=code, attack="given", words="by ALP under {attack}", settings={"beta": 0.5}
    )
    monkeypatch.setitem(RECIPES, "pairing", recipe)
    assert recipe.attack_name("pgd") == "pgd"
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images, labels = torch.rand(6, 1, 2, 2), torch.arange(6) % 2
    loss, outputs = recipe.load()(lambda x: Outputs(network(x)), images, images + 0.1, labels, recipe.beta)
    without, _ = recipe.load()(lambda x: Outputs(network(x)), images, images + 0.1, labels, 0.0)
    assert loss > without == F.cross_entropy(outputs.logits, labels)
    assert recipe_in_words(RetrainSettings(recipe="pairing").model_dump()) == "by ALP under PGD-10"


def test_an_added_balance_gives_the_direction_and_its_weights(monkeypatch, example):
    added = BalanceOption(label="mean", meaning="the mean gradient", code=example("A balance", "MeanGradient"))
    monkeypatch.setitem(BALANCES, "mean", added)
    aggregator = make_aggregator(ObjectiveSettings(balance=BalanceSettings(name="mean")), seed=0)
    gradients = {"accuracy": torch.tensor([3.0, 0.0]), "robustness": torch.tensor([0.0, 5.0])}
    found = balance(gradients, aggregator=aggregator)
    assert found.direction.tolist() == [0.5, 0.5]
    assert found.weights == {"accuracy": 0.5, "robustness": 0.5}


ONE_ENTRY = """
from dataclasses import replace
import sys
from attacks.registry import EVALUATION_ATTACKS, TRAINING_ATTACKS
from learned_optimizers import ARCHITECTURES
from mgda.registry import BALANCES
from pipeline.options.guards import GUARD_RULES
from pipeline.options.objectives import OBJECTIVES
from pipeline.options.recipes import RECIPES
from search_space.cells.families import FAMILIES
from search_space.supernet.relaxation_choices import OPERATION_WEIGHTS

registries = (TRAINING_ATTACKS, EVALUATION_ATTACKS, ARCHITECTURES, BALANCES, GUARD_RULES, OBJECTIVES, RECIPES, FAMILIES,
              OPERATION_WEIGHTS)
for registry in registries:
    registry["made_up"] = replace(next(iter(registry.values())), label="Made Up", meaning="a made-up option")

from e2rnas.cli.app import compose_experiment, explain
from e2rnas.cli.composing.config_errors import Refused
text = explain("search", ["balance=made_up", "attack=made_up", "recipe=made_up", "relaxation=made_up"], everything=True)
for key in ("objectives.balance.name", "attack.name", "retrain.recipe", "search.relaxation.operations"):
    assert f"{key}=made_up" in text, key
assert text.count("made_up: a made-up option") >= len(registries)
compose_experiment(["objectives=robust", "objectives.names=[made_up]", "objectives.preferences.made_up=2",
                    "evaluate.attacks=[made_up]", "search.guard.rule=made_up", "space.family=made_up",
                    "meta.architecture=made_up"])
for key in ("objectives.balance.name", "search.guard.rule", "evaluate.sweep_attack", "retrain.recipe"):
    try:
        compose_experiment([f"{key}=unknown"])
    except Refused as refused:
        assert f"{key}: expected one of " in str(refused) and ", made_up, found 'unknown'" in str(refused), refused
    else:
        raise AssertionError(key)
from on_demand import table
assert "| `made_up` | Made Up | a made-up option |" in table(BALANCES)
assert "torch" not in sys.modules
"""


def test_one_entry_is_a_setting_a_group_a_line_of_help_and_a_row_of_the_documentation():
    done = subprocess.run([sys.executable, "-c", ONE_ENTRY], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_page_of_options_is_what_its_registries_say():
    assert (ROOT / "docs/reference/options.md").read_text() == WRITE_OPTIONS["text"](), (
        "run python docs/write_options.py"
    )


@pytest.mark.parametrize("heading", WRITE_OPTIONS["REGISTRIES"])
def test_every_option_says_what_it_is_and_loads(heading):
    options = WRITE_OPTIONS["REGISTRIES"][heading]
    assert len({option.label for option in options.values()}) == len(options)
    for option in options.values():
        assert option.label
        assert option.meaning
        assert not option.meaning.endswith(".")
        assert not option.code or callable(option.load())


@pytest.mark.parametrize(
    "option", ["A search operation", "An objective", "An attack", "A recipe", "A balance", "A data set"]
)
def test_how_to_add_each_option_is_told_in_about_ten_lines(option):
    section = DOCUMENT.partition(f"\n### {option}\n")[2].partition("\n###")[0]
    told = re.sub(r"```python.*?```", "", section, flags=re.DOTALL)
    assert 2 <= len([line for line in told.split("\n") if line.strip()]) <= 15
