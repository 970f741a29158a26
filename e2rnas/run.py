"""A run folder and what is done with it, one stage after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2rnas.overrides import ImageSource, kept, names_of, request
from e2rnas.results import Accuracies, ExportedFiles
from e2rnas.stages import (
    export_run,
    measured_accuracies,
    prepared,
    read_search,
    report_runs,
    retrain_cell,
    search_in_words,
)
from pipeline.evaluation.evaluate import evaluate
from pipeline.networks.description import NetworkDescription
from pipeline.networks.genotype_reference import cell_of
from pipeline.networks.network_files import load_network, read_description
from pipeline.runs.metrics import read_metrics
from pipeline.search.search import search as search_stage
from pipeline.settings import Experiment
from search_space import Genotype


@dataclass(frozen=True)
class Run:
    """Hold a run folder, which the command line reads and goes on with as well; a finished stage is not done again.

    Each method takes settings of its own stage by name, as `e2rnas <stage> --help` lists them, and starts from those
    that the folder remembers. All raise ValueError, with the line that the command line would print, where a setting or
    the folder cannot be used.
    """

    folder: Path

    @property
    def genotype(self) -> Genotype:
        """Return the cell that was searched, or given to the retraining. Raises ValueError where there is none yet."""
        return cell_of(self.folder, None)[1]

    @property
    def cost(self) -> dict[str, int]:
        """Return parameters and multiply-accumulates of an image: of the derived network, else of the trained one."""
        if (self.folder / "search.json").exists():
            return read_search(self.folder).derived_cost.model_dump()
        return read_description(self.folder / "network.json").cost()

    @property
    def history(self) -> list[dict[str, Any]]:
        """Return the measured values of each step of the search; none where nothing was searched."""
        return read_metrics(self.folder, "search")

    def retrain(self, **settings: Any) -> NetworkDescription:
        """Train the cell's network from scratch, and describe it.  settings: of retrain, such as epochs=10."""
        return retrain_cell(self._experiment("retrain", settings))[1]

    def evaluate(self, attacks: Sequence[str], **settings: Any) -> Accuracies:
        """Measure the trained network, clean and under attacks.  settings: of evaluate, such as eps=8 / 255."""
        experiment = self._experiment("evaluate", {"attacks": names_of(attacks), **settings})
        trained = load_network(self.folder)
        context = prepared(experiment)
        return measured_accuracies(context, evaluate(*context, trained))

    def export(self, *forms: str) -> ExportedFiles:
        """Write the cell and its network in forms that other programs read; without any, in all that fit."""
        return export_run(self._experiment("export", {"formats": list(forms)} if forms else {}))

    def report(self, *others: Run | str | Path) -> Path:
        """Write report.html, beside the results of other runs or run folders, and return its path."""
        return report_runs(self.folder, [run.folder if isinstance(run, Run) else Path(run) for run in others])[0]

    def _experiment(self, stage: str, settings: dict[str, Any]) -> Experiment:
        return request(stage, self.folder, None, None, {stage: settings}).experiment

    def __str__(self) -> str:
        if (self.folder / "search.json").exists():
            return "\n".join(search_in_words(self.folder))
        trained = self.folder / "network.json"
        return f"{self.folder}: {read_description(trained) if trained.exists() else self.genotype}"

    def _repr_html_(self) -> str:
        return self.genotype._repr_html_()


def open_run(folder: str | Path) -> Run:
    """Open a run folder that holds a cell. Raises ValueError where it holds none."""
    run = Run(Path(folder))
    cell_of(run.folder, None)
    return run


def search(folder: str | Path, *, preset: str | None = None, data: ImageSource = None, **settings: Any) -> Run:
    """Search a cell in a run folder; an unfinished search goes on, a finished one is read.

    folder: it remembers its settings, so that later stages need none.
    preset: an experiment of conf/, such as "demo" or "paper".
    data: from `images`, all of which are used; else a group of conf/data, or keys. None: what the preset names.
    settings: values and groups of keys as `python scripts/search.py --help` lists them, such as
    search={"epochs": 5}, space="s2", seed=1 or **{"data.flip": True}.
    Raises ValueError where a setting, the images or the folder cannot be used; nothing is written then.
    Ctrl-C ends it after the present step, with a checkpoint from which the same call goes on.
    """
    experiment, _ = request("search", folder, preset, data, settings)
    with kept(data, folder):
        search_stage(*prepared(experiment))
    return Run(Path(folder))


def retrain(
    folder: str | Path,
    genotype: str | Path,
    *,
    preset: str | None = None,
    data: ImageSource = None,
    **settings: Any,
) -> Run:
    """Train the network of a published or stored cell in a run folder of its own, to set it beside a searched one.

    genotype: a name of `published_cells`, a file, or the folder of a run.
    preset, data, settings: as `search` takes them, such as retrain={"epochs": 10}.
    Raises ValueError as `search` does.
    """
    experiment, _ = request("retrain", folder, preset, data, {"genotype": genotype, **settings})
    with kept(data, folder):
        retrain_cell(experiment)
    return Run(Path(folder))
