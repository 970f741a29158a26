"""The page of a tabular benchmark: its distributions, its best cells, and all its settings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.accuracy import CLEAN
from pipeline.presentation.words import magnitude, percent
from pipeline.report.figures.tables import table_pictures
from pipeline.report.html import page, write_page
from pipeline.runs.metrics import flattened
from pipeline.studies.tables.table import Entry, Table, load_table
from search_space import Genotype

SHOWN_CELLS = 10  # cells at either end


def write(folder: Path) -> Path:
    """Write report.html and figures/*.png of the table in a run folder; return the page's path.

    Raises RunError that names the file where it is damaged.
    """
    table = load_table(folder)
    pictures = table_pictures(table)
    html = page("table.html.j2", _content(folder, table) | {"pictures": pictures})
    return write_page(folder, html, pictures)


def _content(folder: Path, table: Table) -> dict[str, Any]:
    """Return the template's values by name, but for the pictures."""
    ranked = sorted(table, key=lambda entry: -float(entry.test[table.attack].mean()))
    header, seeds = table.own_header, table.accuracies().shape[1]
    images = header.images
    return {
        "label": folder.resolve().name,
        "folder": folder,
        "lead": f"{len(table):,} cells that compute different functions, each trained with {seeds} seeds on "
        f"{images.train:,} images of {table.data} and attacked on {images.test:,} test images.",
        "tiles": list(_tiles(table, ranked)),
        "attacks": list(ranked[0].test),
        "best": [_row(entry, table) for entry in ranked[:SHOWN_CELLS]],
        "worst": [_row(entry, table) for entry in ranked[-SHOWN_CELLS:]] if len(ranked) > 2 * SHOWN_CELLS else [],
        "settings": [(key, str(value)) for key, value in flattened(header.settings).items()],
        "environment": [(key, str(value)) for key, value in header.environment.items()],
        "command": f"python scripts/report.py {shlex.quote(f'run={folder}')}",
    }


def _tiles(table: Table, ranked: list[Entry]) -> Iterator[tuple[str, str, str]]:
    means = table.means
    yield "Best cell", percent(float(means.max())), f"under {table.attack}, mean over seeds"
    yield "Median cell", percent(float(np.median(means))), f"5 % to 95 %: {_spread(means)}"
    yield "One training deviates by", f"{100 * table.seed_deviation:.1f} points", "around its cell's mean"
    seconds = float(np.mean([entry.seconds for entry in ranked]))
    yield "A cell takes", f"{seconds:.1f} s", f"of one core, all seeds; {3600 / seconds:,.0f} cells an hour"


def _spread(means: Any) -> str:
    low, high = np.quantile(means, (0.05, 0.95))
    return f"{percent(float(low))} to {percent(float(high))}"


def _row(entry: Entry, table: Table) -> dict[str, Any]:
    return {
        "nodes": re.split(r"(?<=\|\+)|(?<= )", in_words(entry.genotype)),
        "parameters": magnitude(entry.parameters),
        "macs": magnitude(entry.conv_linear_macs),
        "accuracies": [
            (percent(float(entry.test[attack].mean())), f"± {100 * float(entry.test[attack].std(ddof=1)):.1f}")
            for attack in dict.fromkeys((CLEAN, *entry.test))
        ],
        "percentile": f"{table.percentile(entry.genotype):.1f}",
    }


def in_words(genotype: Genotype) -> str:
    """Write a cell in one line: NAS-Bench-201's string, or the edges of both cells."""
    if genotype.reduction is None:
        return genotype.to_nasbench201()
    return " / ".join(
        " ".join("+".join(f"{edge.operation}~{edge.source}" for edge in edges) for edges in cell.nodes)
        for cell in genotype.cells.values()
    )
