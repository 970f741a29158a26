"""The choice by perturbation: what a supernet misses of an operation, and the cell that follows."""

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from e2rnas.cli.app import compose_experiment
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.search.selection.continued_search import fix_cell
from pipeline.search.selection.perturbation import operations_missed
from search_space import Genotype
from tests.support.runs.selected import searched
from tests.support.scripts import TINY

UNBOUNDED = ("objectives.parameters=[null,null]", "objectives.macs=[null,null]", "search.diagnostics.iterations=0")
CLEAN = (*UNBOUNDED, "objectives.names=[accuracy]")
ATTACKED = (*UNBOUNDED, "objectives.names=[accuracy,robustness]")


@pytest.fixture
def searching():
    """A search before its first step."""
    experiment = compose_experiment([*TINY, *CLEAN])
    return BilevelSearch(experiment, load(experiment.data), make_fabric(experiment.fabric))


def clean_loss(search, weights):
    fix_cell(search.supernet, weights)
    images = search.images.parts["alphas"]
    parts = torch.arange(len(images)).tensor_split(max(1, len(images) // search.experiment.search.batch_size))
    with torch.no_grad():
        return sum(F.cross_entropy(search.supernet(x), y) for _, x, y in images.read(parts)) / len(parts)


def test_what_is_missed_of_an_operation_is_the_rise_of_the_loss_without_it_up_to_one_scale(searching):
    missed, space = operations_missed(searching), searching.supernet.space
    assert missed.shape == searching.alphas.shape
    assert missed[space.mask].mean().item() == pytest.approx(0, abs=1e-6)
    assert missed[space.mask].std().item() == pytest.approx(1, abs=1e-5)
    weights = torch.softmax(searching.alphas, dim=-1).detach()
    whole = clean_loss(searching, weights)
    places = [(0, 0, 1), (0, 3, 2), (1, 2, 3), (1, 4, 3)]
    rises = []
    for place in places:
        without = weights.clone()
        without[place] = 0
        rises.append(clean_loss(searching, without) - whole)
    of_places = torch.stack([missed[place] for place in places])
    slopes = (of_places[1:] - of_places[0]) / (torch.stack(rises)[1:] - rises[0])
    torch.testing.assert_close(slopes, slopes[:1].expand(3), rtol=1e-3, atol=0)
    assert slopes[0] > 0


def test_operations_that_do_nothing_are_missed_alike_and_the_supernet_stays_as_it_was(searching):
    supernet, images = searching.supernet, torch.rand(4, 1, 8, 8)
    alphas, before = supernet.alphas.clone(), supernet(images)
    of_none = operations_missed(searching)[..., supernet.space.operations.index("none")]
    torch.testing.assert_close(of_none, of_none[:1, :1].expand_as(of_none))
    assert torch.equal(supernet.alphas, alphas)
    assert torch.equal(supernet(images), before)


def test_a_search_that_chooses_by_perturbation_derives_its_cell_from_what_is_missed(tmp_path):
    folder = searched(tmp_path / "run", (*ATTACKED, "search.selection.strengths=perturbation"))
    alphas = load_file(folder / "alphas.safetensors")
    last = alphas[max(alphas)]
    experiment = compose_experiment([*TINY, *ATTACKED])
    space = experiment.space.build()
    assert last[space.mask].std().item() == pytest.approx(1, abs=1e-5)
    found = Genotype.from_json((folder / "genotype.json").read_text())
    assert found == experiment.search.relaxation.build().derive(space, last)
