"""What the programs share: composing and checking the configuration, running a stage or a sweep of it, and --help."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar, cast

import hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from e2rnas.cli import command_line
from e2rnas.cli.composing import remembered
from e2rnas.cli.composing.composition import composed
from e2rnas.cli.composing.config_errors import Refused, described, reason
from e2rnas.cli.composing.groups import CONF
from e2rnas.cli.exit_status import PIPE_CLOSED, ending, let_no_more_be_printed
from e2rnas.cli.help import page
from e2rnas.cli.output import say, show
from e2rnas.cli.programs import PROGRAMS, Direction, Program, main_of
from e2rnas.cli.sweeps import sweeps
from e2rnas.cli.sweeps.job_names import check_names, check_written_by_hydra
from pipeline.compute.children import keep_out_current_folder
from pipeline.compute.interruption import (
    INTERRUPTED,
    INTERRUPTED_BY_HAND,
    Interrupted,
    handled_by,
    is_follower,
    is_orphan,
    note_end,
    stop_now,
)
from pipeline.runs.progress import lines_named
from pipeline.settings import Experiment

Result = TypeVar("Result")
FIRST_MAY_SPEAK = 10.0  # seconds; a process that it started ends silently with it


def run_app(name: str) -> None:
    """Run a program with the configuration that the command line asks for; with -m, once for each job of a sweep.

    name: of PROGRAMS.
    A configuration that cannot be used is refused before any work, on standard error and with exit status 2;
    HYDRA_FULL_ERROR=1 shows where an error was raised.
    """
    program = PROGRAMS[name]
    arguments = sys.argv[1:]
    overrides = [*program.defaults, *(argument for argument in arguments if not argument.startswith("-"))]
    _or_exit(lambda: command_line.check(arguments))
    if command_line.HELP & set(arguments):
        everything = command_line.HELP_ALL in arguments
        _or_exit(lambda: show(*explain(name, overrides, everything=everything).split("\n")))
        return
    if sweeps.SWEEP_FLAGS & set(arguments):
        _run_sweep(name, overrides)
        return
    experiment = _or_exit(lambda: _experiment(composed(overrides), overrides, program))
    sys.argv[1:] = overrides  # of processes that a stage starts
    stage = main_of(name)
    _or_exit(lambda: stage(experiment), program.when_out_of_memory)


def _run_sweep(name: str, overrides: Sequence[str]) -> None:
    """Run the jobs of a sweep by Hydra's launcher, once they are known to be ones that a stage can do."""
    program = PROGRAMS[name]
    _or_exit(lambda: _prepare_sweep(overrides, program.direction))
    stage = main_of(name)

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def app(config: DictConfig) -> float | None:
        return _job(config, stage, program)

    with sweeps.unheard_by_jobs(overrides):
        app()


def _prepare_sweep(overrides: Sequence[str], direction: Direction | None) -> None:
    """Check jobs with each value of a sweep, and tell Hydra where they write. Raises Refused."""
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            parsed = sweeps.parsed(overrides, GlobalHydra.instance().config_loader())
            jobs = list(sweeps.some_jobs(parsed))
    except OverrideParseException as error:
        raise Refused(command_line.unreadable(error.override)) from error
    except HydraException as error:
        raise Refused(reason(str(error))) from error
    configs = [composed(job) for job in jobs]
    runs = [run for run in map(_run_of_job, configs) if run is not None]
    if sweeps.names_folders(parsed) and len(set(runs)) < len(runs):
        raise Refused(f"run={runs[0]} is the folder of several jobs; name what is varied in it, or nothing at all")
    run = cast("dict[str, Any]", OmegaConf.to_container(configs[0], resolve=False))["run"]
    if not sweeps.names_folders(parsed):
        check_names(parsed)
    check_written_by_hydra([run, "multirun"])
    sys.argv[1:] = ["--multirun", *sweeps.hydra_settings(parsed, run, direction), *overrides]
    keep_out_current_folder()


def _run_of_job(config: DictConfig) -> str | None:
    """The run folder of a job whose settings are valid; None where ${hydra:...} in them is known only when it runs."""
    try:
        return validated(config).run
    except Refused as refused:
        if "HydraConfig was not set" in str(refused):
            return None
        raise


def _job(
    config: DictConfig,
    stage: Callable[[Experiment], float | None],
    program: Program,
) -> float | None:
    """One job of a sweep. Where it fails it says so, and leaves the others alone; a signal ends them all."""
    job = sweeps.Job.present()
    try:
        with handled_by(stop_now):
            own = OmegaConf.merge(config, {"run": job.folder(str(config.run))})
            given = list(HydraConfig.get().overrides.task)
            experiment = _experiment(cast("DictConfig", own), given, program)
            job.check(experiment.fabric.devices, program.lacks_figure(experiment))
            job.draw_no_bars_over_others()
            job.end_with_launcher()
            say(f"job {job.number}: {experiment.run}")
            with lines_named(f"job {job.number}:"):
                return stage(experiment)
    except (Interrupted, Exception) as error:
        found = ending(error, program.when_out_of_memory)
        if found is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        status, message = found
        if is_orphan():  # the process that shared the jobs out has said it
            os._exit(status)
        say(f"job {job.number}: {message}")
        if isinstance(error, Interrupted):
            sys.exit(status)
        raise sweeps.JobFailed(f"job {job.number} failed") from None


def _experiment(config: DictConfig, overrides: Sequence[str], program: Program) -> Experiment:
    """Settings from a composed configuration and from the run folder. Raises Refused, or RunError of its files."""
    stage, one_process = program.remembers, program.one_process
    if stage is not None:
        remembered.fill(config, overrides, stage, one_process=one_process)
    experiment = validated(config)
    if stage is not None:
        remembered.check_agrees(experiment, overrides, stage)
    if one_process and experiment.fabric.devices > 1:
        raise Refused(
            f"this script runs in one process; fabric.devices={experiment.fabric.devices} is for search, retrain and "
            "evaluate"
        )
    return experiment


def settings_of(name: str, overrides: Sequence[str]) -> Experiment:
    """Return the experiment that a program would run with these overrides. Raises ValueError."""
    try:
        experiment = _experiment(composed(overrides), overrides, PROGRAMS[name])
    except Refused as refused:
        raise ValueError(str(refused)) from refused
    if experiment.fabric.devices > 1:
        raise ValueError(f"fabric.devices: expected 1, found {experiment.fabric.devices}; scripts/{name}.py takes more")
    return experiment


def compose_experiment(overrides: Sequence[str] = ()) -> Experiment:
    """The experiment that overrides describe. Raises Refused."""
    return validated(composed(overrides))


def validated(config: DictConfig) -> Experiment:
    """Settings from a composed configuration. Raises Refused."""
    try:
        return Experiment.model_validate(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise Refused(reason(str(error))) from error
    except ValidationError as error:
        raise Refused(described(error)) from error


def explain(name: str, overrides: Sequence[str], *, everything: bool = False) -> str:
    """The text of --help, with the values that overrides give; everything: of --help=all. Raises Refused."""
    return page(name, compose_experiment(overrides), everything=everything)


def _or_exit(work: Callable[[], Result], when_out_of_memory: str = "") -> Result:
    """Return what the work gives; what a user can mend ends the process with one line and a status of its own."""
    try:
        with handled_by(stop_now):
            result = work()
            sys.stdout.flush()
            return result
    except BrokenPipeError:
        if not let_no_more_be_printed():
            raise
        sys.exit(PIPE_CLOSED)
    except (Interrupted, Exception) as error:
        found = ending(error, when_out_of_memory)
        if found is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        _leave(*found)


def _leave(status: int, line: str) -> NoReturn:
    """End with a line, unless the first process of the run says it: the others mostly end for the same reason."""
    if int(os.environ.get("LOCAL_RANK", "0")):
        time.sleep(FIRST_MAY_SPEAK)
    if not (is_follower() and status in (INTERRUPTED, INTERRUPTED_BY_HAND)):
        say(line)
    note_end(status)
    sys.exit(status)
