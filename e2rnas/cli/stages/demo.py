"""The whole way on small real images."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap

from e2rnas.cli.demo_sentence import how_decided, in_a_sentence
from e2rnas.cli.main import SCRIPTS
from e2rnas.cli.output import show
from pipeline.compute.fabric import make_fabric
from pipeline.compute.interruption import start
from pipeline.data import ImageData, load
from pipeline.evaluation.evaluate import evaluate
from pipeline.export.export import export, find, forms_of
from pipeline.export.graph import check_onnx_installed
from pipeline.networks.network_files import load_network
from pipeline.report import run_report
from pipeline.runs.files import write_atomically
from pipeline.search.objectives import bounds_of, check_attainable, derived_shape
from pipeline.search.search import search
from pipeline.settings import Experiment
from pipeline.studies.comparison.searches_without_supernet import random_cells
from pipeline.studies.retrain_and_evaluate import check_retrain_and_evaluate
from pipeline.training.retrain import retrain
from search_space import PUBLISHED, CostTable

WIDTH = 100  # letters of a line

PUBLISHED_RIVAL, RANDOM_RIVAL = "DARTS_V2", "random"
LIGHTER = ("evaluate.checks=false", "evaluate.sweep=[]", "evaluate.corruptions=[]")
"""What is not measured of the cells beside the searched one."""


def main(experiment: Experiment) -> None:
    """Search, retrain and evaluate a cell; beside it a published and a random one of its size; export and report."""
    check_onnx_installed()
    fabric, data = make_fabric(experiment.fabric), load(experiment.data)
    folder = Path(experiment.run)
    check_retrain_and_evaluate(experiment, data, fabric, PUBLISHED[PUBLISHED_RIVAL].genotype)
    rivals = _rivals(folder, experiment, data)
    clock = Clock()
    works = [Scripts(("retrain", "evaluate"), [*overrides, *LIGHTER]) for overrides in rivals.values()]
    with ThreadPoolExecutor(1) as beside, stopped_with_this(works):
        show(f"{' and '.join(rivals)} are trained and evaluated meanwhile, in processes of their own")
        outputs = [beside.submit(work.run) for work in works]
        with clock.of("search"):
            genotype = search(folder, experiment, data, fabric)
        with clock.of("retrain"):
            retrain(folder, experiment, data, fabric, name="searched", genotype=genotype)
        with clock.of("evaluate"):
            evaluate(folder, experiment, data, fabric, load_network(folder))
        with clock.of("export"):
            exported = find(folder, None)
            export(folder, experiment, exported, forms_of(experiment.export.formats, exported), data.test)
        with clock.of("wait for the others"):
            for output in outputs:
                output.result()
    with clock.of("report"):
        page = run_report.write(folder, [_beside(folder, name) for name in rivals])
    show(*run_report.table([folder, *(_beside(folder, name) for name in reversed(rivals))]).split("\n"))
    said = in_a_sentence(folder, {name: _beside(folder, name) for name in rivals})
    show(*wrap(f"{said} {how_decided(folder)}", WIDTH), str(clock), "")
    show(f"Open {page}, and try next:", *(f"  {line}" for line in _next_commands(folder)))


def _rivals(folder: Path, experiment: Experiment, data: ImageData) -> dict[str, list[str]]:
    """Return the overrides of each cell beside the searched one, of the size that the search is to find.

    They are trained while it searches, and so have the middle of its bounds. Raises ValueError without both bounds.
    """
    low, high = experiment.objectives.parameters
    if low is None or high is None:
        raise ValueError(
            f"objectives.parameters=[{low}, {high}]: the demo needs both bounds, to train others beside it"
        )
    table = CostTable(experiment.space.build(), derived_shape(experiment, data))
    check_attainable(bounds_of(experiment.objectives), table)
    drawn = _beside(folder, RANDOM_RIVAL) / "genotype.json"
    (cell,) = random_cells(experiment, table, 1)
    drawn.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(drawn, cell.to_json())
    size = f"retrain.parameters={round((low + high) / 2)}"
    return {
        PUBLISHED_RIVAL: [f"run={_beside(folder, PUBLISHED_RIVAL)}", f"genotype={PUBLISHED_RIVAL}", size],
        RANDOM_RIVAL: [f"run={_beside(folder, RANDOM_RIVAL)}", size],
    }


def _beside(folder: Path, name: str) -> Path:
    return folder.with_name(f"{folder.name}-{name}")


def _next_commands(folder: Path) -> Iterator[str]:
    yield f"python scripts/evaluate.py run={folder} evaluate.verify=true  # check every adversarial example again"
    yield f"python scripts/search.py experiment=demo seed=1 run={folder}-seed1  # does another seed find this cell?"
    yield f"python scripts/compare.py experiment=comparison run={folder}-comparison  # several seeds: what is chance?"


class Clock:
    """Seconds by the name of what took them."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Count what is done inside for `name`."""
        started = time.monotonic()
        yield
        self._seconds[name] = time.monotonic() - started

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self._seconds.items())
        return f"The time went to: {parts}; together {sum(self._seconds.values()):.0f} s."


class Scripts:
    """Scripts one after the other, as a user would run them, with this script's overrides and some more."""

    def __init__(self, names: Sequence[str], overrides: Sequence[str]) -> None:
        self._names, self._overrides = names, overrides
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None
        self._is_stopped = False

    def run(self) -> None:
        """Run them all, or those before stop(). Raises ValueError where one of them fails."""
        for name in self._names:
            command = [sys.executable, str(SCRIPTS / f"{name}.py"), *sys.argv[1:], *self._overrides]
            with self._lock:
                if self._is_stopped:
                    return
                self._running = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            error = self._running.communicate()[1]
            if self._running.returncode:
                raise ValueError(f"{name}.py {' '.join(self._overrides)} failed: {error.strip()}")

    def stop(self) -> None:
        """Let the one that runs stop at its next step, with a checkpoint, and start no other."""
        with self._lock:
            self._is_stopped = True
            if self._running is not None:
                self._running.terminate()


@contextmanager
def stopped_with_this(works: Sequence[Scripts]) -> Iterator[None]:
    """Stop them where this script's own work is."""
    try:
        yield
    except BaseException:
        for work in works:
            work.stop()
        raise
