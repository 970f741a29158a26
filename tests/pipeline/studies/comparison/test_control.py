"""The hand-made network of a comparison: a ResNet, whose size is near the searched cells', by their recipe."""

import pytest

from e2rnas.cli.app import Refused, compose_experiment
from pipeline.data import load
from pipeline.studies.comparison.comparison import controls, cost_table, retrainings
from pipeline.studies.comparison.comparison_figures import size_and_robustness_picture
from pipeline.studies.comparison.comparison_report import text
from pipeline.studies.comparison.comparison_statistics import CellResult, agreement
from pipeline.training.network_trainer import initial_network
from search_space import channels_for_parameters, network_cost
from search_space.cells.resnet import BASIC_BLOCK

BOUNDED = ("experiment=comparison", "evaluate.attacks=[pgd-20]")


@pytest.fixture(scope="module")
def experiment():
    return compose_experiment(BOUNDED)


def cell(kind, name, robust, *, macs=340_000, judgements=()):
    return CellResult(name, kind, 24_000, macs, {"clean": (0.9,), "pgd-20": (robust,)}, judgements)


def cells():
    searched = [cell("searched", f"searched-{i}", 0.7 + i / 100, judgements=(0.3 + i / 10,)) for i in range(3)]
    random = [cell("random", f"random-{i}", 0.6 + i / 100, judgements=(0.2 + i / 10,)) for i in range(3)]
    return [*searched, *random, cell("hand-made", "ResNet-8", 0.68, macs=244_008, judgements=(0.9,))]


def test_the_control_is_trained_by_the_recipe_of_all_but_for_layers_and_channels(experiment, tmp_path):
    (control,) = controls(experiment)
    works = list(retrainings(tmp_path, experiment, [control], 24_351))
    assert [work.experiment.seed for work in works] == [experiment.seed + number for number in range(5)]
    assert {work.folder.parent for work in works} == {tmp_path / "cells" / "ResNet-8"}
    own = {"parameters": 24_351, "layers": 3}
    assert works[0].experiment.retrain.model_dump() == experiment.retrain.model_dump() | own


def test_its_size_is_the_nearest_to_that_of_the_searched_cells(experiment):
    data, (low, high) = load(experiment.data), experiment.objectives.parameters
    shape = data.network_shape(channels=1, layers=3)
    channels = channels_for_parameters(BASIC_BLOCK, 24_351, shape=shape)
    network = initial_network(experiment, data, BASIC_BLOCK, channels=channels)
    counted = sum(weight.numel() for weight in network.parameters())
    cost = network_cost(BASIC_BLOCK, channels=channels, layers=3, image_size=8, in_channels=1)
    assert cost.parameters == counted == 24_931
    assert low <= counted <= high


def test_the_control_is_a_row_a_point_and_a_sentence_and_no_cell_of_the_space(experiment):
    said = text(experiment, cells())
    assert "| ResNet-8 | 24,000 | 244,008 | 90.0 % | 68.0 % |" in said
    assert "hand-made: mean" not in said
    assert "ResNet-8: its own layers and the C nearest in parameters, hand-made and not searched" in said
    assert "**Searched minus ResNet-8, hand-made: +3.0 points.** It is one network" in said
    picture = size_and_robustness_picture(cells(), "pgd-20", "comparison_digits")
    assert "ResNet-8 68.0" in picture.alt
    assert agreement(cells(), "pgd-20") == agreement(cells()[:-1], "pgd-20")


def test_the_control_can_be_left_out_and_the_page_says_so(experiment):
    assert controls(compose_experiment([*BOUNDED, "comparison.resnet=null"])) == []
    said = text(experiment, cells()[:-1])
    assert "no hand-made network stands beside them" in said
    assert "ResNet" not in said
    assert "no hand-made network" not in text(experiment, cells())


def test_a_depth_that_is_none_or_too_large_is_refused():
    with pytest.raises(Refused, match=r"comparison.resnet: expected a depth of 6 n \+ 2, such as 8, .*, found 18"):
        compose_experiment([*BOUNDED, "comparison.resnet=18"])
    deep = compose_experiment([*BOUNDED, "comparison.resnet=2000"])
    cost_table(deep)
    with pytest.raises(ValueError, match=r"comparison.resnet=2000: with one channel .* use a smaller depth, or null"):
        controls(deep)
