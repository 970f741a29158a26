"""What is shipped is found by its name, says what it is, and is what the results say of it."""

import json
from statistics import mean

import pytest

import e2rnas
from analytic_continuation.unrolled import model_files
from learned_optimizers.theta import shipped as shipped_optimizers
from search_space import PUBLISHED, network_cost
from tests.support.scripts import ROOT

RESULTS = json.loads((ROOT / "benchmarks/results/comparison_digits.json").read_text())
SEARCHED = {f"digits-{cell['name']}": cell for cell in RESULTS["cells"] if cell["kind"] == "searched"}


@pytest.mark.parametrize("name", SEARCHED)
def test_a_cell_that_was_found_is_that_of_the_comparison_with_its_figures(name):
    genotype, cell = e2rnas.load(name), SEARCHED[name]
    assert json.loads(genotype.to_json()) == cell["genotype"]
    cost = network_cost(genotype, channels=8, layers=3, in_channels=1, image_size=8)
    assert (cost.parameters, cost.conv_linear_macs) == (cell["parameters"], cell["macs"])
    accuracies = cell["accuracies"]["pgd-20"]
    said = f"{100 * mean(accuracies):.1f} % under pgd-20, mean of {len(accuracies)} trainings; {cost.parameters:,} p"
    assert said in e2rnas.shipped()[name]


def test_all_that_is_shipped_is_named_once_and_loads():
    known = e2rnas.shipped()
    assert set(known) == {*PUBLISHED, *SEARCHED, *shipped_optimizers(), *model_files.shipped()}
    assert len(known) == len(PUBLISHED) + len(SEARCHED) + len(shipped_optimizers()) + len(model_files.shipped())
    assert e2rnas.load("DARTS_V2") == PUBLISHED["DARTS_V2"].genotype
    assert e2rnas.load("general").architecture == "general"
    assert e2rnas.load("gaussians").num_parameters > 1000


@pytest.mark.parametrize(("name", "hint"), [("DARTS_V3", "did you mean DARTS_V"), ("zzzz", "expected one of ")])
def test_an_unknown_name_is_refused_in_one_line(name, hint):
    with pytest.raises(ValueError, match=f"nothing is shipped as '{name}'; {hint}"):
        e2rnas.load(name)
