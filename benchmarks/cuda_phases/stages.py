"""Programs as a user starts them: the tests that need a GPU, and a search that SIGTERM stops and that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from cuda_phases.place import Place, Row
from pipeline.runs.metrics import read_metrics

ROOT = Path(__file__).resolve().parents[2]
GPU_TESTS = (
    "tests/pipeline/compute/test_gpu.py",
    "tests/mgda/test_balance.py",
    "tests/pipeline/data/test_streaming.py",
)
SEARCH = (
    "data.limit=80",
    "space.operations=[none,max_pool_3x3,skip_connect,sep_conv_5x5]",
    "space.nodes=2",
    "attack.steps=1",
    "search.channels=2",
    "search.layers=3",
    "search.epochs=4",
    "search.batch_size=20",
    "search.diagnostics.iterations=0",
    "objectives=robust",
    "weight_optimizer=sgd",
)
ROWS_BEFORE = 3  # of metrics.jsonl, before the signal
POLL = 0.02  # seconds


def rows(place: Place, earlier: Callable[[str], Sequence[Row]]) -> Iterator[Row]:
    """Give the exit status of each program, and whether the stopped search ends with the alphas of the whole one."""
    started = time.perf_counter()
    yield {"what": "search stopped by SIGTERM", **_stopped(place)} | {"s": time.perf_counter() - started}
    started = time.perf_counter()
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *GPU_TESTS]
    done = subprocess.run(tests, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)  # noqa: S603
    last = (done.stdout.strip().splitlines() or [done.stderr.strip()[-200:]])[-1]
    yield {"what": "pytest -m gpu", "status": done.returncode, "note": last, "s": time.perf_counter() - started}


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def _start(run: Path, place: Place) -> subprocess.Popen[str]:
    accelerator = "cuda" if place.is_cuda else "cpu"
    command = [sys.executable, str(ROOT / "scripts" / "search.py"), *SEARCH, f"run={run}"]
    command.append(f"fabric.accelerator={accelerator}")
    return subprocess.Popen(  # noqa: S603
        command, cwd=ROOT, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _stopped(place: Place) -> Row:
    """Compare a search that is stopped after some steps, and started again, with one that is not."""
    with tempfile.TemporaryDirectory() as folder:
        whole, halved = Path(folder, "whole"), Path(folder, "halved")
        first, beside = _start(halved, place), _start(whole, place)
        while first.poll() is None and not _has_begun(halved):
            time.sleep(POLL)
        first.send_signal(signal.SIGTERM)
        statuses = [_ended(first), _ended(_start(halved, place)), _ended(beside)]
        alphas = [load_file(run / "alphas.safetensors") for run in (halved, whole)]
        same = all(torch.equal(alphas[0][name], alphas[1][name]) for name in alphas[1])
        furthest = max((alphas[0][name] - alphas[1][name]).abs().max().item() for name in alphas[1])
    return {"status": " ".join(map(str, statuses)), "same alphas": same, "largest difference": furthest}


def _has_begun(run: Path) -> bool:
    return len(read_metrics(run, "search")) >= ROWS_BEFORE


def _ended(process: subprocess.Popen[str]) -> int:
    process.communicate()
    return process.returncode
