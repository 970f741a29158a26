"""No tensor is on the wrong device: steps and stages run on a device that is not there, and refuses what CUDA refuses.

In a process of its own, as the device cannot be taken away again. It also counts what a step asks of a device.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.support.scripts import ROOT

PLANTED = "planted"
DEFAULT = ("counted", "attack pgd-20 Linf", PLANTED)  # the slow test runs all
LIMITS = {  # of a step; a line of the project behind every read and copy is in what the test shows
    "counted search": {"kernels": 5_200, "views": 5_200, "reads": 2, "copies": 1},
    "counted single paths": {"kernels": 5_000, "views": 4_500, "reads": 2, "copies": 3},
    "counted retraining": {"kernels": 1_000, "views": 340, "reads": 1, "copies": 0},
}

CAPTURED_LIMITS = {  # of the same step, attack and gradients of which are recorded: a replay counts as one kernel
    "counted search": {"kernels": 200, "views": 50, "reads": 2, "copies": 1, "replays": [2, 2]},
    "counted retraining": {"kernels": 500, "views": 150, "reads": 1, "copies": 0, "replays": [2]},
}


def run_cases(*beginnings):
    """What each case gave, by name: those whose name begins so."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.support.fake_accelerator", *beginnings],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    found = [json.loads(line) for line in process.stdout.splitlines()]
    return {case["name"]: case for case in found}


def errors(found):
    """The errors by name, but for those of what is planted."""
    return {name: case["error"] for name, case in found.items() if case["error"] and not name.startswith(PLANTED)}


@pytest.fixture(scope="module")
def found():
    return run_cases(*DEFAULT)


def test_steps_leave_no_tensor_on_another_device(found):
    assert {beginning for beginning in DEFAULT if any(name.startswith(beginning) for name in found)} == set(DEFAULT)
    assert errors(found) == {}


@pytest.mark.parametrize("name", LIMITS)
def test_a_step_asks_no_more_of_a_device(name, found):
    counts = found[name]["counts"]
    above = {what: counts[what] for what, limit in LIMITS[name].items() if counts[what] > limit}
    assert above == {}, counts["lines"]


@pytest.mark.parametrize("name", CAPTURED_LIMITS)
def test_what_is_recorded_reads_nothing_and_a_replayed_step_is_the_plain_one(name, found):
    assert found[name]["error"] == ""  # the case compares figures, weights, and kernels of other values
    counts = found[name]["counts"]["captured"]
    assert {what: counts[what] for what, limit in CAPTURED_LIMITS[name].items() if counts[what] > limit} == {}
    assert counts["replays"] == CAPTURED_LIMITS[name]["replays"]


def test_what_a_device_refuses_is_refused_and_what_it_waits_for_is_counted(found):
    assert "expected a generator of acc:0, found one of the cpu" in found["planted generator"]["error"]
    assert "acc [(2,)] with cpu [(2,)]" in found["planted mixture"]["error"]
    counts = found["planted reads and copies"]["counts"]
    assert (counts["reads"], counts["copies"]) == (3, 2)
    assert found["planted change"]["error"] == ""


@pytest.mark.slow
def test_all_that_a_person_can_choose_runs_on_a_device():
    assert errors(run_cases()) == {}
