"""The report: one self-contained page, and a table for the terminal, of what run folders hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap

from pipeline.evaluation.accuracy import Accuracy, strongest
from pipeline.meta_training.population_words import population_in_words
from pipeline.presentation.tables import text_table
from pipeline.presentation.words import magnitude, printable
from pipeline.report import figures
from pipeline.report.figures import Picture
from pipeline.report.findings import findings
from pipeline.report.html import page, write_page
from pipeline.report.page_content import content
from pipeline.report.protocols import protocols_in_words, remarks_on_weights
from pipeline.report.run_reader import RunContents, Runs, attacks_of, clean, read_runs
from search_space import Genotype

LINE_WIDTH = 100  # letters, in a terminal


def write(folder: Path, others: Sequence[Path] = ()) -> Path:
    """Write report.html and figures/*.png into a run folder; returns the page's path.

    others: run folders to set beside it. What a folder does not hold is left out. Raises RunError, before anything is
    written, when a folder holds nothing to report or a file is not what the other stages write.
    """
    runs = read_runs([folder, *others])
    pictures = _draw(runs)
    html = page("report.html.j2", content(runs) | {"pictures": pictures})
    return write_page(folder, html, (picture for group in pictures.values() for picture in group))


def table(folders: Sequence[Path]) -> str:
    """Return the results as text, a row a run: size, and each accuracy in % over its 95 % Wilson interval.

    "-" where one was not measured; where none was, one line that says so. Below, what else was measured of each.
    Of populations of learned optimizers, or of fronts, alone, what each reached. Raises RunError as `write` does.
    """
    runs = read_runs(folders)
    attacks = attacks_of(runs)
    reached = [population_in_words(label, run.lineage) for label, run in runs.items() if run.lineage]
    reached += [str(run.pareto) for run in runs.values() if run.pareto]
    if not attacks and reached:
        return "\n".join(reached)
    if not attacks:
        names = printable(", ".join(runs))
        return f"Nothing to put in a table yet: what {names} now holds was not evaluated; run evaluate.py."
    rows = []
    for label, run in runs.items():
        found = {result.attack: result for result in run.accuracies}
        rows.append([printable(label), *_sizes(run), *(_accuracy_text(found.get(attack)) for attack in attacks)])
    lines = text_table(("run", "parameters", "MACs", *attacks), rows)
    lines.append("Accuracy in % of the test images over its 95 % Wilson interval; MACs of convolutions and classifier.")
    for label, run in runs.items():
        for finding in (*protocols_in_words(run), *findings(run), *remarks_on_weights(run)):
            for line in wrap(f"{label}: {finding}", LINE_WIDTH, subsequent_indent="  "):  # a number stays with its unit
                lines.append(printable(line.replace("\N{NO-BREAK SPACE}", " ")))
    return "\n".join(lines)


def _draw(runs: Runs) -> dict[str, list[Picture]]:
    """Draw the figures by section of the page; a section without data has none."""
    run = next(iter(runs.values()))
    curves = {label: other.retrain_rows for label, other in runs.items()}
    return {
        "results": list(_result_pictures(runs)),
        "robustness": list(_robustness_pictures(runs)),
        "cells": _cell_pictures(run.genotype) if run.genotype else [],
        "search": _search_pictures(run) if run.search_rows else [],
        "alphas": list(_alpha_pictures(run)),
        "pareto": figures.pareto_pictures(run.pareto) if run.pareto else [],
        "population": figures.population_pictures(run.lineage) if run.lineage else [],
        "retrain": figures.retrain_pictures(curves, _best_epochs(runs)) if any(curves.values()) else [],
    }


def _result_pictures(runs: Runs) -> Iterator[Picture]:
    results = {label: run.accuracies for label, run in runs.items()}
    if any(results.values()):
        yield figures.accuracy_picture(results)
        costs = {label: run.cost for label, run in runs.items() if run.accuracies and run.cost}
        if len(costs) > 1:  # one size is a figure, not a picture; of a module that cannot be counted there is none
            counted = {label: results[label] for label in costs}
            for unit, key in (("parameters", "parameters"), ("MACs", "conv_linear_macs")):
                sizes = {label: cost[key] for label, cost in costs.items()}
                yield figures.size_picture(counted, sizes, strongest(counted), unit)


def _robustness_pictures(runs: Runs) -> Iterator[Picture]:
    run = next(iter(runs.values()))
    if run.examples:
        yield figures.examples_picture(run.examples, run.class_names)
    sweeps = {label: other.measured.sweep for label, other in runs.items()}
    if any(sweeps.values()):
        yield figures.sweep_picture(sweeps, {label: clean(other) for label, other in runs.items() if other.accuracies})
    if run.measured.corruptions:
        yield figures.corruption_picture(run.measured.corruptions, clean(run))
    for number, transfer in enumerate(run.transfers):
        yield figures.transfer_picture(transfer, f"transfer-{number + 1}" if number else "transfer")


def _cell_pictures(genotype: Genotype) -> list[Picture]:
    return [figures.cell_picture(cell, name) for name, cell in genotype.cells.items()]


def _search_pictures(run: RunContents) -> list[Picture]:
    events = [event.model_dump() for event in run.search.guard] if run.search else []
    return [
        *figures.search_pictures(run.search_rows, _convention(run), _balance(run)),
        *figures.collapse_pictures(run.search_rows, events),
    ]


def _alpha_pictures(run: RunContents) -> Iterator[Picture]:
    """Needs search.json, which says what the space was."""
    if run.alphas is not None and run.search is not None:
        asked = run.search.asked
        space, relaxation = asked.space.build(), asked.search.relaxation.build()
        yield from figures.alpha_pictures(run.alphas, space, run.genotype, relaxation)


def _convention(run: RunContents) -> str:
    return run.search.asked.objectives.macs_convention if run.search else "conv_linear_macs"


def _balance(run: RunContents) -> str | None:
    """None of a search that is not finished."""
    return run.search.asked.objectives.balance.name if run.search else None


def _best_epochs(runs: Runs) -> dict[str, int]:
    return {label: run.network.training["best_epoch"] for label, run in runs.items() if run.network}


def _sizes(run: RunContents) -> tuple[str, str]:
    if run.cost is None:
        return "-", "-"
    return magnitude(run.cost["parameters"]), magnitude(run.cost["conv_linear_macs"])


def _accuracy_text(result: Accuracy | None) -> str:
    if result is None:
        return "-"
    return f"{100 * result.accuracy:.1f}\n{100 * result.low:.1f}-{100 * result.high:.1f}"
