"""The file of a tabulation at work: what was measured of each cell, one line a cell, whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from atomic_files import open_regular
from pipeline.errors import RunError
from pipeline.runs.files import json_lines, write_atomically
from pipeline.runs.same_settings import check_same_settings
from pipeline.runs.schemas import Count, Environment, PlainGenotype, Schema, Seconds, checked

CELLS_FILE = "cells.jsonl"
Right = Annotated[tuple[Count, ...], Field(min_length=1)]
"""Images classified right, one number a seed."""

ImageCount = Annotated[int, Field(ge=1, le=10**9)]


class PartSizes(Schema):
    """How many images each part has; of the training part, those that an epoch trains on."""

    train: ImageCount
    validation: ImageCount
    test: ImageCount


class Header(Schema):
    """The first line: all that the figures depend on, and of how many images they are.

    settings: of the experiment, by group.  data: name of the set.
    """

    format: Literal["tabulated cells"] = "tabulated cells"
    version: Literal[1] = 1
    settings: dict[str, Any]
    data: str
    images: PartSizes
    environment: Environment


class CellRow(Schema):
    """What the trainings of one cell gave; the first axis is an epoch or an attack, the last a seed.

    trained: training images right in each epoch, as the recipe changes them.  clean, robust: validation images right
    after each epoch.  validation, test: images right at the end, by attack.  seconds: of one core, all seeds together.
    """

    genotype: PlainGenotype
    parameters: Count
    conv_linear_macs: Count
    seconds: Seconds
    trained: tuple[Right, ...]
    clean: tuple[Right, ...]
    robust: tuple[Right, ...]
    validation: dict[str, Right]
    test: dict[str, Right]


def begin(folder: Path, header: Header) -> list[CellRow]:
    """Return the rows that the folder has already; where it has none, write the header.

    A last line that a killed process left half is dropped. Raises RunError where the rows are of other settings.
    """
    path = folder / CELLS_FILE
    rows: list[CellRow] = []
    if path.exists():
        before, rows = read(folder)
        check_same_settings(before.settings, header.settings, folder)
        header = before
    write_atomically(path, "".join(f"{each.model_dump_json()}\n" for each in (header, *rows)))
    return rows


def append(folder: Path, row: CellRow) -> None:
    """Add one row, in one write."""
    with os.fdopen(open_regular(folder / CELLS_FILE, os.O_WRONLY | os.O_APPEND), "ab") as file:
        file.write(f"{row.model_dump_json()}\n".encode())


def read(folder: Path) -> tuple[Header, list[CellRow]]:
    """Return header and rows. Raises RunError that names the file and the line that is something else."""
    path = folder / CELLS_FILE
    lines = list(json_lines(path, "tabulate.py writes", ended=False))
    if not lines:
        raise RunError(f"{path} has no header; remove it")
    header = checked(lines[0][0], Header, lines[0][1])
    rows = [(checked(content, CellRow, wrong), wrong) for content, wrong in lines[1:]]
    for row, wrong in rows:
        check_counts(header, row, wrong)
    return header, [row for row, _ in rows]


def check_counts(header: Header, row: CellRow, wrong: str) -> None:
    """Raise RunError unless all counts are of as many seeds, and none is more than there are images."""
    curves, ends = (*row.trained, *row.clean, *row.robust), (*row.validation.values(), *row.test.values())
    seeds = {len(counts) for counts in (*curves, *ends)}
    if len(seeds) != 1:
        raise RunError(f"{wrong}: expected as many numbers everywhere as seeds, found {sorted(seeds)}")
    if len({len(row.trained), len(row.clean), len(row.robust)}) != 1 or row.validation.keys() != row.test.keys():
        raise RunError(f"{wrong}: expected curves of one length, and the same attacks on validation and test images")
    for part, counts, images in (
        ("training", row.trained, header.images.train),
        ("validation", (*row.clean, *row.robust, *row.validation.values()), header.images.validation),
        ("test", tuple(row.test.values()), header.images.test),
    ):
        largest = max((max(each) for each in counts), default=0)
        if largest > images:
            raise RunError(f"{wrong}: expected at most {images} {part} images right, found {largest}")
