"""SIGKILL at random moments: a killed stage is started again until it ends, and its files are those of an unkilled one.

    python benchmarks/kills.py             # 100 kills, shared by search, retraining and meta-training
    python benchmarks/kills.py --kills 20 --stages search

Each start runs the stage's script in a fork of this process, which has imported PyTorch already: a moment, uniform in
[0, T) for T the time of an unkilled run, falls into the work and not into imports. A run that ends before its moment is
held against the unkilled one, and the kills go on with the next run. Files are compared byte for byte but for the time
that they say the work took.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import kornia.augmentation  # noqa: F401 - imported once, for all forks
import rich
import sklearn.datasets  # noqa: F401
import torch
import torch._dynamo
from hydra.core.plugins import Plugins
from record import RESULTS, table, write

from e2rnas.cli.composing.composition import composed
from e2rnas.cli.composing.config_errors import Refused
from e2rnas.cli.programs import PROGRAMS, main_of
from pipeline.runs.metrics import read_metrics
from pipeline.runs.progress import progress_bar
from pipeline.search import search  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
POLL = 0.002  # seconds
TIMES = {"seconds", "environment"}  # keys of JSON that differ from run to run
ON_DIGITS = (
    "data.limit=80",
    "attack.eps=0.1",
    "attack.steps=1",
    "search.channels=2",
    "search.layers=3",
    "search.derived_channels=4",
    "search.derived_layers=3",
    "search.epochs=3",
    "search.batch_size=20",
    "search.alpha_learning_rate=0.1",
    "objectives.parameters=[2500,4000]",
    "retrain.channels=4",
    "retrain.layers=3",
    "retrain.epochs=3",
    "retrain.batch_size=24",
    "retrain.attack.steps=2",
    "fabric.accelerator=cpu",
)
ON_TASKS = (
    "meta.families=[quadratics,mlp_clusters]",
    "meta.tasks=2",
    "meta.judged_tasks=1",
    "meta.horizon=10",
    "meta.first_length=3",
    "meta.last_length=5",
    "meta.pairs=2",
    "meta.streams=3",
    "meta.steps=4",
    "meta.judge_every=1",
    "meta.outer_batches=1",
    "meta.processes=1",
    "fabric.accelerator=cpu",
)


@dataclass(frozen=True)
class Stage:
    """A script, its overrides, and the files in which it ends."""

    script: str
    overrides: Sequence[str]
    files: Sequence[str]


STAGES = {
    "search": Stage("search", ON_DIGITS, ("genotype.json", "alphas.safetensors", "normal.svg", "search.json")),
    "retraining": Stage("retrain", (*ON_DIGITS, "genotype=PDARTS"), ("network.safetensors", "network.json")),
    "meta-training": Stage("meta_train", ON_TASKS, ("theta.safetensors", "theta.json", "scales.json")),
}


@dataclass(frozen=True)
class Outcome:
    """kills: of all runs.  runs: that ended.  inside: kills after the first checkpoint.  differences: such files."""

    kills: int
    runs: int
    inside: int
    differences: Sequence[str]


def start(
    script: str, overrides: Sequence[str], *, before: Callable[[], object] = lambda: None, err: Path | None = None
) -> int:
    """Run a script in a fork, whose process id is returned.

    before: called there first.  err: file of its standard error; its other output is dropped.
    """
    sys.stdout.flush()
    Plugins.instance()  # looks for Hydra's plugins once, for all forks
    main_of(script)  # imported once, for all forks
    with contextlib.suppress(Refused):
        composed([*PROGRAMS[script].defaults, *overrides])  # the options are kept
    pid = os.fork()
    if pid:
        return pid
    status = 70  # EX_SOFTWARE of sysexits.h
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(err or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), 2)
        # what captures output in this process, as pytest does, must not get the fork's
        sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", closefd=False) for descriptor in (1, 2))
        rich.reconfigure()  # a progress bar of this process is none of the fork's
        sys.argv = [f"{script}.py", *overrides]
        before()
        runpy.run_path(str(ROOT / "scripts" / f"{script}.py"), run_name="__main__")
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def end_of(pid: int, seconds: float = float("inf")) -> int | None:
    """Exit status of a fork, negative for a signal; one that is still there after `seconds` is killed: None."""
    last = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= last:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(POLL)


def killed(stage: Stage, folder: Path, kills: int, seed: int, each: Callable[[], object] = lambda: None) -> Outcome:
    """Kill runs of a stage `kills` times in all. Raises RuntimeError where one ends in an error.

    each: called after every kill.
    """
    whole, generator = folder / "whole", random.Random(seed)  # noqa: S311 - moments, not secrets
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    _expect_end(end_of(_start(stage, whole)), whole)
    longest, expected = time.monotonic() - started, contents(stage, whole)
    left, runs, inside, differences = kills, 0, 0, set[str]()
    while left or not runs:
        runs += 1
        run = folder / f"killed-{runs}"
        while True:
            seconds = generator.uniform(0, longest) if left else float("inf")
            status = end_of(_start(stage, run), seconds)
            if status is not None:
                break
            left -= 1
            inside += any(run.glob("checkpoint/*.ckpt"))
            each()
        _expect_end(status, run)
        found = contents(stage, run)
        differences |= {f"{run.name}/{name}" for name in expected if found[name] != expected[name]}
        differences |= {str(path.relative_to(folder)) for path in run.glob("**/*.tmp")}
    return Outcome(kills, runs, inside, sorted(differences))


def _start(stage: Stage, run: Path) -> int:
    return start(stage.script, [*stage.overrides, f"run={run}"], err=run.with_suffix(".err"))


def _expect_end(status: int | None, run: Path) -> None:
    if status != 0:
        raise RuntimeError(f"{run}: ended with status {status}: {run.with_suffix('.err').read_text()}")


def contents(stage: Stage, folder: Path) -> dict[str, Any]:
    """What a stage left: its files and its rows of metrics.jsonl, without times."""
    found = {name: _content(folder / name) for name in stage.files}
    return found | {"metrics.jsonl": read_metrics(folder, stage.script)}


def _content(path: Path) -> Any:
    return _timeless(json.loads(path.read_bytes())) if path.suffix == ".json" else path.read_bytes()


def _timeless(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _timeless(value) for key, value in tree.items() if key not in TIMES}
    return [_timeless(value) for value in tree] if isinstance(tree, list) else tree


def shares(total: int, parts: int) -> Iterator[int]:
    """A number in parts that differ by at most one."""
    return (total // parts + (part < total % parts) for part in range(parts))


def main() -> None:
    """Kill, compare and write the table; the exit status is 1 where a file differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, outcomes = [], []
    with tempfile.TemporaryDirectory() as folder, progress_bar("kills", arguments.kills) as bar:
        for name, kills in zip(arguments.stages, shares(arguments.kills, len(arguments.stages)), strict=True):
            outcome = killed(STAGES[name], Path(folder) / name, kills, arguments.seed, partial(bar.advance, name))
            outcomes.append(outcome)
            said = ", ".join(outcome.differences) or "none"
            rows.append([name, str(outcome.kills), str(outcome.inside), str(outcome.runs), said])
    header = ["stage", "kills", "after the first checkpoint", "runs that ended", "files that differ"]
    how = f"Each start runs{(__doc__ or '').rpartition('Each start runs')[2]}".strip()
    write("kills", "SIGKILL at random moments", f"{how}\n\n{table(header, rows)}", [], arguments.results)
    sys.exit(any(outcome.differences for outcome in outcomes))


if __name__ == "__main__":
    main()
