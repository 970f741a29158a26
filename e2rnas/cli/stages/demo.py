"""The whole way on small real images."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from e2rnas.cli.main import SCRIPTS
from e2rnas.cli.output import show
from pipeline.compute.fabric import make_fabric
from pipeline.compute.interruption import start
from pipeline.data import load
from pipeline.evaluation.evaluate import evaluate
from pipeline.export.export import export, find, forms_of
from pipeline.export.graph import check_onnx_installed
from pipeline.networks.network_files import load_network
from pipeline.report import run_report
from pipeline.search.search import search
from pipeline.settings import Experiment
from pipeline.studies.retrain_and_evaluate import check_retrain_and_evaluate
from pipeline.training.retrain import retrain
from search_space import PUBLISHED, network_cost

RIVAL = "DARTS_V2"


def main(experiment: Experiment) -> None:
    """Search; then retrain and evaluate the cell, and beside it a published one of the same size; export and report."""
    check_onnx_installed()
    fabric, data = make_fabric(experiment.fabric), load(experiment.data)
    folder = Path(experiment.run)
    check_retrain_and_evaluate(experiment, data, fabric, PUBLISHED[RIVAL].genotype)
    rival = folder.with_name(f"{folder.name}-{RIVAL}")
    genotype = search(folder, experiment, data, fabric)
    retrained = experiment.retrain
    shape = data.network_shape(channels=retrained.channels, layers=retrained.layers)
    size = network_cost(genotype, **asdict(shape)).parameters
    scripts = Scripts(("retrain", "evaluate"), [f"run={rival}", f"genotype={RIVAL}", f"retrain.parameters={size}"])
    with ThreadPoolExecutor(1) as beside, scripts.stopped_with_this():
        show(f"{RIVAL} is trained and evaluated meanwhile, in processes of its own")
        rival_output = beside.submit(scripts.run)
        retrain(folder, experiment, data, fabric, name="searched", genotype=genotype)
        trained = load_network(folder)
        evaluate(folder, experiment, data, fabric, trained)
        rival_output.result()
    exported = find(folder, None)
    export(folder, experiment, exported, forms_of(experiment.export.formats, exported), data.test)
    run_report.write(folder, [rival])
    show(*run_report.table([folder, rival]).split("\n"))
    for name in (
        "report.html",
        "genotype.json",
        "normal.svg",
        "network.safetensors",
        "network.onnx",
        "model_card.md",
        "robustness.json",
    ):
        show(str(folder / name))


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
    def stopped_with_this(self) -> Iterator[None]:
        """Stop where this script's own work is."""
        try:
            yield
        except BaseException:
            self.stop()
            raise
