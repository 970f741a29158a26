"""A run folder and what is done with it, one stage after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2rnas.arrays import GivenImages
from e2rnas.cli.app import settings_of
from pipeline.compute.fabric import make_fabric
from pipeline.data import load
from pipeline.evaluation.accuracy import Accuracy
from pipeline.evaluation.evaluate import evaluate
from pipeline.export.export import Written, export, find, forms_of, needs_images
from pipeline.networks.description import NetworkDescription
from pipeline.networks.genotype_reference import cell_of
from pipeline.networks.network_files import load_network
from pipeline.report import run_report
from pipeline.runs.files import read_json
from pipeline.runs.metrics import read_metrics
from pipeline.search import search as search_stage
from pipeline.settings import Experiment
from pipeline.training.retrain import retrain
from search_space import Genotype


class Accuracies(tuple[Accuracy, ...]):
    """What an evaluation measured. As text, one attack a line with its 95 % interval."""

    def __str__(self) -> str:
        return "\n".join(
            f"{row.attack:>16}  {row.accuracy:6.1%}  [{row.low:.1%}, {row.high:.1%}]  {row.images} images"
            for row in self
        )


@dataclass(frozen=True)
class Run:
    """A run folder, which the command line reads and goes on with as well. A finished stage is not done again.

    Each method takes settings of its own stage by name, as `--help` lists them. All raise ValueError where a setting
    or the folder cannot be used.
    """

    folder: Path

    @property
    def genotype(self) -> Genotype:
        """The cell that the search found."""
        return cell_of(self.folder, None)[1]

    @property
    def cost(self) -> dict[str, int]:
        """Parameters and multiply-accumulates of the network that the cell was searched for."""
        return dict(read_json(self.folder / "search.json")["derived_cost"])

    @property
    def history(self) -> list[dict[str, Any]]:
        """The measured values of each step of the search."""
        return read_metrics(self.folder, "search")

    def retrain(self, **settings: Any) -> NetworkDescription:
        """Train the cell's network from scratch, and describe it.  settings: of retrain, such as epochs=10."""
        experiment = self._experiment("retrain", {"retrain": settings})
        name, genotype = cell_of(self.folder, experiment.genotype)
        data, fabric = load(experiment.data), make_fabric(experiment.fabric)
        return retrain(self.folder, experiment, data, fabric, name=name, genotype=genotype)

    def evaluate(self, attacks: Sequence[str], **settings: Any) -> Accuracies:
        """Measure the trained network, clean and under attacks.  settings: of evaluate, such as eps=8 / 255."""
        experiment = self._experiment("evaluate", {"evaluate": {"attacks": list(attacks), **settings}})
        data, fabric = load(experiment.data), make_fabric(experiment.fabric)
        return Accuracies(evaluate(self.folder, experiment, data, fabric, load_network(self.folder)))

    def export(self, *forms: str) -> Written:
        """Write the cell and its network in forms that other programs read; without any, in all that fit."""
        experiment = self._experiment("export", {"export": {"formats": list(forms)}} if forms else {})
        exported = find(self.folder, experiment.genotype)
        chosen = forms_of(experiment.export.formats, exported)
        test = load(experiment.data).test if exported.trained and needs_images(chosen) else None
        return export(self.folder, experiment, exported, chosen, test)

    def report(self, *others: Run) -> Path:
        """Write report.html, beside the results of other runs, and return its path."""
        return run_report.write(self.folder, [run.folder for run in others])

    def _experiment(self, program: str, settings: Mapping[str, Any]) -> Experiment:
        return settings_of(program, _overrides({"run": str(self.folder), **settings}))


def search(folder: str | Path, *, preset: str | None = None, data: GivenImages | None = None, **settings: Any) -> Run:
    """Search a cell in a run folder; an unfinished search goes on, a finished one is read.

    preset: an experiment of conf/, such as "demo" or "paper".
    data: from `images`; without it, what the preset or `settings` name.
    settings: values and groups of keys as `--help` lists them, such as search={"epochs": 5}, space="s2" or seed=1.
    Raises ValueError where a setting, the images or the folder cannot be used.
    """
    run = Run(Path(folder))
    chosen = {"run": str(folder), **({"experiment": preset} if preset else {})}
    if data is not None:
        kept = {"source": "huggingface", "path": str(data.write(run.folder)), "name": data.name}
        settings["data"] = {**kept, **settings.get("data", {})}
    experiment = settings_of("search", _overrides({**chosen, **settings}))
    search_stage.search(run.folder, experiment, load(experiment.data), make_fabric(experiment.fabric))
    return run


def _overrides(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of nested mappings."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _overrides(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
