"""Several processes: they take the steps of one with the whole batch, and find in images what one finds."""

import json
import shutil
from dataclasses import replace
from itertools import islice

import pytest
import torch
from _app import compose_experiment
from conftest import TINY, run_script
from lightning_fabric import Fabric
from torch import nn
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn import functional as F

from pipeline.accuracy import Trial, measure
from pipeline.bilevel import BilevelSearch
from pipeline.data import Images, load
from pipeline.processes import of_all_processes, shared_batches, sum_over_processes
from pipeline.progress import progress_bar
from pipeline.retraining import Retraining
from pipeline.run import read_json
from search_space import PUBLISHED, Network, SearchSpace, Supernet
from search_space.statistics import TrackedBatchNorm, own_statistics, synchronise_statistics

ONE = Fabric(accelerator="cpu", devices=1)
SHARED = ("fabric.devices=2", "fabric.synchronised_statistics=true")
PLAIN = ("data.crop_padding=0", "attack.name=fgsm")  # augmentation and random starts are drawn by each for itself
CARRIED = ("data.crop_padding=0", "attack=carry_over", "attack.steps=2", "attack.step=0.04")  # starts kept by image
SMALL = (
    "space.nodes=2",
    "search.batch_size=12",
    "objectives.names=[accuracy,robustness,parameters]",
    "objectives.macs=[null,null]",
)


def in_two_processes(monkeypatch, folder, work, *arguments):
    """What `work(fabric, *arguments)` returns in each of two processes, which are forks of this one."""
    for name in ("MASTER_PORT", "LOCAL_RANK"):
        monkeypatch.setenv(name, "")  # to be put back: Fabric leaves them
        monkeypatch.delenv(name)

    def save(fabric):
        torch.save(work(fabric, *arguments), folder / f"{fabric.global_rank}.pt")

    Fabric(accelerator="cpu", devices=2, strategy="ddp_fork").launch(save)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def in_double(batch):
    return replace(batch, images=batch.images.double())


def search_steps(fabric, overrides, steps):
    """Alphas, weights and figures after whole steps in float64."""
    experiment = compose_experiment([*TINY, *SMALL, *overrides])
    bilevel = BilevelSearch(experiment, load(experiment.data), fabric)
    bilevel.supernet.double()
    rows = []
    for train, valid in islice(bilevel.batches(), steps):
        row = bilevel.step(in_double(train), in_double(valid))
        rows.append([*row["objectives"].values(), row["training_loss"], *row["balance"]["weights"].values()])
    assert len(rows) == steps
    return {
        "alphas": bilevel.alphas.detach(),
        "weights": torch.cat([weight.detach().flatten() for weight in bilevel.weights]),
        "figures": torch.tensor(rows, dtype=torch.float64),
    }


def largest_difference(found, expected):
    return max((of_process[name] - expected[name]).abs().max().item() for of_process in found for name in expected)


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (CARRIED, 2),
        ((*PLAIN, "search.order=unrolled", "search.recompute=false"), 1),
        pytest.param((*PLAIN, "search.order=unrolled", "search.hessian=finite_difference"), 1, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "search.order=cg", "search.implicit.iterations=2"), 2, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "search.order=neumann", "search.implicit.iterations=2"), 2, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "search.recompute=true"), 2, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "relaxation=pc_darts", "search.channels=4"), 2, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "relaxation=gdas", "search.adversarial_fraction=0.5"), 2, marks=pytest.mark.slow),
        pytest.param((*PLAIN, "space=nasbench201", "search.channels=4"), 1, marks=pytest.mark.slow),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_two_processes_with_half_the_batch_each_take_the_search_steps_of_one(tmp_path, monkeypatch, overrides, steps):
    expected = search_steps(ONE, overrides, steps)
    assert largest_difference(in_two_processes(monkeypatch, tmp_path, search_steps, [*overrides, *SHARED], steps), expected) < 1e-9
