"""A stage that is asked to stop, or whose worker dies, says so in one line and ends in the same bits."""

import fcntl
import os
import random
import signal
import subprocess
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch

from e2rnas.cli import exit_status
from pipeline.compute.fabric import make_fabric
from pipeline.compute.interruption import GOES_ON, INTERRUPTED, INTERRUPTED_BY_HAND, SIGNALS, Interrupted
from pipeline.compute.processes import random_state, restore_random_state
from pipeline.compute.seeds import seed_stream
from pipeline.compute.stop_requests import stop_requests
from pipeline.compute.workers import workers
from pipeline.runs.metrics import read_metrics
from pipeline.settings import FabricSettings
from tests.support.forks import META, RETRAIN, SEARCH, assert_same, in_fork, signal_after, with_more
from tests.support.scripts import MEASURED, TINY_META, run_script, script_process
from tests.support.slowly import slowly

DRAWS = ("attack=carry_over", "search.relaxation.sampled_operations=2", "search.relaxation.dropout=0.3", MEASURED)


AVERAGED = ("retrain.average_decay=0.9", "retrain.awp_gamma=0.01", "data.cutout=2", "data.flip=true")


STOPPED = {
    "search": SEARCH,
    "search with all that draws": with_more(SEARCH, *DRAWS, "balance=pcgrad", "data.cutout=2"),
    "retraining": with_more(RETRAIN, "weight_optimizer=adamw", *AVERAGED),
    "free retraining": with_more(RETRAIN, "recipe=free", "retrain.replays=2"),
    "meta-training": META,
}


@pytest.mark.parametrize(
    "name", ["search with all that draws", "meta-training", *slowly("retraining", "search", "free retraining")]
)
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


@pytest.mark.parametrize("name", ["search with all that draws", "retraining", *slowly("free retraining")])
def test_no_step_draws_from_the_generators_of_python_or_numpy(tmp_path, name):
    """Their places are not kept in a checkpoint."""

    def forbid():
        import numpy as np

        def drawn(*arguments, **named):
            raise AssertionError("a number was drawn")

        for name in ("rand", "randn", "randint", "random", "permutation", "choice", "uniform", "normal"):
            setattr(np.random, name, drawn)
        for name in ("random", "randint", "uniform", "choice", "shuffle", "sample", "getrandbits"):
            setattr(random, name, drawn)

    status, err = in_fork(STOPPED[name], tmp_path / "run", forbid)
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
