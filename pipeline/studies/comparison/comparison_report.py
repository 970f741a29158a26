"""A comparison as files: a table in Markdown, its pictures, and the figures as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pipeline.evaluation.accuracy import CLEAN
from pipeline.presentation.tables import markdown_table
from pipeline.presentation.words import bound_in_words, counted, named, percent, printable, recipe_in_words, shown
from pipeline.runs.files import read_text, write_atomically, write_json
from pipeline.runs.same_settings import plain
from pipeline.runs.schemas import Schema, read_as
from pipeline.search.objectives import bounds_of
from pipeline.settings import HOW_IMAGES_ARE_READ, Experiment, ObjectiveSettings, RetrainSettings, SelectionSettings
from pipeline.studies.comparison.comparison_figures import judgement_picture, size_and_robustness_picture
from pipeline.studies.comparison.comparison_findings import findings, with_error
from pipeline.studies.comparison.comparison_statistics import (
    CONTROL,
    KINDS,
    OF_THE_SPACE,
    PREDICTOR,
    RANDOM_SEARCH,
    CellResult,
    Mean,
    agreement,
    mean,
    mean_difference,
    of_kind,
)

COLUMNS = ("cell", "parameters", "MACs", CLEAN)
READING = "## What it says, and what it leaves open"  # what people write under a comparison; it is kept
OUTDATED = "This was written for earlier figures than those above."
PARTS = (
    *("seed", "data", "space", "objectives", "attack", "weight_optimizer", "search", "retrain", "evaluate", "pareto"),
    "comparison",
)
COMPARED_ON = {"held_back_accuracy": "held-back images", "training_accuracy": "the batches of training"}


class ComparisonFile(Schema):
    """What is read of a comparison's JSON: its cells, as `CellResult` writes them."""

    command: str
    data: str
    settings: dict[str, Any]
    attack: str
    cells: list[dict[str, Any]]
    searched_minus_random: dict[str, float | None]
    searched_minus_random_search: dict[str, float | None] | None = None
    searched_minus_predictor: dict[str, float | None] | None = None
    agreement: dict[str, float | None] | None


def write(folder: Path, experiment: Experiment, standings: Sequence[CellResult], command: str, minutes: float) -> Path:
    """Write comparison_<data>.md, .json and .png into the folder; returns the path of the first.

    What stands under the heading READING in an earlier .md is kept, marked where the cells' figures have changed.
    """
    name, attack = f"comparison_{name_of(experiment)}", strongest_attack(experiment, standings)
    pictures = [size_and_robustness_picture(standings, attack, name)]
    if agreement(standings, attack) is not None:
        pictures.append(judgement_picture(standings, attack, f"{name}_judgement"))
    for picture in pictures:
        write_atomically(folder / f"{picture.name}.png", picture.png)
    measured = figures(experiment, standings, command)
    images = "\n\n".join(f"![{picture.alt}]({picture.name}.png)\n\n{picture.caption}" for picture in pictures)
    heading = f"# Searched, random and published cells: {printable(data_name(experiment))}"
    how = f"`{command}`. torch {torch.__version__}, {minutes:.0f} minutes in this call; finished parts are read."
    parts = [heading, how, text(experiment, standings), images, *_reading(folder, name, measured)]
    write_atomically(folder / f"{name}.md", "\n\n".join(parts) + "\n")
    # after the .md: a call that ends between the two leaves figures by which the next one still marks the reading
    write_json(folder / f"{name}.json", measured)
    return folder / f"{name}.md"


def _reading(folder: Path, name: str, measured: dict[str, Any]) -> list[str]:
    """What the earlier .md says under READING, if anything; marked where the cells measured otherwise, or unknown."""
    page, stored = folder / f"{name}.md", folder / f"{name}.json"
    _, found, written = read_text(page).partition(f"\n{READING}\n") if page.exists() else ("", "", "")
    if not found:
        return []
    earlier = read_as(stored, ComparisonFile, "compare").cells if stored.exists() else None
    is_outdated = earlier != json.loads(json.dumps(measured["cells"])) and OUTDATED not in written
    return [READING, *([OUTDATED] if is_outdated else []), written.strip("\n")]


def figures(experiment: Experiment, standings: Sequence[CellResult], command: str) -> dict[str, Any]:
    """Collect all that was measured, and with which settings."""
    attack = strongest_attack(experiment, standings)
    agreed = agreement(standings, attack)
    settings = plain({part: getattr(experiment, part) for part in PARTS})
    for key in ("path", *HOW_IMAGES_ARE_READ):  # where the images lie on one machine, and how it reads them
        del settings["data"][key]
    for key in ("processes", "results"):
        del settings["comparison"][key]
    return {
        "command": command,
        "data": data_name(experiment),
        "settings": settings,
        "attack": attack,
        "cells": [asdict(standing) for standing in standings],
        "searched_minus_random": _finite(asdict(mean_difference(standings, attack))),
        "searched_minus_random_search": _searched_minus(RANDOM_SEARCH, standings, attack),
        "searched_minus_predictor": _searched_minus(PREDICTOR, standings, attack),
        "agreement": None if agreed is None else _finite(asdict(agreed)),
    }


def _searched_minus(kind: str, standings: Sequence[CellResult], attack: str) -> dict[str, Any] | None:
    """Return the difference from a kind that may not be there."""
    return _finite(asdict(mean_difference(standings, attack, kind))) if of_kind(standings, kind) else None


def text(experiment: Experiment, standings: Sequence[CellResult]) -> str:
    """Return the sizes, the table and what it says, in Markdown."""
    attack = strongest_attack(experiment, standings)
    return "\n\n".join([_sizes(experiment, standings), _table(standings, experiment), findings(standings, attack)])


def strongest_attack(experiment: Experiment, standings: Sequence[CellResult]) -> str:
    """The attack that leaves the least accuracy over all cells; cw counts in L2 alone, else its radius is its own."""
    settings = experiment.evaluate
    attacks: list[str] = [name for name in settings.attacks if name != "cw" or settings.norm == "L2"] or [CLEAN]
    return min(attacks, key=lambda attack: sum(standing.accuracy(attack) for standing in standings))


def data_name(experiment: Experiment) -> str:
    """Return what results call the images."""
    data = experiment.data
    return data.name or (Path(data.path).name if data.path else data.source)


def name_of(experiment: Experiment) -> str:
    """Return the images' name as part of a file's."""
    data = experiment.data
    return (Path(data.path).name if data.path else data.source).replace("-", "_")


def _sizes(experiment: Experiment, standings: Sequence[CellResult]) -> str:
    search, recipe, settings, data = experiment.search, experiment.retrain, experiment.comparison, experiment.data
    evaluate = experiment.evaluate
    selection = search.selection
    return "\n".join(
        [
            f"- Images: {printable(data_name(experiment))}, {data.limit or 'all'} for training, "
            f"{evaluate.images or data.test_limit or 'all'} for testing; {evaluate.norm}, eps "
            f"{shown('eps', evaluate.eps)}.",
            f"- Search: C={search.channels}, {counted(search.layers, 'layer')}, {counted(search.epochs, 'epoch')}, "
            f"order {search.order}, alpha learning rate {search.alpha_learning_rate:g}, objectives "
            f"{', '.join(experiment.objectives.names)}; {_bounds(experiment.objectives)}"
            f"{_last_choice(selection, recipe)}.",
            f"- One recipe for all: {counted(recipe.layers, 'layer')}, C={recipe.channels} (published cells: the C "
            f"nearest in parameters{_control(standings)}), {counted(recipe.epochs, 'epoch')} "
            f"{recipe_in_words(recipe.model_dump())}; checkpoint chosen on held-back training images.",
            f"- {_searches('search', settings.searches)}; {_other_searches(standings, selection)}"
            f"{settings.random} random cells, uniform within the same bounds; {settings.seeds} retrainings of a cell, "
            f"{settings.random_seeds} of a random one.",
        ]
    )


def _control(standings: Sequence[CellResult]) -> str:
    """Say what the hand-made network is, or that there is none."""
    named = [
        f"; {cell.name}: its own layers and the C nearest in parameters, hand-made and not searched"
        for cell in of_kind(standings, CONTROL)
    ]
    return "".join(named) or "; no hand-made network stands beside them"


def _bounds(objectives: ObjectiveSettings) -> str:
    """Return what all cells of the space keep."""
    bounds = {name: getattr(objectives, name) for name in bounds_of(objectives)}
    return ", ".join(f"{named(name)} {bound_in_words(bound)}" for name, bound in bounds.items() if any(bound))


def _last_choice(selection: SelectionSettings, recipe: RetrainSettings) -> str:
    """Say which cells are chosen from, and by what; nothing where the alphas alone choose."""
    if selection.candidates == 1:
        return ""
    chosen = {"supernet": "those that the supernet judges best", "predictor": "those that a predictor proposes"}
    pool = "" if selection.pool is None else f", of {selection.pool} {chosen[selection.proposals]},"
    rounds = f"after {counted(selection.epochs, 'epoch')} of training, by accuracy on {COMPARED_ON[selection.measure]}"
    final = f", the best {selection.finalists} of which go on to {counted(recipe.epochs, 'epoch')}"
    choice = f"; choice between {counted(selection.candidates, 'cell')}{pool} {rounds}"
    return choice + (final if selection.finalists > 1 else "")


def _other_searches(standings: Sequence[CellResult], selection: SelectionSettings) -> str:
    """Return what searches without a supernet are, where there are some."""
    said, candidates = "", selection.candidates
    if count := len(of_kind(standings, RANDOM_SEARCH)):
        verb = "chooses" if count == 1 else "choose"
        said += f"{_searches('random search', count)}, which {verb} in the same way between {candidates} random cells; "
    if count := len(of_kind(standings, PREDICTOR)):
        verb = "trains" if count == 1 else "train"
        said += f"{counted(count, 'predictor')}, which {verb} {candidates} of {selection.pool} random cells each; "
    return said


def _searches(noun: str, count: int) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}es"


def _table(standings: Sequence[CellResult], experiment: Experiment) -> str:
    attacks = (CLEAN, *experiment.evaluate.attacks)
    header = [*COLUMNS[:3], *attacks, "in the supernets"]
    lines = []
    for kind in KINDS:
        cells = of_kind(standings, kind)
        lines += [_line(cell, attacks) for cell in cells]
        if cells and kind in OF_THE_SPACE:
            lines.append(_mean_line(kind, cells, attacks))
    return markdown_table(header, lines)


def _line(cell: CellResult, attacks: Sequence[str]) -> list[str]:
    accuracies = [with_error(Mean(cell.accuracy(attack), cell.deviation(attack))) for attack in attacks]
    judgement = percent(cell.judgement) if cell.judgements else "-"
    return [cell.name, f"{cell.parameters:,}", f"{cell.macs:,}", *accuracies, judgement]


def _mean_line(kind: str, cells: Sequence[CellResult], attacks: Sequence[str]) -> list[str]:
    sizes = [f"{mean([getattr(cell, size) for cell in cells]).value:,.0f}" for size in ("parameters", "macs")]
    accuracies = [with_error(mean([cell.accuracy(attack) for cell in cells])) for attack in attacks]
    judged = [cell.judgement for cell in cells if cell.judgements]
    row = [f"{kind}: mean of {len(cells)}", *sizes, *accuracies, percent(mean(judged).value) if judged else "-"]
    return [f"**{value}**" for value in row]


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
