"""The script that measures on a GPU: a dry run shows that its phases run, and what it stores is kept and goes on."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from cuda_phases import command
from cuda_phases.journal import COMPLETE, Journal
from cuda_phases.phases import PHASES, WHOLE, Phase, run, text_of
from cuda_phases.place import PAPER, TINY, Place
from cuda_phases.projection import rows as projected

from pipeline.errors import RunError
from tests.support.scripts import ROOT

CPU = Place(torch.device("cpu"), TINY, make_fabric=lambda precision: None)
HEADER = {"torch": "2"}


def cuda(*arguments):
    return subprocess.run(
        [sys.executable, "benchmarks/cuda.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def endings(file):
    return {line["phase"]: line["ended"] for line in lines_of(file)[1:] if "ended" in line}


def assert_complete(folder, phases):
    for device in ("cpu", "acc"):
        expected = [name for name in phases if (name, device) != ("stages", "acc")]
        assert endings(folder / device / "cuda.jsonl") == dict.fromkeys(expected, COMPLETE)
        assert (folder / device / "cuda.md").read_text().count("complete, ") == len(expected)


def test_phases_run_on_the_cpu(tmp_path):
    phases = [phase for phase in PHASES if phase.name in ("machine", "capture")]
    assert command.measure(phases, command.place_of("cpu"), tmp_path, time.monotonic() + 100)
    assert endings(tmp_path / "cuda.jsonl") == {"machine": COMPLETE, "capture": COMPLETE}
    assert "| gradient in the images |" in (tmp_path / "cuda.md").read_text()


@pytest.mark.slow  # starts a process; phases run on the CPU above, steps on such a device in test_device_law
def test_phases_run_on_a_device_that_is_not_there_and_nothing_forbids_to_capture_them(tmp_path):
    phases = ("capture",)
    assert command.start_on_fake(tmp_path, phases)
    assert endings(tmp_path / "acc" / "cuda.jsonl") == dict.fromkeys(phases, COMPLETE)
    captured = [row for row in lines_of(tmp_path / "acc" / "cuda.jsonl") if "region" in row]
    assert [(row["waits"], row["copies"]) for row in captured] == [(0, 0)] * 3


@pytest.mark.slow
def test_all_phases_run(tmp_path):
    done = cuda("--out", tmp_path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert_complete(tmp_path, [phase.name for phase in PHASES])
    compared = [row for row in lines_of(tmp_path / "acc" / "cuda.jsonl") if "agrees" in row]
    assert len(compared) > 20
    assert all(row["agrees"] for row in compared), compared


def test_without_a_gpu_it_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["cuda.py", "--out", str(tmp_path / "results")])
    with pytest.raises(SystemExit) as stop:
        command.main("")
    out, err = capsys.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    assert "expected a CUDA device, found none" in err
    assert list(tmp_path.iterdir()) == []


def test_the_budgets_of_all_phases_end_within_the_whole():
    assert sum(phase.budget for phase in PHASES) <= WHOLE - 30  # what it takes to start
    assert WHOLE <= 460


def test_a_row_is_on_the_disk_before_the_next_is_begun_and_a_phase_that_takes_too_long_is_stopped(tmp_path):
    journal = Journal(tmp_path, HEADER)

    def rows(place, earlier):
        yield {"what": 1}
        assert lines_of(tmp_path / "cuda.jsonl")[-1] == {"phase": "slow", "what": 1}
        while True:
            time.sleep(0.01)

    phases = [Phase("slow", "Slow", 0.2, rows), Phase("next", "Next", 5, lambda place, earlier: iter([{"what": 2}]))]
    assert not run(phases, CPU, journal, deadline=time.monotonic() + 10, report=lambda: None)
    assert journal.rows("slow") == [{"what": 1}]
    assert journal.ending("slow")["ended"].startswith("stopped after")
    assert journal.ending("next")["ended"] == COMPLETE
    assert "| what |\n| --- |\n| 2 |" in text_of(phases, journal)


def test_a_phase_that_fails_is_named_and_the_next_runs(tmp_path, capsys):
    journal = Journal(tmp_path, HEADER)
    failing = Phase("bad", "Bad", 5, lambda place, earlier: iter([{"what": 1 / (len(earlier("bad")))}]))
    good = Phase("good", "Good", 5, lambda place, earlier: iter([{"what": 2}]))
    assert not run([failing, good], CPU, journal, deadline=time.monotonic() + 10, report=lambda: None)
    assert journal.ending("bad")["ended"] == "failed: ZeroDivisionError: division by zero"
    assert journal.rows("good") == [{"what": 2}]
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_phases_that_have_ended_are_not_measured_again_and_half_a_phase_is(tmp_path):
    journal = Journal(tmp_path, HEADER)
    journal.add("whole", {"what": 1})
    journal.end("whole", COMPLETE, 1.0)
    journal.add("half", {"what": 2})
    with (tmp_path / "cuda.jsonl").open("a") as file:
        file.write('{"phase": "ha')  # a killed process
    again = Journal(tmp_path, HEADER)
    assert again.rows("whole") == [{"what": 1}]
    assert (again.rows("half"), again.ending("half")) == ([], None)
    with pytest.raises(RunError, match="measured elsewhere or by other versions"):
        Journal(tmp_path, {"torch": "3"})


def test_hours_are_the_paper_s_steps_times_their_seconds():
    steps = [{"step": "ours", "order": "first", "precision": "32-true", "batch": 64, "s": 1.0}]
    larger = {**steps[0], "batch": 128, "s": 9.0}
    trainings = [{"step": "retraining, PGD-10", "precision": "32-true", "s": 0.5}, {"step": "SGD", "s": 1}]
    replayed = [
        {"step": "search, first order", "graphs": graphs, "s": s} for graphs, s in (("off", 1.0), ("auto", 0.2))
    ]
    earlier = {"steps": [*steps, larger], "capture": replayed, "trainings": trainings}
    place = Place(torch.device("cpu"), PAPER, make_fabric=lambda precision: None)
    found = {row["what"]: row["hours"] for row in projected(place, earlier.__getitem__)}
    # 50 epochs of 25,000 images in batches of 64; 600 of 45,000 in batches of 96
    expected = {"search, ours, first order, 32-true": 50 * 390 / 3600}
    expected["search, first order, from graphs, 32-true"] = 50 * 390 * 0.2 / 3600
    expected["retraining, PGD-10, 32-true"] = 600 * 469 * 0.5 / 3600
    assert found == pytest.approx(expected)
