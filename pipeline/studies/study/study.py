"""The study as a stage: searchers of a table, searches by supernets and judges, each from many seeds or cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.compute.environment import environment
from pipeline.options.judges import JUDGES
from pipeline.runs.files import write_json
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import plain
from pipeline.settings import Experiment
from pipeline.studies.study.judges.network_judgements import judged_cells, network_judgements
from pipeline.studies.study.searchers.bench import Bench
from pipeline.studies.study.study_file import STUDY_FILE, StudyFile, TableFacts
from pipeline.studies.study.supernets.searches import check_searches
from pipeline.studies.study.supernets.supernet_study import search_by_supernets
from pipeline.studies.study.table_settings import bounds_in_table, cells_left_out, check_answers, experiment_of_table
from pipeline.studies.study.table_study import equal_cost_tests, table_judgements, table_outcomes
from pipeline.studies.tables.table import load_table
from pipeline.studies.work import seeds

STAGE = "study"


def study(folder: Path, experiment: Experiment, searches: Mapping[str, Experiment], command: str) -> StudyFile:
    """Let all searchers search with all seeds, ask all judges, and write study.json.

    searches: by a supernet, by name: the settings of each.  command: how the study was started, which the file says.
    A call that is stopped goes on with the next search. Raises ValueError before any work for settings that do not fit
    the table.
    """
    settings = experiment.study
    table = load_table(settings.table, settings.attack)
    check_answers(table, settings, searches)
    bench = Bench(table, bounds_in_table(experiment), cells_left_out(table, settings))
    asks_networks = any(JUDGES[name].reads == "network" for name in settings.judges)
    needs_images = asks_networks or bool(searches)
    of_table = experiment_of_table(experiment, table.own_header, settings.table) if needs_images else experiment
    check_searches(searches, of_table)
    drawn, judged = seeds(experiment, settings.seeds), judged_cells(bench.entries, settings.judged, experiment.seed)
    by_supernets = judged_cells(bench.entries, settings.judged_by_supernets, experiment.seed)
    with exclusive(folder, STAGE):
        found = search_by_supernets(folder, bench, searches, of_table, drawn, by_supernets)
        outcomes = (*table_outcomes(bench, settings, drawn), *found.outcomes)
        judgements = (*table_judgements(bench, settings), *network_judgements(table, of_table, judged))
        result = StudyFile(
            command=command,
            table=_facts(bench, settings.table),
            settings=plain({"study": settings, "objectives": experiment.objectives, "seed": experiment.seed}),
            seeds=len(drawn),
            outcomes=outcomes,
            tests=tuple(equal_cost_tests(bench, settings, drawn, outcomes)),
            judgements=(*judgements, *found.judgements),
            decisions=tuple(found.decisions),
            environment=environment(),
        )
        write_json(folder / STUDY_FILE, result.model_dump(mode="json"))
        return result


def _facts(bench: Bench, name: str) -> TableFacts:
    table, unit = bench.table, bench.mean_training
    return TableFacts(
        name=Path(name).name,
        data=table.data,
        attack=table.attack,
        cells=len(bench),
        trainings=bench.trainings,
        best=float(bench.means.max()),
        median=float(np.median(bench.means)),
        deviation=None if bench.trainings == 1 else table.seed_deviation,
        training_passes=round(unit.passes, 1),
        training_seconds=None if math.isnan(unit.seconds) else round(unit.seconds, 3),
        published=table.header is None,
    )
