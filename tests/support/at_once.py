"""What a program does beside its own work, done in this process before it goes on."""

import contextlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.scripts import ROOT, status_of


class InThisProcess:
    """A script that another one starts, in the place of `pipeline.compute.interruption.start`."""

    def __init__(self, command, **streams):
        python, script, *overrides = command
        assert (python, Path(script).parent) == (sys.executable, ROOT / "scripts")
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
            self.returncode = status_of(patch, Path(script).stem, overrides)

    def communicate(self):
        return None, ""


class AtOnce:
    """An executor whose work is done when it is submitted."""

    def __init__(self, workers):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def submit(self, work):
        found = work()
        return SimpleNamespace(result=lambda: found)
