"""The study as a stage: searchers of a table, searches by supernets and judges, each from many seeds or cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.compute.environment import environment
from pipeline.options.judges import JUDGES
from pipeline.runs.files import write_json
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import plain
from pipeline.settings import Experiment
from pipeline.studies.study.bench import Bench
from pipeline.studies.study.network_judgements import judged_cells, network_judgements
from pipeline.studies.study.study_file import STUDY_FILE, StudyFile, TableFacts
from pipeline.studies.study.table_settings import bounds_in_table, experiment_of_table
from pipeline.studies.study.table_study import equal_cost_tests, table_judgements, table_outcomes
from pipeline.studies.tables.table import load_table
from pipeline.studies.work import seeds

STAGE = "study"


def study(folder: Path, experiment: Experiment, command: str) -> StudyFile:
    """Let all searchers search with all seeds, ask all judges, and write study.json.

    command: how the study was started, which the file says.  A call that is stopped goes on with the next search.
    Raises ValueError before any work for settings that do not fit the table.
    """
    settings = experiment.study
    table = load_table(settings.table)
    bench = Bench(table, bounds_in_table(experiment))
    asks_networks = any(JUDGES[name].reads == "network" for name in settings.judges)
    of_table = experiment_of_table(experiment, table.header, settings.table) if asks_networks else experiment
    with exclusive(folder, STAGE):
        drawn = seeds(experiment, settings.seeds)
        outcomes = list(table_outcomes(bench, settings, drawn))
        judged = judged_cells(table, settings.judged, experiment.seed)
        judgements = [*table_judgements(bench, settings), *network_judgements(table, of_table, judged)]
        found = StudyFile(
            command=command,
            table=_facts(bench, settings.table),
            settings=plain({"study": settings, "objectives": experiment.objectives, "seed": experiment.seed}),
            seeds=len(drawn),
            outcomes=tuple(outcomes),
            tests=tuple(equal_cost_tests(bench, settings, drawn, outcomes)),
            judgements=tuple(judgements),
            environment=environment(),
        )
        write_json(folder / STUDY_FILE, found.model_dump(mode="json"))
        return found


def _facts(bench: Bench, name: str) -> TableFacts:
    table, unit = bench.table, bench.mean_training
    return TableFacts(
        name=Path(name).name,
        data=table.header.data,
        attack=table.attack,
        cells=len(bench),
        trainings=bench.trainings,
        best=float(bench.means.max()),
        median=float(np.median(bench.means)),
        deviation=table.seed_deviation,
        training_passes=round(unit.passes, 1),
        training_seconds=round(unit.seconds, 3),
    )
