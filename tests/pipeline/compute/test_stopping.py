"""Signals to real processes, from their first moment on: one line, a status of its own, and nothing left behind."""

import importlib.util
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import kills
import pytest
import torch
from matplotlib.figure import Figure

from e2rnas.cli import app
from e2rnas.cli.composing.config_errors import Refused
from pipeline.compute.interruption import (
    GOES_ON,
    INTERRUPTED,
    INTERRUPTED_BY_HAND,
    STOPPED,
    Interrupted,
    stop_now,
)
from pipeline.evaluation import evaluate as evaluation
from pipeline.runs.metrics import MetricLog, read_metrics
from tests.support.forks import SEARCH, in_fork
from tests.support.runs.exported import write_network
from tests.support.scripts import TINY, TINY_EVALUATION, TINY_META, script_process

LINE = f"interrupted by {{}}; {GOES_ON}\n"
SECONDS = 30  # in which all processes of a run are gone
TWO = ("fabric.devices=2", "search.epochs=200")


def until(condition, process, seconds=120):
    """Wait for a condition while a process runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def has_handlers(process):
    """Whether a process handles SIGUSR1, which Python itself leaves alone."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())[1]
    return bool(int(caught, 16) >> (signal.SIGUSR1 - 1) & 1)


def children(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def living(group):
    """Lines of ps for the processes of a group."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat=,pid=,args="], capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 2) for line in listed.splitlines()]
    return [line[2] for line in lines if line[0] == str(group) and not line[1].startswith("Z")]


def started(script, *overrides):
    """A script in a session of its own, as from a terminal, whose Ctrl-C reaches all of its processes."""
    return script_process(script, *overrides, start_new_session=True)


def end_of(process):
    """Exit status and standard error, once all processes of its session are gone, in time."""
    last = time.monotonic() + SECONDS
    _, err = process.communicate(timeout=SECONDS)
    while living(process.pid):
        assert time.monotonic() < last, living(process.pid)
        time.sleep(0.1)
    return process.returncode, err


@pytest.mark.parametrize(
    ("number", "seconds", "status"),
    [
        (signal.SIGINT, 0, INTERRUPTED_BY_HAND),
        (signal.SIGTERM, 0.3, INTERRUPTED),
        (signal.SIGUSR1, 1, INTERRUPTED),
        pytest.param(signal.SIGINT, 3, INTERRUPTED_BY_HAND, marks=pytest.mark.slow),
    ],
)
def test_a_signal_while_a_script_imports_is_one_line_and_the_same_status(tmp_path, number, seconds, status):
    process = started("search", *TINY, f"run={tmp_path / 'run'}")
    until(lambda: has_handlers(process), process)
    time.sleep(seconds)
    os.killpg(process.pid, number)
    found, err = end_of(process)
    assert found == status
    assert re.fullmatch(LINE.format(number.name), err)
    assert not list(tmp_path.glob("run/*.json"))


def test_a_library_that_fails_as_it_is_interrupted_does_not_hide_the_signal(call_script, monkeypatch):
    def interrupted(overrides):
        try:
            stop_now(signal.SIGTERM, None)
        except Interrupted:
            raise Refused("a flag is not what it was")  # noqa: B904 - as OmegaConf's flags end a composition

    monkeypatch.setattr(app, "composed", interrupted)
    status, _, err = call_script("search", *TINY)
    assert status == INTERRUPTED
    assert re.fullmatch(LINE.format("SIGTERM"), err)


def test_a_second_signal_while_the_step_is_waited_for_stops_at_once_and_leaves_files_whole(tmp_path):
    def signal_twice():
        write = MetricLog.write

        def write_and_signal(self, step, row):
            write(self, step, row)
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)

        MetricLog.write = write_and_signal

    folder = tmp_path / "run"
    status, err = in_fork(SEARCH, folder, signal_twice)
    assert status == INTERRUPTED_BY_HAND
    assert re.fullmatch(LINE.format("SIGINT"), err)
    assert len(read_metrics(folder)) == 1
    assert not list(folder.glob("checkpoint/*"))
    assert not list(folder.glob("**/*.tmp"))
    assert in_fork(SEARCH, folder)[0] == 0


@pytest.mark.slow
def test_the_first_process_says_in_one_line_that_another_one_died_before_the_work(tmp_path):
    process = started("search", *TINY, *TWO, f"run={tmp_path / 'run'}")
    until(lambda: children(process), process)
    os.kill(children(process)[0], signal.SIGKILL)
    assert end_of(process) == (STOPPED, "stopped: process 1 of this run ended (killed by SIGKILL)\n")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["in the rendezvous", "at work"])
def test_the_first_process_says_in_one_line_that_another_one_died(tmp_path, moment):
    process = started("search", *TINY, *TWO, f"run={tmp_path / 'run'}")
    until(lambda: children(process), process)
    if moment == "at work":
        until(lambda: read_metrics(tmp_path / "run"), process)
    else:
        until(lambda: is_listening(process), process)
    os.kill(children(process)[0], signal.SIGKILL)
    status, err = end_of(process)
    assert (status, err.count("\n")) == (STOPPED, 1), err
    assert err.startswith("stopped: ")


def is_listening(process):
    """Whether a process waits for others of its run to come."""
    listed = subprocess.run(["ls", "-l", f"/proc/{process.pid}/fd"], capture_output=True, text=True, check=True).stdout
    return "socket:" in listed


@pytest.mark.slow
def test_processes_end_with_the_first_one_that_is_killed(tmp_path):
    process = started("search", *TINY, *TWO, f"run={tmp_path / 'run'}")
    until(lambda: children(process), process)
    process.kill()
    assert end_of(process) == (-signal.SIGKILL, "")


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_process_that_waits_for_another_one_that_hangs(tmp_path):
    process = started("search", *TINY, *TWO, f"run={tmp_path / 'run'}")
    until(lambda: read_metrics(tmp_path / "run"), process)
    (other,) = children(process)
    os.kill(other, signal.SIGSTOP)
    for _ in range(2):
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=SECONDS) == INTERRUPTED_BY_HAND
    os.kill(other, signal.SIGCONT)
    assert re.fullmatch(LINE.format("SIGINT"), end_of(process)[1])


LONG = ("retrain.epochs=300", "search.epochs=300")
DEMO = ("data.test_limit=64", "attack.steps=1", "retrain.epochs=300")
JOBLIB = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1,2")
STAGES = {
    "search in two processes": ("search", (*TINY, *TWO), "metrics.jsonl"),
    "retraining in two processes": ("retrain", (*TINY, *LONG, "genotype=PDARTS", "fabric.devices=2"), "metrics.jsonl"),
    "meta-training with workers": (
        "meta_train",
        (*TINY_META, "meta.processes=2", "meta.steps=500"),
        "checkpoint/*.ckpt",
    ),
    "comparison": ("compare", (*TINY, *LONG, "comparison.searches=2", "comparison.processes=2"), "*/*/metrics.jsonl"),
    "demo with its scripts": ("demo", (*TINY, *DEMO), "../run-DARTS_V2/metrics.jsonl"),
    "sweep": ("search", ("-m", *TINY, *LONG, "seed=0,1"), "seed=0/metrics.jsonl"),
    "sweep with joblib": ("search", (*JOBLIB, *TINY, *LONG), "*/metrics.jsonl"),
}
WITHOUT_JOBLIB = importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("name", STAGES)
def test_ctrl_c_ends_all_processes_of_a_command_in_one_line(tmp_path, name, times):
    if WITHOUT_JOBLIB and "joblib" in name:
        pytest.skip("needs joblib")
    script, overrides, pattern = STAGES[name]
    results = (f"comparison.results={tmp_path / 'results'}",) if script == "compare" else ()
    process = started(script, *overrides, *results, f"run={tmp_path / 'run'}")
    until(lambda: any(path.stat().st_size for path in (tmp_path / "run").glob(pattern)), process)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.01)
    status, err = end_of(process)
    said = [line for line in err.splitlines(keepends=True) if not re.match(r"job \d+: /", line)]
    assert status == INTERRUPTED_BY_HAND
    assert re.fullmatch(f"(job 0: )?{LINE.format('SIGINT')}", "".join(said)), err
    assert not list(tmp_path.rglob("*.tmp")) or times == 2
    if times == 1:
        assert list(tmp_path.rglob("*.ckpt"))


def ctrl_c_at(owner, name):
    """To be called in a fork: it then sends itself SIGINT as it calls a function."""

    def prepare():
        call = getattr(owner, name)

        def signal_and_call(*arguments, **options):
            os.kill(os.getpid(), signal.SIGINT)
            return call(*arguments, **options)

        setattr(owner, name, signal_and_call)

    return prepare


MOMENTS = {"evaluate": (evaluation, "measure"), "export": (torch.export, "export"), "report": (Figure, "savefig")}


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("script", MOMENTS)
def test_ctrl_c_in_a_stage_without_checkpoints_is_one_line_and_writes_nothing(tmp_path, script):
    folder = tmp_path / "run"
    write_network(folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    status, err = in_fork(kills.Stage(script, TINY_EVALUATION, ()), folder, ctrl_c_at(*MOMENTS[script]))
    assert (status, err) == (INTERRUPTED_BY_HAND, LINE.format("SIGINT"))
    (folder / ".lock").unlink(missing_ok=True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


AT_WORK = {
    "evaluate": ("evaluate.attacks=[autoattack]", "evaluate.restarts=50"),
    "export": ("export.formats=[torch_export,onnx]",),
    "pareto": ("pareto.bounds=[[2500,4000]]", "pareto.epochs=300", "objectives=e2rnas", "search.epochs=1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("script", AT_WORK)
def test_ctrl_c_at_work_ends_a_real_process_in_one_line_and_leaves_no_half_of_a_file(tmp_path, script):
    folder = tmp_path / "run"
    if script != "pareto":
        write_network(folder)
    settings = TINY if script == "pareto" else TINY_EVALUATION
    process = started(script, *settings, *AT_WORK[script], f"run={folder}")
    while f" {script} " not in process.stdout.readline():
        assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGINT)
    status, err = end_of(process)
    assert (status, err) == (INTERRUPTED_BY_HAND, LINE.format("SIGINT"))
    assert not list(folder.rglob("*.tmp"))
