"""The part of a study that searches by supernets: their cells, how deep their alphas decide, and their judgement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from pipeline.compute.fabric import make_fabric
from pipeline.runs.files import write_json
from pipeline.runs.schemas import Schema, Share, read_as
from pipeline.search.selection.supernet_ranking import supernet_accuracies
from pipeline.settings import Experiment
from pipeline.studies.study.searchers.bench import Bench
from pipeline.studies.study.statistics import rank_correlation
from pipeline.studies.study.study_file import Decision, Judgement, Outcome
from pipeline.studies.study.supernets.searches import FoundCell, FoundFile, SupernetSearch, searches_of
from pipeline.studies.study.supernets.trained_cells import means_of
from pipeline.studies.study.table_study import outcome
from pipeline.studies.work import in_processes
from search_space import Genotype, canonical_form

JUDGED_FILE = "judged.json"
OWN = "{}, alphas"


class SupernetResults(NamedTuple):
    """What all searches by supernets gave."""

    outcomes: list[Outcome]
    decisions: list[Decision]
    judgements: list[Judgement]


class JudgedFile(Schema):
    """The content of judged.json: what the supernet of a search said of cells, by canonical form."""

    scores: dict[str, Share]


@dataclass(frozen=True)
class SupernetJudgement:
    """Asks the supernet of a finished search what it thinks of cells, with inherited weights."""

    search: SupernetSearch
    genotypes: tuple[Genotype, ...]

    def __call__(self) -> list[float]:
        """Score each cell, or read its score, between 0 and 1."""
        search, path = self.search, self.search.folder / JUDGED_FILE
        scores = dict(read_as(path, JudgedFile, "study").scores) if path.exists() else {}
        missing = [genotype for genotype in self.genotypes if canonical_form(genotype) not in scores]
        if missing:
            fabric = make_fabric(search.experiment.fabric)
            found = supernet_accuracies(search.folder, search.experiment, search.data(), fabric, missing)
            scores |= {canonical_form(cell): score or 0.0 for cell, score in zip(missing, found, strict=True)}
            write_json(path, {"scores": scores})
        return [scores[canonical_form(genotype)] for genotype in self.genotypes]


def search_by_supernets(
    folder: Path,
    bench: Bench,
    searches: Mapping[str, Experiment],
    of_table: Experiment,
    seeds: range,
    judged: Sequence[Genotype],
) -> SupernetResults:
    """Run all searches, train the cells that the table lacks, and let each supernet judge cells of the table."""
    if not searches:
        return SupernetResults([], [], [])
    processes = of_table.study.processes
    mean_macs = float(np.mean([entry.conv_linear_macs for entry in bench.entries]))
    works = list(searches_of(folder, searches, of_table, mean_macs, seeds))
    for work in works:
        work.before()  # other settings are refused before any search
    found = in_processes("search", works, processes)
    by_name = {name: [file for work, file in zip(works, found, strict=True) if work.name == name] for name in searches}
    cells = [each.cell for files in by_name.values() for file in files for each in (file.chosen, file.own) if each]
    means = means_of(folder / "cells", bench.table, of_table, cells, processes)
    judging = [SupernetJudgement(work, tuple(judged)) for work in works] if judged else []
    scores = in_processes("ask", judging, processes)
    return SupernetResults(
        list(_outcomes(bench, by_name, means)),
        [Decision(search=name, entropy=tuple(file.entropy for file in files)) for name, files in by_name.items()],
        list(_judgements(bench, works, scores, judged)) if judged else [],
    )


def _outcomes(
    bench: Bench, by_name: Mapping[str, Sequence[FoundFile]], means: Mapping[str, float]
) -> Iterator[Outcome]:
    for name, files in by_name.items():
        own = [file.own for file in files if file.own]
        if own:
            yield _outcome(bench, OWN.format(name), own, means)
        yield _outcome(bench, name, [file.chosen for file in files], means)


def _outcome(bench: Bench, name: str, cells: Sequence[FoundCell], means: Mapping[str, float]) -> Outcome:
    accuracies = [means[canonical_form(each.cell)] for each in cells]
    found = outcome(bench, name, name, accuracies, [each.cost for each in cells], uses_supernet=True)
    return found.model_copy(update={"genotypes": tuple(each.genotype for each in cells)})


def _judgements(
    bench: Bench, works: Sequence[SupernetSearch], scores: Sequence[Sequence[float]], judged: Sequence[Genotype]
) -> Iterator[Judgement]:
    """Yield the mean correlation of each search's supernets with the means of the cells that they judged.

    Shared weights undervalue large cells, so that the mean of the ranks by supernet and by size is a judge as well.
    """
    means = np.array([bench.table.mean(genotype) for genotype in judged])
    sizes = rankdata([bench.table[genotype].parameters for genotype in judged])[:, None]
    for name in dict.fromkeys(work.name for work in works):
        own = np.array([row for work, row in zip(works, scores, strict=True) if work.name == name]).T
        for judge, label, seen in (
            (name, f"supernet of {name}", own),
            (f"{name} with size", f"{name} with size", rankdata(own, axis=0) + sizes),
        ):
            tau, low, high = rank_correlation(seen, means)
            yield Judgement(
                judge=judge,
                label=label,
                cells=len(judged),
                tau=tau,
                low=low,
                high=high,
                supernets=own.shape[1],
            )
