"""What run folders hold, read and checked for the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from pipeline.accuracy import CLEAN, Accuracy
from pipeline.artifacts import NetworkDescription, genotype_from_plain, read_description, read_genotype
from pipeline.evaluate import read_accuracies
from pipeline.examples import FILE as EXAMPLES_FILE
from pipeline.examples import Examples, read_examples
from pipeline.files import RunError
from pipeline.front import Front, read_front
from pipeline.measured import Measured, measured, read_transfer
from pipeline.metrics import read_metrics
from pipeline.stored import StoredRobustness, StoredSearch, StoredTraining, check_stored, read_stored
from pipeline.tensors import read_tensors
from search_space import Genotype

LOOKED_FOR = ("genotype.json", "network.json", "robustness.json", "transfer.json", "metrics.jsonl")
SEARCH_KEYS = (  # of each row of metrics.jsonl, dots for what is inside
    "step",
    "objectives",
    "bounds",
    "balance.weights",
    "balance.norm",
    "derived.parameters",
    "derived.conv_linear_macs",
    "derived.thop_macs",
)
DIAGNOSTICS_KEYS = ("epoch", "diagnostics.weight_free")  # of each row that has diagnostics
RETRAIN_KEYS = ("epoch", "training_loss", "training_accuracy")

Plain = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """What a run folder holds; None or empty where the stage that writes it has not been run."""

    folder: Path
    search: Plain | None
    genotype: Genotype | None
    network: NetworkDescription | None
    robustness: Plain | None
    accuracies: Sequence[Accuracy]
    measured: Measured
    examples: Examples | None
    transfer: Plain | None
    onnx: Plain | None
    alphas: Tensor | None
    pareto: Front | None
    search_rows: Sequence[Plain]
    retrain_rows: Sequence[Plain]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to report."""
        found = (self.genotype, self.network, self.accuracies, self.transfer, self.search_rows, self.retrain_rows)
        return not any(found)

    @property
    def name(self) -> str:
        """Of the network as it was trained, or brought by a user; of the folder before that."""
        if self.network:
            return self.network.name
        return str(self.robustness["network"]["name"]) if self.robustness else self.folder.resolve().name

    @property
    def cost(self) -> Mapping[str, int] | None:
        """Size of the network that was measured, else trained, else derived."""
        if self.robustness:
            measured: dict[str, int] | None = self.robustness["cost"]
            return measured
        if self.network:
            return self.network.cost()
        return dict(self.search["derived_cost"]) if self.search else None

    @property
    def class_names(self) -> Sequence[str]:
        """Of the images that it was evaluated on, or trained on."""
        return self.measured.class_names or (self.network.class_names if self.network else ())

    @property
    def environments(self) -> dict[str, Plain]:
        """Stored hardware, versions and seconds by stage."""
        found = {"search": self.search, "retrain": self.network and self.network.training, "evaluate": self.robustness}
        return {
            stage: content["environment"] | ({"seconds": content["seconds"]} if "seconds" in content else {})
            for stage, content in found.items()
            if content and "environment" in content
        }

    @property
    def settings(self) -> dict[str, Plain]:
        """Stored settings by stage."""
        found = {
            "search": self.search and self.search["settings"],
            "retrain": self.network and self.network.training.get("settings"),
            "evaluate": self.robustness and self.robustness["settings"],
            "pareto": self.pareto and dict(self.pareto.settings),
        }
        return {stage: settings for stage, settings in found.items() if settings}


Runs = Mapping[str, Run]
"""By label: the run that is reported first, then those beside it."""


def read_runs(folders: Sequence[Path]) -> Runs:
    """Runs by label, each folder once: by name where names differ, else by folder name, else by path."""
    runs = [read_run(folder) for folder in {folder.resolve(): folder for folder in folders}.values()]
    for naming in (lambda run: run.name, lambda run: run.folder.resolve().name, lambda run: str(run.folder)):
        labels = [naming(run) for run in runs]
        if len(set(labels)) == len(labels):
            break
    return dict(zip(labels, runs, strict=True))


def read_run(folder: Path) -> Run:
    """All files of a run folder that a report can use. Raises RunError when there are none or one is damaged."""
    network = _optional(folder / "network.json", _read_network)
    robustness = _optional(folder / "robustness.json", lambda path: read_stored(path, StoredRobustness, "evaluate"))
    genotype = _optional(folder / "genotype.json", read_genotype)
    run = Run(
        folder=folder,
        search=_optional(folder / "search.json", lambda path: read_stored(path, StoredSearch, "search")),
        genotype=genotype or (genotype_from_plain(network.genotype) if network else None),
        network=network,
        robustness=robustness,
        measured=measured(robustness, folder / "robustness.json") if robustness else Measured(),
        accuracies=read_accuracies(folder) if robustness else (),
        examples=_optional(folder / EXAMPLES_FILE, read_examples),
        transfer=_optional(folder / "transfer.json", read_transfer),
        onnx=_optional(folder / "onnx.json", lambda path: read_stored(path, dict[str, Any], "export")),
        alphas=_optional(folder / "alphas.safetensors", _read_alphas),
        pareto=_optional(folder / "pareto.json", read_front),
        search_rows=_rows(folder, "search", SEARCH_KEYS),
        retrain_rows=_rows(folder, "retrain", RETRAIN_KEYS),
    )
    if run.is_empty:
        raise RunError(f"{folder} holds nothing to report; looked for {', '.join(LOOKED_FOR)}. Run search.py first")
    return run


def _optional(path: Path, read: Callable[[Path], T]) -> T | None:
    """What a file holds, None where there is none. Raises RunError that names a damaged one."""
    if not path.exists():
        return None
    try:
        return read(path)
    except RunError:
        raise
    except (ValueError, RuntimeError, OSError) as error:
        raise RunError(f"{path} is not what the stages write: {error}") from None


def _read_network(path: Path) -> NetworkDescription:
    description = read_description(path)
    genotype_from_plain(description.genotype)
    check_stored(description.training, StoredTraining, f"{path}: training")
    return description


def _read_alphas(path: Path) -> Tensor:
    """[epochs, cells, edges, operations], in the order of the epochs."""
    entries = read_tensors(path).tensors
    alphas = torch.stack([entries[name] for name in sorted(entries)])
    if alphas.dim() != 4:
        raise ValueError(f"expected alphas [cells, edges, operations] of each epoch, found {list(alphas.shape[1:])}")
    return alphas


def _rows(folder: Path, stage: str, keys: Sequence[str]) -> list[Plain]:
    """A stage's rows of metrics.jsonl. Raises RunError when one lacks a key, or an objective that the first one has."""
    path = folder / "metrics.jsonl"
    try:
        rows = [row for row in read_metrics(folder, stage) if not row.get("warm_up")]  # the alphas wait there
    except (KeyError, TypeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is not what the stages write: a row without stage, or not text ({error})") from None
    if rows and isinstance(rows[0].get("objectives"), Mapping):
        keys = (*keys, *(f"objectives.{name}" for name in rows[0]["objectives"]))
    for number, row in enumerate(rows, start=1):
        needed = (*keys, *DIAGNOSTICS_KEYS) if "diagnostics" in row else keys
        missing = [key for key in needed if not _has(row, key)]
        if missing:
            raise RunError(f"{path} is not what {stage}.py writes: its row {number} has no {', '.join(missing)}")
    return rows


def _has(tree: Any, key: str) -> bool:
    """Whether there is a value at a dotted key."""
    first, _, rest = key.partition(".")
    return isinstance(tree, Mapping) and first in tree and (not rest or _has(tree[first], rest))


def strongest(results: Mapping[str, Sequence[Accuracy]]) -> str:
    """The attack that all measured runs met and that leaves the least accuracy; `clean` where there is none.

    Of one norm: Linf, unless no run met an attack in it.
    """
    accuracies: dict[str, list[float]] = {}
    norms = {result.settings.get("norm", "Linf") for run in results.values() for result in run if result.settings}
    norm = "L2" if norms == {"L2"} else "Linf"
    for result in (result for run in results.values() for result in run):
        if result.settings.get("norm", norm) == norm:
            accuracies.setdefault(result.attack, []).append(result.accuracy)
    measured = sum(bool(run) for run in results.values())
    shared = {attack: sum(values) for attack, values in accuracies.items() if len(values) == measured}
    attacked = {attack: total for attack, total in shared.items() if attack != CLEAN}
    return min(attacked, key=lambda attack: attacked[attack], default=CLEAN)


def clean(run: Run) -> Accuracy:
    """On images as they are, which evaluation always measures."""
    return next(result for result in run.accuracies if result.attack == CLEAN)


def attacks_of(runs: Runs) -> list[str]:
    """Every attack that a run met, in the order of the first that met it."""
    return list(dict.fromkeys(result.attack for run in runs.values() for result in run.accuracies))
