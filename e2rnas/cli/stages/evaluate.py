"""Measure a network under attack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lightning_fabric import Fabric

from e2rnas.cli.output import show
from e2rnas.stages import StageContext, measured_accuracies, prepared
from pipeline.errors import RunError
from pipeline.evaluation.evaluate import Subject, evaluate
from pipeline.evaluation.measuring.verification import verify
from pipeline.evaluation.transfer import load_models, transfer
from pipeline.networks.genotype_reference import check_cell
from pipeline.networks.module_path import let_be_found
from pipeline.networks.network_files import load_network
from pipeline.networks.user_module import ForeignNetwork, load_foreign
from pipeline.settings import EvaluateSettings, Experiment


def main(experiment: Experiment) -> None:
    """Evaluate one network, or how attacks transfer between several, and print the figures."""
    folder, settings = Path(experiment.run), experiment.evaluate
    trained = None if settings.model or settings.models else load_network(folder)
    if trained:
        check_cell(folder, trained, experiment.genotype)
    elif experiment.genotype is not None:
        raise RunError("genotype= names the cell of a run's network; leave it out beside evaluate.model and .models")
    context = prepared(experiment)
    data, fabric = context.data, context.fabric
    named = list(what_is_run(settings))
    if settings.models:
        found = transfer(*context, load_models(settings.models, data))
        _show_all(named, fabric)
        for row in found.rows if fabric.is_global_zero else ():
            show(f"made on {row.made_on}, tried on {row.tried_on}: {row.accuracy:.1%}")
        return
    subject = trained or load_foreign(settings.model or "", settings.model_arguments, settings.weights, data)
    if settings.verify:
        _show_all([*named, *_verified(context, subject)], fabric)
        return
    results = evaluate(*context, subject)
    _show_all(named, fabric)
    if fabric.is_global_zero:
        if isinstance(subject, ForeignNetwork) and subject.uncounted:
            show(f"not counted of its size: {'; '.join(subject.uncounted)}")
        show(*str(measured_accuracies(context, results)).split("\n"))


def _verified(context: StageContext, subject: Subject) -> Sequence[str]:
    """Return a line for each figure that holds. Raises RunError with the others."""
    found = verify(*context, subject)
    if faults := [str(each) for each in found if not each.holds]:
        raise RunError(f"evaluate.verify: {'; '.join(faults)}")
    return [str(each) for each in found]


def _show_all(lines: Sequence[str], fabric: Fabric) -> None:
    """Say it in the first process alone, and with the results: a refusal is one line and nothing else."""
    for line in lines if fabric.is_global_zero else ():
        show(line)


def what_is_run(settings: EvaluateSettings) -> Iterator[str]:
    """Let the modules that the settings name be found, and say of each whose code is run."""
    for reference in filter(None, (settings.model, *settings.models)):
        file = None if Path(reference).is_dir() else let_be_found(reference)
        if file:
            yield f"{reference} runs the code of {file}"
