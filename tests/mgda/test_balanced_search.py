"""Searches with each balance: settings reach it, and one stopped after an epoch ends in the same bits."""

import re
import shutil

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file

from e2rnas.cli.app import Refused, compose_experiment
from e2rnas.cli.composing.groups import options
from mgda import MGDA, CAGrad, NashMTL, PCGrad
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.runs.checkpoints import Checkpoints
from pipeline.runs.metrics import read_metrics
from pipeline.search.balancing import make_aggregator
from pipeline.search.search import search
from tests.support.optimization.aggregators import AGGREGATORS, conflicting
from tests.support.scripts import TINY
from tests.support.slowly import slowly


@pytest.mark.parametrize("name", AGGREGATORS)
def test_every_option_of_balance_makes_its_aggregator(name):
    assert name in options("balance")
    aggregator = make_aggregator(compose_experiment([f"balance={name}"]).objectives, seed=1)
    assert type(aggregator) is AGGREGATORS[name]
    assert aggregator.normalisation == ("l2" if name == "mgda" else "none")


def test_settings_reach_their_aggregators():
    preferred = ["objectives.preferences.robustness=3", "objectives.preferences.macs=1/2"]
    mgda = make_aggregator(compose_experiment(preferred).objectives, seed=1)
    assert mgda == MGDA(normalisation="l2", preferences={"robustness": 3.0, "macs": 0.5})
    cagrad = compose_experiment(["balance=cagrad", "objectives.balance.cagrad_c=0.4"]).objectives
    assert make_aggregator(cagrad, seed=1) == CAGrad(c=0.4)
    nash_mtl = compose_experiment(["balance=nash_mtl", "objectives.balance.nash_mtl_max_norm=2"]).objectives
    assert make_aggregator(nash_mtl, seed=1) == NashMTL(max_norm=2.0)
    pcgrad = compose_experiment(["balance=pcgrad"]).objectives
    found, expected = make_aggregator(pcgrad, seed=1), PCGrad(generator=torch.Generator().manual_seed(1))
    assert all(torch.equal(found(conflicting()), expected(conflicting())) for _ in range(4))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["balance=cagrad", "objectives.preferences.accuracy=2"], "balance=cagrad knows no objectives.preferences"),
        (["objectives=robust", "objectives.preferences.macs=2"], "preferences.macs is given but macs is not among"),
        (["objectives.preferences.speed=2"], "unknown key objectives.preferences.speed"),
        (
            ["objectives.preferences.accuracy=0"],
            "objectives.preferences.accuracy: Input should be greater than or equal to 0.000001",
        ),
        (["balance.name=mgda"], "balance"),
        (["objectives.balance.name=sum"], "objectives.balance.name: expected one of mgda, weighted_sum"),
        (["search.order=cg", "weight_optimizer=adamw"], "search.order=cg needs weight decay that is part of the loss"),
        (["search.order=cg", "search.implicit.step=0.1"], "search.implicit.step is that of order=neumann"),
        (["search.implicit.iterations=0"], "search.implicit.iterations: Input should be greater than 0"),
    ],
)
def test_balances_and_orders_that_do_not_fit_are_refused(overrides, message):
    with pytest.raises(Refused, match=re.escape(message)):
        compose_experiment(overrides)


class Killed(Exception):  # noqa: N818 - not an error
    pass


def run_search(folder, *overrides):
    experiment = compose_experiment([*TINY, *overrides])
    search(folder, experiment, load(experiment.data), make_fabric(experiment.fabric))


def stop_after_an_epoch(folder, monkeypatch, *overrides):
    save = Checkpoints.save

    def save_and_die(self, epoch, state):
        save(self, epoch, state)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", save_and_die)
        with pytest.raises(Killed):
            run_search(folder, *overrides)
    torch.manual_seed(123)  # another process would not be where this one is


@pytest.mark.parametrize("name", [*slowly("nash_mtl"), "pcgrad"])
def test_a_search_stopped_after_an_epoch_ends_in_the_same_bits(name, tmp_path, monkeypatch):
    overrides = [f"balance={name}", "search.batch_size=40"]  # a step an epoch
    run_search(tmp_path / "whole", *overrides)
    stop_after_an_epoch(tmp_path / "stopped", monkeypatch, *overrides)
    shutil.copytree(tmp_path / "stopped", tmp_path / "forgetful")
    run_search(tmp_path / "stopped", *overrides)
    whole, stopped = (load_file(tmp_path / folder / "alphas.safetensors") for folder in ("whole", "stopped"))
    assert sorted(whole) == sorted(stopped) == ["epoch_00001", "epoch_00002"]
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)
    assert read_metrics(tmp_path / "whole") == read_metrics(tmp_path / "stopped")

    monkeypatch.setattr(AGGREGATORS[name], "restore", lambda self, state: None)
    run_search(tmp_path / "forgetful", *overrides)
    last = [aggregator_state(tmp_path / folder) for folder in ("whole", "stopped", "forgetful")]
    assert last[0] == last[1]
    assert last[0] != last[2]


def aggregator_state(folder):
    state = Checkpoints(folder, "search", Fabric(accelerator="cpu")).load()["aggregator"]
    return {key: value.tolist() if isinstance(value, torch.Tensor) else value for key, value in state.items()}


@pytest.mark.parametrize("order", ["cg", *slowly("neumann")])
def test_an_implicit_search_runs_to_its_end_and_logs_its_residuals(order, tmp_path):
    run_search(tmp_path / "run", "search.epochs=1", f"search.order={order}", "search.implicit.iterations=2")
    assert (tmp_path / "run" / "genotype.json").exists()
    for row in read_metrics(tmp_path / "run", "search"):
        assert set(row["hypergradient_residuals"]) == {"accuracy", "robustness"}
        assert min(row["hypergradient_residuals"].values()) > 0
