"""The analysis of an optimizer as a stage."""

from __future__ import annotations

from pathlib import Path

from learned_optimizers.analysis import analyse
from learned_optimizers.analysis.trainings import sample_tasks
from pipeline.compute.environment import environment
from pipeline.errors import RunError
from pipeline.runs.files import write_json
from pipeline.runs.progress import progress_bar
from pipeline.runs.run_folder import exclusive
from pipeline.runs.same_settings import check_same_settings, plain
from pipeline.settings import Experiment
from pipeline.studies.optimizer_analysis.analysis_file import (
    ANALYSIS_FILE,
    AnalysisFile,
    read_analysis,
    stored_parts,
)
from pipeline.studies.optimizer_analysis.subject import load_function

STAGE = "analyse_optimizer"
PARTS = 7  # of `analyse`


def analyse_optimizer(folder: Path, experiment: Experiment, command: str) -> AnalysisFile:
    """Take the optimizer apart that the settings name, and write analysis.json.

    command: how it was started, which the file says.  A folder with a finished analysis of these settings returns it.
    Raises RunError, with nothing written, for an optimizer that is not to be had or cannot be read as a function, and
    where a task diverges.
    """
    settings = plain({"seed": experiment.seed, "analyse": experiment.analyse})
    if (folder / ANALYSIS_FILE).exists():
        found = read_analysis(folder)
        check_same_settings(found.settings, settings, folder)
        return found
    asked = experiment.analyse
    function = load_function(asked)
    tasks = sample_tasks(asked.family, count=asked.tasks, seed=asked.task_seed)
    try:
        with progress_bar("analysis", PARTS) as bar:
            analysis = analyse(function, tasks, steps=asked.steps, seed=experiment.seed, report=bar.advance)
    except ValueError as error:
        raise RunError(f"analyse.optimizer: {error}") from error
    result = AnalysisFile(
        command=command,
        optimizer=function.name,
        rows=len(function.rows),
        family=asked.family,
        trainings=len(tasks),
        settings=settings,
        environment=environment(),
        **stored_parts(analysis),
    )
    with exclusive(folder, STAGE):
        write_json(folder / ANALYSIS_FILE, result.model_dump(mode="json"))
    return result
