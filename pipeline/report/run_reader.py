"""What run folders hold, read and checked for the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from pipeline.errors import RunError
from pipeline.evaluation.accuracy import CLEAN, Accuracy
from pipeline.evaluation.examples import EXAMPLES_FILE as EXAMPLES_FILE
from pipeline.evaluation.examples import Examples, read_examples
from pipeline.evaluation.stored_evaluation import Description, Evaluation, of_network, read_robustness
from pipeline.evaluation.stored_transfer import Transfer, read_transfer
from pipeline.networks.description import NetworkDescription, genotype_from_plain
from pipeline.networks.genotype_reference import read_genotype
from pipeline.networks.network_files import load_network, read_description
from pipeline.report.measured import Measured
from pipeline.runs.metrics import read_metrics
from pipeline.runs.schemas import may_be_same, read_as
from pipeline.runs.stored_rows import check_alike
from pipeline.runs.stored_stages import LINEAGE_FILE, ONNX_FILE, LineageFile, OnnxFile, SearchFile, ThetaFile
from pipeline.runs.tensors import read_tensors
from pipeline.studies.pareto.front import Front, read_front
from search_space import Genotype

LOOKED_FOR = ("genotype.json", "network.json", "robustness.json", "transfer.json", "metrics.jsonl", LINEAGE_FILE)

Plain = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class RunContents:
    """What a run folder holds; None or empty where the stage that writes it has not been run.

    evaluations: of the weights that the folder holds, the protocol last evaluated first.  set_aside: of other weights.
    """

    folder: Path
    search: SearchFile | None
    genotype: Genotype | None
    network: NetworkDescription | None
    evaluations: Sequence[Evaluation]
    set_aside: Sequence[Evaluation]
    examples: Examples | None
    transfers: Sequence[Transfer]
    onnx: OnnxFile | None
    alphas: Tensor | None
    pareto: Front | None
    lineage: LineageFile | None
    theta: ThetaFile | None
    search_rows: Sequence[Plain]
    retrain_rows: Sequence[Plain]

    @property
    def robustness(self) -> Evaluation | None:
        """Return what was measured by the protocol last evaluated, which stands for the run beside others."""
        return self.evaluations[0] if self.evaluations else None

    @property
    def accuracies(self) -> Sequence[Accuracy]:
        """Clean and under each attack, by that protocol."""
        return self.robustness.attacks if self.robustness else ()

    @property
    def measured(self) -> Measured:
        """Return what that protocol measured beside its attacks."""
        return Measured.of(self.robustness)

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to report."""
        found = (self.genotype, self.network, self.evaluations, self.transfers, self.search_rows, self.retrain_rows)
        return not any((*found, self.lineage))

    @property
    def name(self) -> str:
        """Return the name of the network as it was trained, or brought by a user; before that, the folder's."""
        if self.network:
            return self.network.name
        return self.robustness.network.name if self.robustness else self.folder.resolve().name

    @property
    def cost(self) -> Mapping[str, int] | None:
        """Return the size of the network that was measured, else trained, else derived."""
        if self.robustness:
            return self.robustness.cost
        if self.network:
            return self.network.cost()
        return self.search.derived_cost.model_dump() if self.search else None

    @property
    def class_names(self) -> Sequence[str]:
        """Return the classes of the images that it was evaluated on, or trained on."""
        return self.measured.class_names or (self.network.class_names if self.network else ())

    @property
    def environments(self) -> dict[str, Plain]:
        """Stored hardware, versions and seconds by stage."""
        search = self.search and self.search.model_dump(include={"environment", "seconds"}, exclude_none=True)
        found = {"search": search, "retrain": self.network and self.network.training}
        stored = {
            stage: content["environment"] | ({"seconds": content["seconds"]} if "seconds" in content else {})
            for stage, content in found.items()
            if content and "environment" in content
        }
        if self.robustness and self.robustness.environment:
            stored["evaluate"] = self.robustness.environment
        return stored

    @property
    def settings(self) -> dict[str, Plain]:
        """Stored settings by stage."""
        found = {
            "search": self.search and self.search.settings,
            "retrain": self.network and self.network.training.get("settings"),
            "evaluate": self.robustness and self.robustness.settings.plain,
            "pareto": self.pareto and dict(self.pareto.settings),
            "meta_train": self.theta and self.theta.settings,
        }
        return {stage: settings for stage, settings in found.items() if settings}


Runs = Mapping[str, RunContents]
"""By label: the run that is reported first, then those beside it."""


def read_runs(folders: Sequence[Path]) -> Runs:
    """Runs by label, each folder once: by name where names differ, else by folder name, else by path."""
    runs = [read_run(folder) for folder in {folder.resolve(): folder for folder in folders}.values()]
    for naming in (lambda run: run.name, lambda run: run.folder.resolve().name, lambda run: str(run.folder)):
        labels = [naming(run) for run in runs]
        if len(set(labels)) == len(labels):
            break
    return dict(zip(labels, runs, strict=True))


def read_run(folder: Path) -> RunContents:
    """Read all files of a run folder that a report can use. Raises RunError when there are none or one is damaged."""
    network = _optional(folder / "network.json", read_description)
    evaluations = read_robustness(folder / "robustness.json")
    subject, state = _subject(folder, network, evaluations)
    own, examples = of_network(evaluations, subject, state), _optional(folder / EXAMPLES_FILE, read_examples)
    onnx = _optional(folder / ONNX_FILE, lambda path: read_as(path, OnnxFile, "export"))
    genotype = _optional(folder / "genotype.json", read_genotype)
    run = RunContents(
        folder=folder,
        search=_optional(folder / "search.json", lambda path: read_as(path, SearchFile, "search")),
        genotype=genotype or (genotype_from_plain(network.genotype) if network else None),
        network=network,
        evaluations=own,
        set_aside=[each for each in evaluations if each not in own],
        examples=examples if examples and examples.is_of(state) else None,
        transfers=read_transfer(folder / "transfer.json"),
        onnx=onnx if onnx and may_be_same(state, onnx.state_sha256) else None,
        alphas=_optional(folder / "alphas.safetensors", _read_alphas),
        pareto=_optional(folder / "pareto.json", read_front),
        lineage=_optional(folder / LINEAGE_FILE, lambda path: read_as(path, LineageFile, "meta_train")),
        theta=_optional(folder / "theta.json", lambda path: read_as(path, ThetaFile, "meta_train")),
        search_rows=_rows(folder, "search"),
        retrain_rows=_rows(folder, "retrain"),
    )
    if run.alphas is not None and run.search is not None:
        expected, found = run.search.asked.space.build().alpha_shape, tuple(run.alphas.shape[1:])
        if expected != found:
            raise RunError(
                f"{folder / 'alphas.safetensors'} has alphas {found}; the space of search.json has {expected}"
            )
    if run.is_empty:
        raise RunError(f"{folder} holds nothing to report; looked for {', '.join(LOOKED_FOR)}. Run search.py first")
    return run


def _subject(
    folder: Path, network: NetworkDescription | None, evaluations: Sequence[Evaluation]
) -> tuple[Description | None, str | None]:
    """The network whose figures are shown, and the digest of its weights: the folder's, else the one last measured."""
    if network is None:
        return (evaluations[0].network, evaluations[0].state_sha256) if evaluations else (None, None)
    measured = evaluations or any((folder / name).exists() for name in (EXAMPLES_FILE, ONNX_FILE))
    has_weights = (folder / "network.safetensors").exists()
    return network, load_network(folder).state_sha256 if measured and has_weights else None


def _optional(path: Path, read: Callable[[Path], T]) -> T | None:
    """Return what a file holds, None where there is none. Raises RunError that names a damaged one."""
    if not path.exists():
        return None
    try:
        return read(path)
    except RunError:
        raise
    except (ValueError, RuntimeError, OSError) as error:
        raise RunError(f"{path} is not what the stages write: {error}") from None


def _read_alphas(path: Path) -> Tensor:
    """Read alphas [epochs, cells, edges, operations], in the order of the epochs."""
    entries = read_tensors(path).tensors
    shapes = {tuple(tensor.shape) for tensor in entries.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 3:
        raise ValueError(f"expected alphas [cells, edges, operations] of each epoch, found {sorted(shapes)}")
    alphas = torch.stack([entries[name] for name in sorted(entries)])
    if alphas.dtype != torch.float32 or not alphas.isfinite().all():
        raise ValueError("expected finite alphas of float32")
    return alphas


def _rows(folder: Path, stage: str) -> list[Plain]:
    """A stage's rows of metrics.jsonl, but for those of a warm-up. Raises RunError where curves cannot be drawn."""
    rows = [row for row in read_metrics(folder, stage) if not row.get("warm_up")]  # the alphas wait there
    try:
        check_alike(rows)
    except ValueError as error:
        raise RunError(f"{folder / 'metrics.jsonl'} is not what {stage}.py writes: {error}") from None
    return rows


def clean(run: RunContents) -> Accuracy:
    """Find the accuracy on images as they are, which evaluation always measures."""
    return next(result for result in run.accuracies if result.attack == CLEAN)


def attacks_of(runs: Runs) -> list[str]:
    """List every attack that a run met, in the order of the first that met it."""
    return list(dict.fromkeys(result.attack for run in runs.values() for result in run.accuracies))
