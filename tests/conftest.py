"""What every test may ask for: one thread of PyTorch, and the scripts called in this process."""

import runpy
import sys

import pytest
import torch

from tests.support.scripts import ROOT


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
