"""What is shown of work: a bar on a terminal; in a file, lines at a pace that can be read."""

import io
import os
import pty
import re
import time
from contextlib import redirect_stdout
from itertools import pairwise

import pytest
import rich

from pipeline.runs.progress import lines_named, progress_bar, silently
from tests.support.scripts import TINY

LINE = re.compile(r"\d\d:\d\d:\d\d search \d+/\d+ \| \d+:\d\d:\d\d left \| epoch .+")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when a test says so."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


class Log(io.StringIO):
    """A file that knows how much of it was flushed."""

    flushed = 0

    def flush(self):
        self.flushed = self.tell()


def test_in_a_file_there_is_a_line_of_the_first_step_and_the_last_and_fewer_as_time_passes(clock):
    with redirect_stdout(Log()) as log, progress_bar("search", 5000, done=1000) as bar:
        for _ in range(4000):
            clock[0] += 10
            bar.advance("loss 1")
    lines = log.getvalue().splitlines()
    steps = [int(re.search(r"search (\d+)/5000", line)[1]) for line in lines]
    pauses = [10 * (after - before) for before, after in pairwise(steps)]
    assert (steps[0], steps[-1]) == (1001, 5000)
    assert pauses[:4] == [30, 30, 30, 30]
    assert pauses[-2] == max(pauses) == 300
    assert pauses[:-1] == sorted(pauses[:-1])
    assert " | 11:06:30 left | loss 1" in lines[0]  # 3,999 steps of ten seconds


def test_each_line_is_flushed_as_it_is_written(clock):
    with redirect_stdout(Log()) as log, progress_bar("search", 3) as bar:
        bar.advance("first")
        assert log.flushed == len(log.getvalue()) > 0
        clock[0] += 1
        bar.advance("second")
        assert "second" not in log.getvalue()
    assert log.getvalue().splitlines()[-1].endswith("| second")  # ended early: what was reached is said
    assert log.flushed == len(log.getvalue())


def test_lines_of_a_job_begin_with_its_name_and_hidden_work_writes_none():
    with redirect_stdout(Log()) as log:
        with lines_named("job 3:"), progress_bar("search", 1) as bar:
            bar.advance("")
        with progress_bar("search", 1, show=False) as bar:
            bar.advance("")
        with silently(), progress_bar("search", 1) as bar:
            bar.advance("")
    assert re.fullmatch(r"\S+ job 3: search 1/1 \| 0:00:00 left\n", log.getvalue())


def test_a_terminal_shows_a_bar_and_no_lines(monkeypatch):
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patched:
        patched.setattr("rich._console", rich.console.Console(file=terminal))
        with progress_bar("search", 2) as bar:
            bar.advance("half")
            bar.advance("done")
        terminal.write("end of test")
        terminal.flush()
        shown = b""
        while b"end of test" not in shown:  # while it is open: of a closed one the last bytes can be lost
            shown += os.read(ours, 100_000)
    os.close(ours)
    shown = shown.decode()
    assert "━━━━" in shown
    assert "2/2" in shown
    assert not re.search(r"\d\d:\d\d:\d\d search", shown)


def test_a_search_without_a_terminal_writes_its_step_epoch_figures_and_time_left(tmp_path, call_script):
    status, out, err = call_script("search", *TINY, f"run={tmp_path / 'run'}")
    assert status == 0, err
    first, *_, last = [line for line in out.splitlines() if " search " in line]
    assert LINE.fullmatch(first), first
    assert LINE.fullmatch(last), last
    assert "search 1/4 " in first
    assert "search 4/4 | 0:00:00 left | epoch 2/2 | losses acc " in last
