"""Cells that searches chose and the table lacks: trained on demand as the table's own are, and kept in the study."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.settings import Experiment
from pipeline.studies.tables import rows as stored
from pipeline.studies.tables.rows import CellRow
from pipeline.studies.tables.table import Table
from pipeline.studies.tables.tabulate import CellWork, form_of
from pipeline.studies.work import in_processes
from search_space import Genotype, canonical_form


def means_of(
    folder: Path, table: Table, of_table: Experiment, genotypes: Iterable[Genotype], processes: int | None
) -> dict[str, float]:
    """Return by canonical form the mean test accuracy of each cell: the table's or, of others, of trainings made now.

    folder: that keeps the rows of what is trained, in the format of tabulate, so that no cell is trained twice.
    """
    cells = {canonical_form(genotype): genotype for genotype in genotypes}
    tabulated = {canonical_form(entry.genotype): float(mean) for entry, mean in zip(table, table.means, strict=True)}
    missing = {form: genotype for form, genotype in cells.items() if form not in tabulated}
    trained = {form_of(row): row for row in _trained(folder, table, of_table, missing, processes)} if missing else {}
    found = {form: tabulated[form] for form in cells.keys() & tabulated.keys()}
    images = table.own_header.images.test
    return found | {form: float(np.mean(trained[form].test[table.attack])) / images for form in missing}


def _trained(
    folder: Path, table: Table, of_table: Experiment, missing: dict[str, Genotype], processes: int | None
) -> list[CellRow]:
    """Train what the folder does not have yet; return all its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {form_of(row) for row in stored.begin(folder, table.own_header)}
    works = [CellWork(of_table, genotype) for form, genotype in missing.items() if form not in known]
    in_processes("train", works, processes, done=partial(_note, folder))
    return stored.read(folder)[1]


def _note(folder: Path, row: CellRow) -> str:
    stored.append(folder, row)
    return f"{row.seconds:.1f} s a cell"
