"""What docs/architecture.md says about adding an option: its examples work once registered, and its places agree."""

import dataclasses
import re
import sys
from types import MappingProxyType
from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from attacks import evaluation_attack, training_attack
from attacks.evaluation_attacks import EVALUATION_ATTACKS, EvaluationAttack
from attacks.training import TRAINING_ATTACKS
from mgda import balance
from pipeline.presentation.words import BALANCE_LABELS, FGSM_LABELS, recipe_in_words
from pipeline.search.balancing import make_aggregator
from pipeline.settings import AttackSettings, BalanceSettings, EvaluateSettings, ObjectiveSettings, RetrainSettings
from pipeline.training.recipes import RECIPES
from pipeline.training.recipes.losses import Outputs, Recipe
from search_space import CostTable, Network, NetworkShape, SearchSpace, Supernet, network_cost
from search_space.cells.genotype import OPERATION_NAMES
from search_space.network.operations import OPERATIONS
from tests.support.scripts import ROOT

DOCUMENT = (ROOT / "docs/architecture.md").read_text()
EXAMPLES = dict(re.findall(r"\n### ([^\n]+)\n(?:(?!\n##).)*?```python\n(.*?)```", DOCUMENT, re.DOTALL))


def example(heading, name):
    """What the section's Python defines as `name`."""
    defined = {}
    exec(EXAMPLES[heading], defined)  # noqa: S102 - the project's own text
    return defined[name]


def register(monkeypatch, registry, with_entry):
    """Put a registry with one entry more in the place of every name that stands for it."""
    for module in [
        module for name, module in sys.modules.items() if name.partition(".")[0] in ("search_space", "attacks")
    ]:
        for name in [name for name, value in vars(module).items() if value is registry]:
            monkeypatch.setattr(module, name, with_entry)


def test_an_added_operation_is_searched_derived_measured_and_trained(monkeypatch):
    factory = example("A search operation", "blurred")
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


def test_an_added_attack_is_run_in_training_and_in_evaluation(monkeypatch):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 3
    register(monkeypatch, TRAINING_ATTACKS, {**TRAINING_ATTACKS, "momentum_pgd": example("An attack", "momentum_pgd")})
    added = EvaluationAttack(name="pgd-50", classes=("PGD",), steps=50)
    register(monkeypatch, EVALUATION_ATTACKS, {**EVALUATION_ATTACKS, added.name: added})
    attacks = (
        training_attack("momentum_pgd", network, eps=0.1, step=0.05, steps=3),
        evaluation_attack("pgd-50", network, eps=0.1, num_classes=3),
    )
    for attack in attacks:
        attacked = attack(images, labels)
        assert (attacked - images).abs().max() <= 0.1 + 1e-6
        assert F.cross_entropy(network(attacked), labels) > F.cross_entropy(network(images), labels)


def test_an_added_recipe_trains():
    recipe = Recipe(example("A recipe", "logit_pairing"), "given", beta=0.5)
    assert recipe.attack_name("pgd") == "pgd"
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    images, labels = torch.rand(6, 1, 2, 2), torch.arange(6) % 2
    loss, outputs = recipe.loss(lambda x: Outputs(network(x)), images, images + 0.1, labels, recipe.beta)
    without, _ = recipe.loss(lambda x: Outputs(network(x)), images, images + 0.1, labels, 0.0)
    assert loss > without == F.cross_entropy(outputs.logits, labels)


def test_an_added_balance_gives_the_direction_and_its_weights():
    gradients = {"accuracy": torch.tensor([3.0, 0.0]), "robustness": torch.tensor([0.0, 5.0])}
    found = balance(gradients, aggregator=example("A balance", "MeanGradient")(normalisation="l2"))
    assert found.direction.tolist() == [0.5, 0.5]
    assert found.weights == {"accuracy": 0.5, "robustness": 0.5}


def choices(settings, field):
    return set(get_args(settings.model_fields[field].annotation))


def written(group):
    return {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}


def test_every_place_that_lists_a_balance_lists_the_same():
    names = choices(BalanceSettings, "name")
    assert names == set(BALANCE_LABELS) == written("balance")
    for name in names & {"mgda", "weighted_sum"}:  # the others are of torchjd
        assert make_aggregator(ObjectiveSettings(balance=BalanceSettings(name=name)), seed=0)


def test_every_place_that_lists_a_recipe_lists_the_same():
    names = choices(RetrainSettings, "recipe")
    assert names == set(RECIPES) == written("recipe")
    assert len({recipe_in_words(RetrainSettings(recipe=name).model_dump()) for name in names}) == len(names)


def test_every_place_that_lists_an_attack_lists_the_same():
    names = choices(AttackSettings, "name")
    assert names <= set(TRAINING_ATTACKS)
    assert names == {"pgd"} | set(FGSM_LABELS)
    (of_evaluation,) = {
        part for part in get_args(EvaluateSettings.model_fields["attacks"].annotation) if part is not ...
    }
    assert set(get_args(of_evaluation)) == set(EVALUATION_ATTACKS)
    for field in ("sweep_attack", "transfer_attack"):
        assert choices(EvaluateSettings, field) <= set(EVALUATION_ATTACKS)


@pytest.mark.parametrize(
    "option", ["A search operation", "An objective", "An attack", "A recipe", "A balance", "A data set"]
)
def test_how_to_add_each_option_is_told_in_about_ten_lines(option):
    section = DOCUMENT.partition(f"\n### {option}\n")[2].partition("\n###")[0]
    told = re.sub(r"```python.*?```", "", section, flags=re.DOTALL)
    assert 3 <= len([line for line in told.split("\n") if line.strip()]) <= 15
