"""Steps that a stand-in for CUDA graphs records and replays on the device that is not there, beside plain ones."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch

from attacks import checked_later
from e2rnas.cli.app import compose_experiment
from pipeline.compute.graphs import GRAPHS
from pipeline.data import load
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.training.network_trainer import Retraining
from search_space import PUBLISHED
from tests.support.fake_accelerator.device import COUNTS, DEVICE, FakeAccelerator
from tests.support.fake_accelerator.fabric import FakeFabric
from tests.support.recorded_operations import Operations, RecordedOperations

CELL = "DARTS_V2"
STEPS = 2  # the first is recorded and replayed at once


class FakeGraph(RecordedOperations):
    """A replay is one kernel that the CPU starts."""

    def replay(self):
        before = COUNTS.kernels, COUNTS.views
        super().replay()
        COUNTS.kernels, COUNTS.views = before[0] + 1, before[1]


def captured_search(*overrides: str, same_kernels: bool = True) -> dict[str, Any]:
    """Take search steps from graphs and plainly, which must have the same figures, alphas and weights.

    same_kernels: other images, alphas and weights must ask for the kernels that were recorded, of the same shapes.
    Counts the last plain step, and as `captured` the last from graphs.
    """
    with FakeAccelerator():
        plain, expected, pair, taken = _searched(overrides, "off")
        captured, rows, _, counts = _searched(overrides, "auto")
        assert rows == expected
        _check_same(captured.supernet, plain.supernet)
        if same_kernels:
            calls = (
                lambda: plain.architecture_step.images.evaluate(*pair),
                lambda: plain.weight_step.loss_and_gradients(pair[0]),
            )
            recorded = [graph.operations.kernels() for graph in FakeGraph.made]
            assert recorded == [_kernels_of(call) for call in calls]
        return taken | {"captured": counts}


def captured_retraining(*overrides: str) -> dict[str, Any]:
    """Take retraining steps from graphs and plainly, which must have the same figures and weights.

    Counts the last plain step, and as `captured` the last from graphs.
    """
    with FakeAccelerator():
        plain, expected, taken = _retrained(overrides, "off")
        captured, rows, counts = _retrained(overrides, "auto")
        assert rows == expected
        _check_same(captured.network, plain.network)
        return taken | {"captured": counts}


def _searched(overrides, graphs):
    fabric, experiment = _place(overrides, graphs)
    search = BilevelSearch(experiment, load(experiment.data), fabric)
    search.start_epoch()
    rows = []
    for pair in islice(search.batches(), STEPS):
        COUNTS.reset()
        rows.append(search.step(*pair))
    return search, rows, pair, _counts()


def _retrained(overrides, graphs):
    fabric, experiment = _place(overrides, graphs)
    retraining = Retraining(experiment, load(experiment.data), fabric, PUBLISHED[CELL].genotype)
    retraining.start_epoch()
    rows = []
    for batch in islice(retraining.batches(), STEPS):
        COUNTS.reset()
        rows.append(retraining.step(*batch))
        counts = _counts()
        retraining.end_step()
    return retraining, rows, counts


def _place(overrides, graphs):
    GRAPHS[DEVICE.type] = lambda: FakeGraph
    FakeGraph.made.clear()
    return FakeFabric(accelerator="cpu", devices=1), compose_experiment([*overrides, f"fabric.graphs={graphs}"])


def _counts():
    replays = [graph.replays for graph in FakeGraph.made]
    return COUNTS.taken() | {"replays": replays, "recorded": [len(graph.operations.kept) for graph in FakeGraph.made]}


def _check_same(module, other):
    assert all(torch.equal(*pair) for pair in zip(module.parameters(), other.parameters(), strict=True))


def _kernels_of(call):
    with checked_later(), Operations() as seen:
        call()
    return seen.kernels()
