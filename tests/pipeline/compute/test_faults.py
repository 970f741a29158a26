"""What a machine does to a run, through the real scripts: each fault is one line, and the same command ends in the
same bits.
"""

import ctypes
import dataclasses
import errno
import fcntl
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch

from e2rnas.cli import config_errors, exit_status
from e2rnas.cli.programs import PROGRAMS
from pipeline.compute.fabric import make_fabric
from pipeline.compute.interruption import GOES_ON, INTERRUPTED, INTERRUPTED_BY_HAND, SIGNALS, Interrupted
from pipeline.compute.processes import random_state, restore_random_state
from pipeline.compute.seeds import seed_stream
from pipeline.compute.stop_requests import stop_requests
from pipeline.compute.workers import workers
from pipeline.runs.metrics import read_metrics
from pipeline.search.bilevel import ArchitectureStep
from pipeline.search.bilevel_search import BilevelSearch
from pipeline.settings import Experiment, FabricSettings
from pipeline.training.network_trainer import Retraining
from pipeline.training.training_step import TrainingStep
from tests.support.forks import META, RETRAIN, SEARCH, assert_same, in_fork, signal_after, with_more
from tests.support.scripts import TINY, TINY_META, finish_script, run_script, script_process

DRAWS = ("attack=carry_over", "search.relaxation.sampled_operations=2", "search.relaxation.dropout=0.3")
AVERAGED = ("retrain.average_decay=0.9", "retrain.awp_gamma=0.01", "data.cutout=2", "data.flip=true")
STOPPED = {
    "search": SEARCH,
    "search with all that draws": with_more(SEARCH, *DRAWS, "balance=pcgrad", "data.cutout=2"),
    "retraining": with_more(RETRAIN, "weight_optimizer=adamw", *AVERAGED),
    "free retraining": with_more(RETRAIN, "recipe=free", "retrain.replays=2"),
    "meta-training": META,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a stage leaves that nothing happens to, by its own run folder."""
    folders = {}

    def of(stage):
        if stage not in folders:
            folders[stage] = tmp_path_factory.mktemp("whole") / "run"
            finish_script(stage.script, *stage.overrides, f"run={folders[stage]}")  # what it caches, forks have too
        return folders[stage]

    return of


@pytest.mark.parametrize("name", STOPPED)
def test_a_stage_that_is_preempted_in_its_epochs_ends_in_the_same_bits(tmp_path, whole, name):
    stage, folder, stops = STOPPED[name], tmp_path / "run", []
    steps = 1 if name == "meta-training" else 3
    while True:
        number = SIGNALS[len(stops) % 3]
        status, err = in_fork(stage, folder, signal_after(steps, number))
        if status == 0:
            break
        assert (status, err) == (
            INTERRUPTED_BY_HAND if number == signal.SIGINT else INTERRUPTED,
            f"interrupted by {number.name}; {GOES_ON}\n",
        )
        stops.append(len(read_metrics(folder)))
    expected = {"meta-training": [1, 2, 3], "free retraining": [4, 8]}  # a replayed batch is finished first
    assert stops == expected.get(name, [3, 6])
    assert_same(stage, folder, whole(stage))


def test_a_signal_outside_of_training_ends_the_process_at_once_with_the_same_status(tmp_path):
    status, err = in_fork(SEARCH, tmp_path / "run", signal_at_the_lock)
    assert (status, err.partition(";")[0]) == (INTERRUPTED, "interrupted by SIGUSR1")
    assert not (tmp_path / "run" / "checkpoint").exists()


def signal_at_the_lock():
    lock = fcntl.flock

    def lock_and_signal(*arguments):
        lock(*arguments)
        os.kill(os.getpid(), signal.SIGUSR1)

    fcntl.flock = lock_and_signal


def test_signals_are_handled_as_before_once_a_training_is_over():
    before = [signal.getsignal(number) for number in SIGNALS]
    fabric = make_fabric(FabricSettings(accelerator="cpu"))
    with pytest.raises(Interrupted, match="SIGUSR1"), stop_requests(fabric):
        os.kill(os.getpid(), signal.SIGUSR1)  # after the last look: obeyed at the end
    with stop_requests(fabric) as request:
        assert not request.is_made()
        request.obey()
    assert before == [signal.getsignal(number) for number in SIGNALS]


def test_torch_goes_on_drawing_where_it_was():
    fabric = make_fabric(FabricSettings(accelerator="cpu"))
    seed_stream(3)
    state, expected = random_state(fabric), torch.rand(3)
    torch.rand(5)
    restore_random_state(fabric, state)
    assert torch.equal(torch.rand(3), expected)


def test_no_step_draws_from_the_generators_of_python_or_numpy(tmp_path):
    """Their places are not kept in a checkpoint."""

    def forbid():
        import numpy as np

        def drawn(*arguments, **named):
            raise AssertionError("a number was drawn")

        for name in ("rand", "randn", "randint", "random", "permutation", "choice", "uniform", "normal"):
            setattr(np.random, name, drawn)
        for name in ("random", "randint", "uniform", "choice", "shuffle", "sample", "getrandbits"):
            setattr(random, name, drawn)

    for name in ("search with all that draws", "retraining", "free retraining"):
        status, err = in_fork(STOPPED[name], tmp_path / name.replace(" ", "_"), forbid)
        assert status == 0, err


@pytest.mark.slow
@pytest.mark.parametrize("stage", [SEARCH, with_more(RETRAIN, *AVERAGED, "retrain.epochs=3")], ids=lambda s: s.script)
def test_two_processes_stop_together_when_one_of_them_is_asked_and_end_in_the_same_bits(tmp_path, stage):
    overrides = [*stage.overrides, "fabric.devices=2"]
    expected, folder = tmp_path / "whole", tmp_path / "run"
    status, _, err = run_script(stage.script, *overrides, f"run={expected}")
    assert status == 0, err
    process = script_process(stage.script, *overrides, f"run={folder}")
    while not read_metrics(folder):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    process.send_signal(signal.SIGUSR1)
    err = process.communicate(timeout=120)[1]
    assert (process.returncode, "interrupted by SIGUSR1" in err) == (INTERRUPTED, True), err
    assert len(read_metrics(folder)) < len(read_metrics(expected))
    status, _, err = run_script(stage.script, *overrides, f"run={folder}")
    assert status == 0, err
    assert_same(stage, folder, expected)


def full_at(count):
    """To be called in a fork, whose disk is then full at its n-th write."""

    def prepare():
        sync, seen = os.fsync, [0]

        def sync_or_fail(descriptor):
            seen[0] += 1
            if seen[0] == count:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(descriptor)

        os.fsync = sync_or_fail

    return prepare


@pytest.mark.parametrize("stage", [SEARCH, RETRAIN], ids=lambda stage: stage.script)
def test_a_disk_that_is_full_at_any_write_is_one_line_and_the_next_run_ends_in_the_same_bits(tmp_path, whole, stage):
    folder, count = tmp_path / "run", 0
    while True:
        count += 1
        status, err = in_fork(stage, folder, full_at(count))
        assert list(folder.glob("**/*.tmp")) == []
        if status == 0:
            break
        assert status == exit_status.STOPPED
        assert re.fullmatch(rf"stopped: {folder}/\S+: No space left on device; the same command goes on from .*\n", err)
    assert count >= 5
    assert_same(stage, folder, whole(stage))


def test_a_file_that_the_system_refuses_to_write_whole_leaves_the_checkpoint_before(tmp_path, whole):
    """By a limit of the kernel on the size of files, which is an error of write() itself."""
    folder = tmp_path / "run"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))

    status, err = in_fork(SEARCH, folder, limit)
    assert status == exit_status.STOPPED
    assert re.fullmatch(rf"stopped: {folder}/checkpoint/search-\S+\.ckpt: File too large; .*\n", err)
    assert list(folder.glob("checkpoint/*")) == []
    assert in_fork(SEARCH, folder)[0] == 0
    assert_same(SEARCH, folder, whole(SEARCH))


def obey_permissions():
    """Give up what lets root write where its permissions do not; capabilities(7): DAC_OVERRIDE, DAC_READ_SEARCH."""
    library, header, sets = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert library.capget(header, sets) == 0
    sets[0] &= ~0b110
    assert library.capset(header, sets) == 0


@pytest.mark.parametrize("stage", [SEARCH, RETRAIN, META], ids=lambda stage: stage.script)
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path, stage):
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(0o555)
    status, err = in_fork(stage, folder, obey_permissions)
    assert (status, err.count("\n")) == (exit_status.REFUSED, 1)
    assert re.match(rf"error: run={folder} cannot be (written|made a folder): Permission denied", err)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("stage", [SEARCH, RETRAIN, META], ids=lambda stage: stage.script)
def test_a_second_run_on_the_same_folder_is_refused(tmp_path, call_script, stage):
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, _, err = call_script(stage.script, *stage.overrides, f"run={tmp_path}")
    assert (status, err.count("\n")) == (exit_status.REFUSED, 1)
    assert f"another process is at work in {tmp_path}; wait for it or choose another run=" in err
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_may_not_be_read_is_refused_and_what_may_not_be_written_stops_the_stage(tmp_path, monkeypatch):
    def ending_at(path):
        return exit_status.ending(PermissionError(errno.EACCES, "Permission denied", str(path)), "")

    there, missing = tmp_path / "search.json", tmp_path / "folder" / "search.json"
    there.touch()
    missing.parent.mkdir()
    assert [ending_at(path)[0] for path in (there, missing)] == [exit_status.STOPPED] * 2  # they may be read
    refused = [(exit_status.REFUSED, f"error: {path} cannot be read: Permission denied") for path in (there, missing)]
    closed = {(str(there), os.R_OK), (str(missing.parent), os.X_OK)}
    monkeypatch.setattr(os, "access", lambda path, mode: (str(path), mode) not in closed)
    assert [ending_at(path) for path in (there, missing)] == refused


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
@pytest.mark.parametrize("stage", ["search", "evaluate", "report"])
def test_a_run_folder_that_may_not_be_read_is_one_line(tmp_path, call_script, stage):
    (tmp_path / "run").mkdir(mode=0)
    status, _, err = call_script(stage, f"run={tmp_path / 'run'}")
    assert (status, err.count("\n")) == (2, 1), err
    assert f"error: {tmp_path / 'run'}" in err
    assert "cannot be read: Permission denied" in err


def unfinished(stage, whole, folder):
    """A copy of a finished run before its end; its checkpoints, the newest last."""
    shutil.copytree(whole, folder)
    (folder / stage.files[-1]).unlink()
    return sorted(folder.glob("checkpoint/*.ckpt"))


@pytest.mark.parametrize("spoiled", [1, 2])
@pytest.mark.parametrize("stage", [SEARCH, RETRAIN, with_more(META, "meta.judge_every=2")], ids=lambda s: s.script)
def test_a_stage_goes_back_to_a_checkpoint_that_is_whole_and_says_so(tmp_path, whole, stage, spoiled):
    folder = tmp_path / "run"
    paths = unfinished(stage, whole(stage), folder)
    for path, length in zip(reversed(paths), (None, -100)[:spoiled], strict=False):
        content = bytearray(path.read_bytes()[:length])
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    status, err = in_fork(stage, folder)
    assert status == 0, err
    ends = ["going back to the one before", "starting from the beginning"][:spoiled]
    assert [line.rpartition("; ")[2] for line in err.splitlines()] == ends
    assert err.startswith(f"warning: {paths[-1]} cannot be read (its content is not what was written)")
    assert_same(stage, folder, whole(stage))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, {"value": float("nan")}) for name in ("accuracy", "robustness", "parameters", "macs")),
        ("accuracy", {"value": float("inf")}),
        ("robustness", {"gradient": torch.full((2, 5, 8), float("nan"))}),
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


def pid_of(_):
    return os.getpid()


@pytest.mark.slow
def test_a_worker_obeys_no_signal_to_stop_and_one_that_dies_is_one_line():
    with workers(2) as mapper:
        (pid,) = mapper(pid_of, [0])
        for number in (signal.SIGTERM, signal.SIGUSR1):
            os.kill(pid, number)
        assert pid in set(mapper(pid_of, range(100)))
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool) as caught:
            list(mapper(pid_of, range(100)))
    assert exit_status.ending(caught.value, "")[1].startswith("stopped: a worker process died")


@pytest.mark.slow
def test_workers_do_not_outlive_a_training_that_is_killed(tmp_path):
    folder = tmp_path / "run"
    process = script_process("meta_train", *TINY_META, "meta.processes=2", "meta.steps=500", f"run={folder}")
    while not read_metrics(folder):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    )
    children = [Path("/proc") / pid for pid in listed.stdout.split()]
    assert len(children) >= 2
    process.kill()
    process.communicate()
    last = time.monotonic() + 20
    while any(child.exists() for child in children) and time.monotonic() < last:
        time.sleep(0.05)
    assert [child for child in children if child.exists()] == []
