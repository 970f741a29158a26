"""Costs: passes as settings foretell them are those that networks see."""

import pytest
import torch

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.studies.study.searchers.costs import FORWARD, Cost, passes_of_recipe, training_passes
from pipeline.studies.tables.side_by_side_training import SideBySideTraining
from pipeline.studies.tables.tabulate import header_of
from search_space import Genotype, Network
from tests.support.cells.tables import header_by_hand
from tests.support.slowly import slowly

TINY = (
    "experiment=table_nasbench201",
    "data.limit=120",
    "data.test_limit=40",
    "retrain.layers=3",
    "retrain.epochs=2",
    "retrain.batch_size=32",
)
CELL = Genotype.from_nasbench201("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|")


@pytest.fixture
def seen():
    """Passes that networks have seen, one image forward and backward counting 1."""
    passes = [0.0]

    def count(module, inputs):
        if isinstance(module, Network):
            passes[0] += len(inputs[0]) * (1.0 if torch.is_grad_enabled() else FORWARD)

    handle = torch.nn.modules.module.register_module_forward_pre_hook(count)
    yield lambda: passes.pop() + (passes.append(0.0) or 0.0)
    handle.remove()


@pytest.mark.parametrize("recipe", ["standard", "pgd_at", *slowly("fast")])
def test_the_passes_of_a_training_are_those_that_its_network_sees(recipe, seen):
    experiment = compose_experiment([*TINY, f"recipe={recipe}", "evaluate.attacks=[pgd-20]"])
    data, fabric = load(experiment.data), make_fabric(experiment.fabric)
    expected = training_passes(header_of(experiment, data, CELL), "pgd-20")
    training = SideBySideTraining(experiment, data, fabric, CELL, (0,))
    seen()
    training.run_epoch(0)
    assert seen() == pytest.approx(expected.epoch)
    training.right_in(training.validation, training.judging_attack, "glance")
    assert seen() == pytest.approx(expected.glance)
    found = training.final(training.validation)
    assert seen() == pytest.approx(expected.validation + expected.clean)
    training.final(data.test)
    assert seen() == pytest.approx(expected.test)
    assert set(found) == {"clean", "pgd-20"}
    assert expected.tabulated == pytest.approx(
        2 * (expected.epoch + expected.clean + expected.glance) + expected.validation + expected.clean + expected.test
    )


@pytest.mark.parametrize(
    ("recipe", "attack", "passes"),
    [("standard", "pgd", 1), ("pgd_at", "pgd", 8), ("pgd_at", "fgsm", 2), ("trades", "pgd", 9), ("mart", "pgd", 9)],
)
def test_a_recipe_passes_an_image_for_its_attack_and_its_loss(recipe, attack, passes):
    assert passes_of_recipe({"recipe": recipe, "attack": {"name": attack, "steps": 7}}) == passes


def test_attacks_of_evaluation_count_their_steps_and_square_its_queries():
    header = header_by_hand()
    by_attack = {name: training_passes(header, name).validation / 10_000 for name in ("fgsm", "pgd-20", "autoattack")}
    assert by_attack["fgsm"] == pytest.approx(4 / 3)
    assert by_attack["pgd-20"] == pytest.approx(61 / 3)
    assert by_attack["autoattack"] == pytest.approx(3 * 9 * 100 + 5001 / 3)


def test_costs_add_up():
    assert Cost(1.0, 2.0) + Cost(3.0, 4.0) * 2 == Cost(7.0, 10.0)
