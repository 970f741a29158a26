"""Processes that share work."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.scripts import ROOT

WORK = """
import os, sys, time
from pathlib import Path

from pipeline.compute.workers import process_pool

def note(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    with process_pool(2, 1) as pool:
        list(pool.map(note, [sys.argv[1]] * 2))
"""


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


@contextmanager
def two_at_work(folder, program):
    """A process that runs a program, and the numbers of the two that work for it."""
    script, processes = folder / "work.py", folder / "processes"
    script.write_text(program)
    processes.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "err").open("w") as err:
        parent = subprocess.Popen(
            [sys.executable, script, processes], env=environment, stderr=err, start_new_session=True
        )
    try:
        assert until(lambda: len(list(processes.iterdir())) == 2, 300)  # each imports PyTorch first
        yield parent, [int(path.name) for path in processes.iterdir()]
    finally:
        parent.kill()
        parent.wait()


def test_processes_end_with_the_one_that_made_them_even_if_it_is_killed(tmp_path):
    with two_at_work(tmp_path, WORK) as (parent, processes):
        assert all(map(is_running, processes))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert until(lambda: not any(map(is_running, processes)), 20)


INTERRUPTED = """
import os, signal, sys, time
from functools import partial
from pathlib import Path

from pipeline.studies.work import in_processes
from pipeline.compute.interruption import Interrupted, handled_by, stop_now

def note(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    try:
        with handled_by(stop_now):
            in_processes("wait", [partial(note, sys.argv[1])] * 4, 2)
    except Interrupted:
        sys.exit(75)
"""


@pytest.mark.slow
def test_works_of_an_interrupted_process_are_interrupted_with_it_and_hear_no_ctrl_c_of_their_own(tmp_path):
    with two_at_work(tmp_path, INTERRUPTED) as (parent, processes):
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.wait(timeout=60) == 75
        assert not any(map(is_running, processes))
    assert len(list((tmp_path / "processes").iterdir())) == 2  # the works that waited were not begun
    assert (tmp_path / "err").read_text() == ""


IDLE = """
import os, signal, sys, time
from functools import partial
from pathlib import Path

from pipeline.studies.work import in_processes
from pipeline.compute.interruption import Interrupted, handled_by, stop_now

def note(folder, index):
    Path(folder, str(os.getpid())).touch()
    if index == 0:  # as a training does: it stops at its next step
        asked = []
        with handled_by(lambda *_: asked.append(True)):
            while not asked:
                time.sleep(0.1)
        raise Interrupted("SIGTERM")

if __name__ == "__main__":
    try:
        with handled_by(stop_now):
            in_processes("wait", [partial(note, sys.argv[1], index) for index in range(2)], 2)
    except Interrupted:
        sys.exit(75)
"""


@pytest.mark.slow
def test_an_idle_process_does_not_keep_an_interrupted_one_from_ending(tmp_path):
    with two_at_work(tmp_path, IDLE) as (parent, processes):
        time.sleep(1)  # one of the two has nothing left to do
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(timeout=60) == 75
        assert not any(map(is_running, processes))
