"""The gradient of a mean over drawn cells, and searches that take it."""

from itertools import product
from types import MappingProxyType

import pytest
import torch

from e2rnas.cli.app import Refused, compose_experiment
from pipeline.options.objectives import OBJECTIVES
from pipeline.search import path_losses
from pipeline.search.path_losses import PathLosses
from search_space import Relaxation, SearchSpace, Supernet
from search_space.supernet.paths import SinglePath
from search_space.supernet.relaxation import RelaxationState
from tests.support.runs.stopped import Stop, run_search

SPACE = SearchSpace(nodes=1, operations=("skip_connect", "nor_conv_1x1", "nor_conv_3x3"), family="nasbench201")
SCORES = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)


def score(losses, batch):
    """A made-up objective that reads which cell was taken."""
    (network,) = losses._path._taken
    return SCORES[[SPACE.operations.index(edge.operation) for edge in network.genotype.normal.edges]].sum()


def test_the_mean_of_its_gradients_is_the_gradient_of_the_mean(monkeypatch):
    option = MappingProxyType({"accuracy": type(OBJECTIVES["accuracy"])(label="", meaning="", code="")})
    monkeypatch.setattr(path_losses, "OBJECTIVES", option)
    supernet = Supernet(SPACE, channels=2, layers=5, in_channels=1, num_classes=2, relaxation=Relaxation(paths=2))
    supernet.double()
    losses = PathLosses(SinglePath(supernet), lambda batch: batch.images, None, adversarial_fraction=1.0, count=2)
    probabilities = torch.softmax(supernet.alphas, dim=-1)[0, 0]
    (exact,) = torch.autograd.grad(probabilities @ SCORES, supernet.alphas)
    cells = {}
    for seed in range(40):
        supernet.relaxation_state = RelaxationState(path_seed=seed)
        for path in losses._drawn(supernet.alphas, 2):
            cells[path.held] = path
    assert len(cells) == len(SCORES)
    expected, value = torch.zeros_like(exact), 0.0
    for pair in product(cells.values(), repeat=2):
        chance = losses._cells.log_probabilities(supernet.alphas, pair).sum().exp().item()
        networks = [losses._path.network_of(path.genotype) for path in pair]
        mean = losses._mean(score, None, pair, networks)
        expected += chance * torch.autograd.grad(mean, supernet.alphas)[0]
        value += chance * mean.item()
    torch.testing.assert_close(expected, exact)
    assert value == pytest.approx((probabilities @ SCORES).item())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["search.order=unrolled"], "search.order=unrolled is for a mixture"),
        (["search.guard.action=stop"], "search.guard.rule=eigenvalue is for a mixture"),
        (["search.relaxation.paths=1"], "at least 2, found 1"),
        (["attack.carry_over=true"], "attack.carry_over goes on with an attack on the mixture"),
    ],
)
def test_what_needs_a_mixture_is_refused(changes, words):
    with pytest.raises(Refused, match=words):
        compose_experiment(["experiment=demo", "space=nasbench201", "relaxation=single_path", *changes])


TINY = (
    "experiment=demo",
    "space=nasbench201",
    "objectives=demo",
    "objectives.parameters=[null,9000]",
    "objectives.macs=[null,1e9]",
    "relaxation=single_path",
    "search.relaxation.paths=2",
    "search.layers=5",
    "search.channels=2",
    "search.derived_layers=5",
    "search.derived_channels=4",
    "data.limit=192",
    "search.epochs=2",
    "attack.steps=1",
    "attack.step=null",
)


def test_a_search_by_single_cells_resumes_to_the_same_bits(tmp_path, monkeypatch):
    experiment = compose_experiment(TINY)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    run_search(whole, experiment)
    with monkeypatch.context() as patched, pytest.raises(Stop):
        run_search(stopped, experiment, patched, stop_after=1)
    run_search(stopped, experiment)
    for name in ("genotype.json", "alphas.safetensors"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
