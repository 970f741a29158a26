"""What every test may ask for: one thread of PyTorch, blank figures, and the scripts called in this process."""

import copy
import gc
import os
from functools import cache

import pytest
import sklearn.datasets
import torch
from hypothesis import HealthCheck, settings

from pipeline.presentation import style
from tests.support.figures import drawing, undrawn
from tests.support.scripts import status_of

# how long an example takes says how busy the machine is; others are drawn each time, so few of them meet all in the end
settings.register_profile("any_machine", deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_machine")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)  # the tensors are tiny; threads would wait for one another


@pytest.fixture(autouse=True, scope="session")
def _coarse():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 40)  # fewer pixels, a quarter of the time of a page
        yield


@pytest.fixture(autouse=True, scope="session")
def _undrawn():
    with undrawn():
        yield


@pytest.fixture
def drawn():
    """Let figures of pages be drawn, for tests of what is in them; elsewhere they are blank."""
    with drawing():
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_disks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)  # nothing here outlives a power cut
        yield


@pytest.fixture(autouse=True, scope="session")
def _read_once():
    digits = cache(sklearn.datasets.load_digits)  # which each stage reads anew
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sklearn.datasets, "load_digits", lambda: copy.deepcopy(digits()))
        yield


def pytest_collection_finish():
    gc.collect()
    gc.freeze()  # modules and tests live to the end; looking for cycles in them takes a tenth of all time


@pytest.fixture
def call_script(monkeypatch, capsys):
    """Run scripts/<name>.py in this process, which saves the seconds of importing PyTorch again."""

    def call(name, *overrides):
        status = status_of(monkeypatch, name, overrides)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
