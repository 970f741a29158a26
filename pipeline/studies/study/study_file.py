"""What a study found, as study.json holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pipeline.runs.schemas import Count, Environment, Figure, PlainGenotype, Schema, Seconds, Share, read_as

STUDY_FILE = "study.json"


class Outcome(Schema):
    """What one searcher chose in each of its searches; every list has one value a seed.

    budget: whole trainings it may pay for; none where its cost is not chosen, as that of a supernet.
    accuracy: of the chosen cell, on test images under the table's attack, the mean over its trainings.
    percentile: of the tabulated cells, in %.  regret: what it lacks to the best of them.
    passes, seconds: everything that the search took; no seconds where the table has none.
    genotypes: of supernets' searches alone.
    """

    searcher: str
    label: str
    uses_supernet: bool = False
    budget: Count | None
    accuracy: tuple[Share, ...]
    percentile: tuple[Figure, ...]
    regret: tuple[Figure, ...]
    passes: tuple[Figure, ...]
    seconds: tuple[Seconds, ...]
    genotypes: tuple[PlainGenotype, ...] = ()


class PairedTest(Schema):
    """A searcher against another that was given what it cost, seed by seed.

    difference: of mean accuracies, with its 95 % interval.  p: of Wilcoxon's signed-rank test, two-sided.
    """

    searcher: str
    budget: Count | None
    rival: str
    difference: Figure
    low: Figure
    high: Figure
    p: Share


class Judgement(Schema):
    """How far a judge's ranking of cells agrees with the table's means: Kendall's tau, with its 95 % interval.

    cells: that were judged.  supernets: that judged them, each by itself; 0 for what is none.
    """

    judge: str
    label: str
    cells: Count
    tau: Figure
    low: Figure
    high: Figure
    supernets: Count = 0


class Decision(Schema):
    """How deep the alphas of a search are decided at its end: the entropy of an edge's operations, of its largest.

    entropy: [seeds][edges], 0 where one operation has all probability, 1 where all have the same.
    """

    search: str
    entropy: tuple[tuple[Share, ...], ...]


class TableFacts(Schema):
    """The table that searchers were judged by.

    cells: inside the bounds.  best, median, deviation: of means over trainings, and of one training around its mean.
    training_passes, training_seconds: of one whole training, the unit of budgets.
    published: by others, with one part of images alone, and neither passes nor seconds: a whole training counts as one.
    """

    name: str
    data: str
    attack: str
    cells: Count
    trainings: Count
    best: Share
    median: Share
    deviation: Share | None
    training_passes: Figure
    training_seconds: Seconds | None
    published: bool = False


class StudyFile(Schema):
    """The content of study.json: all that a study found, and from what."""

    format: Literal["study"] = "study"
    version: Literal[1] = 1
    command: str
    table: TableFacts
    settings: dict[str, Any]
    seeds: Count
    outcomes: tuple[Outcome, ...]
    tests: tuple[PairedTest, ...]
    judgements: tuple[Judgement, ...]
    decisions: tuple[Decision, ...] = ()
    environment: Environment


def read_study(folder: Path) -> StudyFile:
    """Read study.json of a folder. Raises RunError that names the file where it is something else."""
    return read_as(folder / STUDY_FILE, StudyFile, "study")
