"""Numbers that are not finite and memory that runs out are one line; the checkpoint before stays."""

import dataclasses
import json
import re

import pytest
import torch

from e2rnas.cli import exit_status
from e2rnas.cli.composing import config_errors
from e2rnas.cli.programs import PROGRAMS
from pipeline.runs.metrics import read_metrics
from pipeline.search.bilevel import ArchitectureStep
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.settings import Experiment
from pipeline.training.network_trainer import Retraining
from pipeline.training.training_step import TrainingStep
from tests.support.forks import RETRAIN, SEARCH, assert_same, in_fork
from tests.support.scripts import TINY
from tests.support.slowly import slowly


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("parameters", {"value": torch.tensor(torch.nan)}),
        *slowly(
            *((name, {"value": torch.tensor(torch.nan)}) for name in ("accuracy", "robustness", "macs")),
            ("accuracy", {"value": torch.tensor(torch.inf)}),
        ),
        ("robustness", {"gradient": torch.full((2, 2, 4), float("nan"))}),
    ],
)
def test_an_objective_that_is_not_finite_is_named_with_its_step_and_the_checkpoint_before_stays(
    tmp_path, whole, call_script, monkeypatch, name, change
):
    evaluate, calls = ArchitectureStep.evaluate_objectives, [0]

    def spoiled(self, train, valid):
        found = evaluate(self, train, valid)
        calls[0] += 1
        return found | {name: dataclasses.replace(found[name], **change)} if calls[0] == 6 else found

    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(ArchitectureStep, "evaluate_objectives", spoiled)
        status, _, err = call_script("search", *SEARCH.overrides, f"run={folder}")
    assert (status, err.count("\n")) == (exit_status.STOPPED, 1)
    assert err.startswith("stopped: search step 5, epoch 1, batch 2 of 4: ")
    assert name in err
    (path,) = folder.glob("checkpoint/*.ckpt")
    assert path.name.startswith("search-00000004-")
    if "gradient" in change:
        assert in_fork(SEARCH, folder)[0] == 0
        assert_same(SEARCH, folder, whole(SEARCH))


def test_a_retraining_whose_loss_is_not_finite_names_it_and_keeps_the_checkpoint_before(
    tmp_path, whole, call_script, monkeypatch
):
    loss, calls = TrainingStep._loss, [0]

    def spoiled(self, *arguments):
        value, accuracy = loss(self, *arguments)
        calls[0] += 1
        return (value * float("inf") if calls[0] == 6 else value), accuracy

    folder, steps = tmp_path / "run", len(read_metrics(whole(RETRAIN))) // 2
    with monkeypatch.context() as patched:
        patched.setattr(TrainingStep, "_loss", spoiled)
        status, _, err = call_script("retrain", *RETRAIN.overrides, f"run={folder}")
    assert status == exit_status.STOPPED
    assert err.startswith(f"stopped: retraining step 5, epoch 1, batch {6 - steps} of {steps}: the gradient of the tra")
    assert len(list(folder.glob("checkpoint/*.ckpt"))) == 1
    assert in_fork(RETRAIN, folder)[0] == 0
    assert_same(RETRAIN, folder, whole(RETRAIN))


def test_a_search_whose_weights_overflow_names_what_did(tmp_path, call_script):
    status, _, err = call_script("search", *TINY, f"run={tmp_path / 'run'}", "weight_optimizer.learning_rate=1e30")
    assert status == exit_status.STOPPED
    assert re.match(
        r"stopped: search step 1, epoch 0, batch 2 of 2: (objective|the gradient of the training loss)", err
    )


def no_memory(kind):
    """To be called in a fork: its first step then asks PyTorch's allocator for more than any machine has."""

    def prepare():
        kind.step = lambda self, *images: torch.empty(1 << 50)

    return prepare


@pytest.mark.parametrize(
    ("stage", "kind", "advice"),
    [
        (SEARCH, BilevelSearch, "lower search.batch_size"),
        (RETRAIN, Retraining, "lower retrain.batch_size"),
    ],
    ids=["search", "retrain"],
)
def test_want_of_memory_says_what_to_lower(tmp_path, stage, kind, advice):
    status, err = in_fork(stage, tmp_path / "run", no_memory(kind))
    assert (status, err.count("\n")) == (exit_status.STOPPED, 1), err
    assert err.startswith(f"stopped: out of memory; {advice}")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
        MemoryError(),
    ],
)
def test_every_way_in_which_memory_runs_out_is_known(error):
    status, line = exit_status.ending(error, "lower this")
    assert status == exit_status.STOPPED
    assert line.startswith("stopped: out of memory; lower this (")


@pytest.mark.parametrize("message", ["could not create a primitive", "could not execute a primitive"])
def test_what_may_be_want_of_memory_is_said_to_be_perhaps_that(message):
    status, line = exit_status.ending(RuntimeError(message), "lower this")
    assert (status, line) == (exit_status.STOPPED, f"stopped: perhaps out of memory; lower this ({message})")


def test_want_of_threads_is_not_answered_by_smaller_batches():
    status, line = exit_status.ending(RuntimeError("can't start new thread"), "lower this")
    assert status == exit_status.STOPPED
    assert line.startswith("stopped: can't start new thread, for want of memory or by a limit")


def test_what_nobody_but_this_project_can_mend_keeps_its_traceback():
    for fault in (lambda: torch.zeros(2) @ torch.zeros(3), lambda: json.loads("{"), lambda: {}["x"]):
        with pytest.raises((RuntimeError, ValueError, KeyError)) as caught:
            fault()
        assert exit_status.ending(caught.value, "") is None


def test_what_is_to_be_lowered_is_a_setting():
    known = {name for name, _, _ in config_errors.keys(Experiment())}
    found = set()
    for program in PROGRAMS.values():
        found |= set(re.findall(r"\w+\.\w+", program.when_out_of_memory))
    assert {"search.batch_size", "retrain.batch_size", "search.recompute"} <= found <= known
