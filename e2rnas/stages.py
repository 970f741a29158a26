"""Stages from settings alone: the cell, the images and the machine are found here, for Python and the command line."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lightning_fabric import Fabric

from e2rnas.cli.composing.variants import variant
from e2rnas.results import Accuracies, Comparison, ExportedFiles, Study
from pipeline.compute.fabric import make_fabric
from pipeline.compute.ranks import launch
from pipeline.continuation.spectrum_file import SPECTRUM_FILE
from pipeline.data import ImageData, load
from pipeline.evaluation.accuracy import Accuracy
from pipeline.evaluation.stored_evaluation import ROBUSTNESS_FILE as ROBUSTNESS
from pipeline.evaluation.stored_evaluation import read_robustness
from pipeline.export.export import export, find, forms_of, needs_images
from pipeline.networks.description import NetworkDescription
from pipeline.networks.genotype_reference import cell_of
from pipeline.networks.network_files import check_fits
from pipeline.report import analysis_report, run_report, study_report, table_report
from pipeline.report.spectra import spectrum_report
from pipeline.report.sweeps import sweep_report
from pipeline.report.sweeps.seed_groups import runs_in
from pipeline.runs.schemas import read_as
from pipeline.runs.stored_stages import SearchFile
from pipeline.settings import Experiment
from pipeline.studies.comparison.comparison import compare
from pipeline.studies.comparison.comparison_report import name_of, strongest_attack, text, write
from pipeline.studies.comparison.comparison_statistics import agreement, mean_difference
from pipeline.studies.optimizer_analysis.analyse import analyse_optimizer
from pipeline.studies.optimizer_analysis.analysis_file import ANALYSIS_FILE, AnalysisFile
from pipeline.studies.study.study import study
from pipeline.studies.study.study_file import STUDY_FILE
from pipeline.studies.tables.table import TABLE_FILE
from pipeline.training.retrain import retrain


class StageContext(NamedTuple):
    """Where a stage works, in the order in which stages take it."""

    folder: Path
    experiment: Experiment
    data: ImageData
    fabric: Fabric


def prepared(experiment: Experiment) -> StageContext:
    """Find the machine and the images, and start the other processes. Raises ValueError where one cannot be had."""
    fabric = make_fabric(experiment.fabric)
    data = load(experiment.data)
    launch(fabric)
    return StageContext(Path(experiment.run), experiment, data, fabric)


def read_search(folder: Path) -> SearchFile:
    """Read search.json. Raises RunError that names the file where it is something else."""
    return read_as(folder / "search.json", SearchFile, "search")


def search_in_words(folder: Path) -> Iterator[str]:
    """Say what a finished search found: the size of the derived network, and its bounds."""
    found = read_search(folder)
    cost = found.derived_cost
    yield f"{folder / 'genotype.json'}: {cost.parameters:,} parameters, {cost.conv_linear_macs:,} MACs when derived"
    for name, bound in found.bounds.items():
        kept = "inside" if bound.violation == 0 else f"{bound.violation:.1%} outside"
        yield f"  {name}: {bound.value:,} is {kept} [{bound.lower}, {bound.upper}]"


def retrain_cell(experiment: Experiment) -> tuple[StageContext, NetworkDescription]:
    """Train the network of the cell that the settings name, else of the run folder's."""
    name, genotype = cell_of(Path(experiment.run), experiment.genotype)
    context = prepared(experiment)
    return context, retrain(*context, name=name, genotype=genotype)


def measured_accuracies(context: StageContext, attacks: Sequence[Accuracy]) -> Accuracies:
    """Return what an evaluation found under its attacks with what its protocol measured beside them."""
    settings, found = context.experiment.evaluate, read_robustness(context.folder / ROBUSTNESS)[0]
    return Accuracies(
        tuple(attacks),
        tuple(row for row in found.sweep if row.attack == settings.sweep_attack),
        found.corruptions,
        found.checks.verdict if settings.checks and found.checks else None,
    )


def export_run(experiment: Experiment) -> ExportedFiles:
    """Export the cell of a run folder, and its network, in every form that the settings ask for."""
    folder = Path(experiment.run)
    exported = find(folder, experiment.genotype)
    forms = forms_of(experiment.export.formats, exported)
    test = None
    if exported.trained and needs_images(forms):
        data = load(experiment.data)
        check_fits(exported.trained, data)
        test = data.test
    return ExportedFiles(folder, export(folder, experiment, exported, forms, test))


def report_runs(folder: Path, others: Sequence[Path]) -> tuple[Path, list[str]]:
    """Write report.html of a run, table, study, analysis, spectrum or folder of runs; returns its path, and results.

    others: runs, or folders of runs, to set beside it.
    """
    if (folder / TABLE_FILE).exists():
        return table_report.write(folder), []
    if (folder / STUDY_FILE).exists():
        return study_report.write(folder), []
    if (folder / ANALYSIS_FILE).exists():
        return analysis_report.write(folder), []
    if (folder / SPECTRUM_FILE).exists():
        return spectrum_report.write(folder), []
    runs, beside = runs_in(folder), [run for other in others for run in runs_in(other)]
    if runs == [folder]:
        page, results = run_report.write(folder, beside), run_report.table([folder, *beside])
    else:
        page, results = sweep_report.write(folder, [*runs, *beside]), sweep_report.table(folder, [*runs, *beside])
    return page, results.split("\n")


def compare_cells(experiment: Experiment, overrides: Sequence[str]) -> Comparison:
    """Compare searched, random and published cells, and write the table, the pictures and the figures as JSON.

    overrides: which settings were given; the page says them.
    """
    started = time.monotonic()
    cells = compare(Path(experiment.run), experiment)
    minutes = (time.monotonic() - started) / 60
    command = _command("compare", "comparison.results=", experiment, overrides)
    page = write(Path(experiment.comparison.results), experiment, cells, command, minutes)
    attack = strongest_attack(experiment, cells)
    return Comparison(
        tuple(cells), attack, mean_difference(cells, attack), agreement(cells, attack), page, text(experiment, cells)
    )


def study_searchers(experiment: Experiment, overrides: Sequence[str]) -> Study:
    """Let searchers and judges choose from a table, and write study.json, the page, and the results in Markdown.

    overrides: which settings were given; the page says them.
    """
    folder = Path(experiment.run)
    searches = {
        name: variant(experiment, changes, f"study.searches.{name}")
        for name, changes in experiment.study.chosen_searches.items()
    }
    found = study(folder, experiment, searches, _command("study", "study.results=", experiment, overrides))
    page = study_report.write(folder)
    data = found.table.data if found.table.published else name_of(experiment)
    results = study_report.write_results(Path(experiment.study.results), found, data)
    return Study(found, page, results, study_report.results_in_markdown(found))


def analyse(experiment: Experiment, overrides: Sequence[str]) -> AnalysisFile:
    """Take an optimizer apart, and write analysis.json.

    overrides: which settings were given; the page says them.
    """
    make_fabric(experiment.fabric)
    return analyse_optimizer(
        Path(experiment.run), experiment, _command("analyse_optimizer", "run=", experiment, overrides)
    )


def _command(program: str, results: str, experiment: Experiment, overrides: Sequence[str]) -> str:
    """Return the command line, but where files are kept, with the last part of a folder of images alone.

    results: how the override begins that says where results are written.
    """
    kept = [word for word in overrides if not word.startswith(("run=", results))]
    line = shlex.join(["python", f"scripts/{program}.py", *kept])
    images = experiment.data.path
    return line.replace(images, Path(images).name) if images and Path(images).is_dir() else line
