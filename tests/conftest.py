"""Shared by the tests: a search small enough for seconds, and the scripts as processes."""

import importlib
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

TINY = (
    "data.limit=80",
    "data.test_limit=40",
    "attack.eps=0.1",
    "attack.steps=1",
    "search.channels=2",
    "search.layers=3",
    "search.derived_channels=4",
    "search.derived_layers=3",
    "search.epochs=2",
    "search.batch_size=20",
    "search.alpha_learning_rate=0.1",
    "search.diagnostics.iterations=2",
    "objectives=e2rnas",
    "objectives.parameters=[2500,4000]",
    "objectives.macs=[null,1e5]",
    "retrain.channels=4",
    "retrain.layers=3",
    "retrain.epochs=2",
    "retrain.batch_size=24",
    "retrain.auxiliary_weight=0.4",
    "retrain.attack.steps=2",
    "evaluate.attacks=[fgsm,pgd-20]",
    "fabric.accelerator=cpu",
)
"""Overrides: every stage in a second or two on 8x8 digits."""

TINY_EVALUATION = tuple(key for key in TINY if not key.startswith(("search.", "retrain.", "objectives")))
"""Those of them that contradict no network: its training was given its own."""


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # the tensors are tiny; threads would wait for one another


@pytest.fixture
def call_script(monkeypatch, capsys):
    """Run scripts/<name>.py in this process, which saves the seconds of importing PyTorch again."""

    # of a process that ends with its program; this one runs other tests after it
    monkeypatch.setattr("e2rnas.cli.signals.watch", lambda: None)

    def call(name, *overrides):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *overrides])
        status = 0
        try:
            runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def main_of(name):
    """What scripts/<name>.py calls with an experiment, for what it returns."""
    return importlib.import_module(f"e2rnas.cli.stages.{name}").main


def script_process(name, *overrides, **options):
    """Start scripts/<name>.py as a user would, with warnings as errors where they are ours to mend."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *overrides]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def run_script(name, *overrides):
    """Exit status, standard output and standard error of a script."""
    process = script_process(name, *overrides)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err
