"""The report: one self-contained page, and a table for the terminal, of what run folders hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import figures
from pipeline.evaluate import Accuracy
from pipeline.figures import Picture
from pipeline.page import content
from pipeline.results import Run, Runs, attacks_of, read_runs, strongest
from pipeline.run import write_atomically
from pipeline.settings import RelaxationSettings, SpaceSettings
from pipeline.wording import interval, magnitude, percent, printable
from search_space import Genotype

TEMPLATES = Path(__file__).with_name("templates")
UNLIMITED_WIDTH = 1000  # letters: a table is as wide as it needs to be, and never folded


def write(folder: Path, others: Sequence[Path] = ()) -> Path:
    """Write report.html and figures/*.png into a run folder; returns the page's path.

    others: run folders to set beside it. What a folder does not hold is left out. Raises RunError, before anything is
    written, when a folder holds nothing to report or a file is not what the other stages write.
    """
    runs = read_runs([folder, *others])
    pictures = _draw(runs)
    page = _render(runs, pictures)
    for picture in (picture for group in pictures.values() for picture in group):
        write_atomically(folder / "figures" / f"{picture.name}.png", picture.png)
    write_atomically(folder / "report.html", page)
    return folder / "report.html"


def table(folders: Sequence[Path]) -> str:
    """The results as text, a row a run: size, and each accuracy in % over its 95 % Wilson interval.

    "-" where one was not measured; where none was, one line that says so. Raises RunError as `write` does.
    """
    runs = read_runs(folders)
    attacks = attacks_of(runs)
    if not attacks:
        return f"Nothing to put in a table yet: no robustness.json of {printable(', '.join(runs))}; run evaluate.py."
    text = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    text.add_column("run", overflow="fold", max_width=28)
    for heading in ("parameters", "MACs", *attacks):
        text.add_column(heading, justify="right", no_wrap=True)
    for label, run in runs.items():
        found = {result.attack: result for result in run.accuracies}
        cells = [printable(label), *_sizes(run), *(_accuracy_text(found.get(attack)) for attack in attacks)]
        text.add_row(*map(Text, cells))
    file = io.StringIO()
    Console(file=file, width=UNLIMITED_WIDTH, color_system=None).print(text)
    lines = [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]
    lines.append("Accuracy in % of the test images over its 95 % Wilson interval; MACs of convolutions and classifier.")
    return "\n".join(lines)


def _draw(runs: Runs) -> dict[str, list[Picture]]:
    """The figures by section of the page; a section without data has none."""
    run = next(iter(runs.values()))
    curves = {label: other.retrain_rows for label, other in runs.items()}
    return {
        "results": list(_result_pictures(runs)),
        "cells": _cell_pictures(run.genotype) if run.genotype else [],
        "search": _search_pictures(run) if run.search_rows else [],
        "alphas": list(_alpha_pictures(run)),
        "pareto": figures.pareto_pictures(run.pareto) if run.pareto else [],
        "retrain": figures.retrain_pictures(curves, _best_epochs(runs)) if any(curves.values()) else [],
    }


def _result_pictures(runs: Runs) -> Iterator[Picture]:
    results = {label: run.accuracies for label, run in runs.items()}
    if any(results.values()):
        yield figures.accuracy_picture(results)
        parameters = {label: run.cost["parameters"] for label, run in runs.items() if run.accuracies and run.cost}
        yield figures.size_picture(results, parameters, strongest(results))


def _cell_pictures(genotype: Genotype) -> list[Picture]:
    return [figures.cell_picture(cell, name) for name, cell in genotype.cells.items()]


def _search_pictures(run: Run) -> list[Picture]:
    events = run.search["guard"] if run.search else []
    return [
        *figures.search_pictures(run.search_rows, _convention(run)),
        *figures.collapse_pictures(run.search_rows, events),
    ]


def _alpha_pictures(run: Run) -> Iterator[Picture]:
    """Needs search.json, which says what the space was."""
    if run.alphas is not None and run.search is not None:
        space = SpaceSettings.model_validate(run.search["settings"]["space"]).build()
        relaxation = RelaxationSettings.model_validate(run.search["settings"]["search"]["relaxation"]).build()
        yield from figures.alpha_pictures(run.alphas, space, run.genotype, relaxation)


def _convention(run: Run) -> str:
    return str(run.search["settings"]["objectives"]["macs_convention"]) if run.search else "conv_linear_macs"


def _best_epochs(runs: Runs) -> dict[str, int]:
    return {label: run.network.training["best_epoch"] for label, run in runs.items() if run.network}


def _sizes(run: Run) -> tuple[str, str]:
    if run.cost is None:
        return "-", "-"
    return magnitude(run.cost["parameters"]), magnitude(run.cost["conv_linear_macs"])


def _accuracy_text(result: Accuracy | None) -> str:
    if result is None:
        return "-"
    return f"{100 * result.accuracy:.1f}\n{100 * result.low:.1f}-{100 * result.high:.1f}"


def _render(runs: Runs, pictures: Mapping[str, Sequence[Picture]]) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # names and paths come from files
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"magnitude": magnitude, "percent": percent, "interval": interval, "data_uri": _data_uri}
    return environment.get_template("report.html.j2").render(content(runs), pictures=pictures)


def _data_uri(png: bytes) -> Markup:
    """Base64 has no sign that HTML reads, and escaping a megabyte takes time."""
    return Markup("data:image/png;base64," + base64.b64encode(png).decode())  # noqa: S704 - see above
