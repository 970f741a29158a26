"""Sweeps (-m): a run folder for each job, jobs that fail alone, and which launchers and sweepers may be asked for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf

from e2rnas.cli.programs import Direction
from e2rnas.cli.sweeps.job_names import job_name
from pipeline.compute.children import start_tracker
from pipeline.compute.interruption import follow, is_follower, unheard_by_children

SWEEP_FLAGS = {"-m", "--multirun"}

LAUNCHERS = {
    "basic": "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "joblib": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    "ray": "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher",
}
SWEEPERS = {
    "basic": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "optuna": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper",
}
EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray", "optuna": "optuna"}
LAUNCHER = "E2RNAS_LAUNCHER"  # environment variable: process that shares the jobs out
SAMPLERS = "optuna.samplers."
PICKLES = "CmaEsSampler"  # what it remembers in a study's file
NAMES_CODE = (
    "hydra.callbacks",
    "hydra.job.env_set",
    "hydra.job_logging.root",
    "hydra.hydra_logging.root",
    "hydra.sweeper.custom_search_space",
    "hydra.launcher.setup",
    "hydra.launcher.python",
    "hydra.launcher.srun_args",
)
MOST_VALUES = 1000  # of a key: each is tried before the first job, and Hydra holds all jobs
NO_CODE = "a configuration may not name code that Hydra would run"


class JobFailed(CompactHydraException):
    """A job of a sweep could not be done; what it said of it is on standard error already."""


def check_plugins(config: DictConfig) -> None:
    """Refuse what would run code that is not Hydra's own, by a ValueError. config: with the node `hydra`."""
    for key in NAMES_CODE:
        found = OmegaConf.select(config, key)
        if found or (key.endswith("_logging.root") and found is not None):  # an empty one sets its handlers up too
            raise ValueError(f"{key}: {NO_CODE}")
    for kind, known in (("launcher", LAUNCHERS), ("sweeper", SWEEPERS)):
        node = OmegaConf.to_container(config.hydra[kind], resolve=False)
        targets = ((key, str(value)) for key, value in _leaves(node, f"hydra.{kind}") if key.endswith("._target_"))
        for key, target in targets:
            name = target.removeprefix(SAMPLERS)
            is_sampler = key == "hydra.sweeper.sampler._target_" and target != name and name.isidentifier()
            if is_sampler and name == PICKLES:
                raise ValueError(f"{key}: {name} keeps pickles in its study; expected another sampler, such as tpe")
            if target not in known.values() and not is_sampler:
                raise ValueError(f"{key}: {NO_CODE}; expected hydra/{kind}={' or '.join(known)}")
    if OmegaConf.select(config, "hydra.sweeper.params"):
        raise ValueError("hydra.sweeper.params: expected what is varied on the command line, where it is checked")
    for key, value in _leaves(OmegaConf.to_container(config.hydra.launcher, resolve=False), "hydra.launcher"):
        if "\n" in str(value) or "runtime_env" in key:  # a line of a job's script; what Ray does before a job
            raise ValueError(f"{key}: a configuration may not name code that a launcher would run")
    if str(OmegaConf.select(config, "hydra.sweeper.storage") or "").startswith("redis"):
        raise ValueError("hydra.sweeper.storage: studies in Redis are pickles; expected sqlite:///<file>")


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Key and value of all that is no mapping and no list, at any depth."""
    if not isinstance(node, dict | list):
        yield path, node
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _leaves(value, f"{path}.{key}")


def parsed(overrides: Sequence[str], loader: ConfigLoader) -> list[Override]:
    """Overrides as Hydra reads them. loader: knows the options of groups. Raises Hydra's HydraException."""
    return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))


def names_folders(overrides: Sequence[Override]) -> bool:
    """Whether the user says where each job writes."""
    return any(
        override.key_or_group == "run" and (override.is_sweep_override() or "${" in str(override.input_line))
        for override in overrides
    )


def some_jobs(overrides: Sequence[Override]) -> Iterator[list[str]]:
    """Overrides of jobs that this sweep has, so many that each value (of an interval both ends) is in one of them.

    Raises ValueError where a key has more than MOST_VALUES.
    """
    fixed = [str(override.input_line) for override in overrides if not override.is_sweep_override()]
    varied = {
        str(override.get_key_element()): list(_values(override))
        for override in overrides
        if override.is_sweep_override()
    }
    for key, values in varied.items():
        if len(values) > MOST_VALUES:
            raise ValueError(
                f"{key} is varied over more than {MOST_VALUES:,} values; expected fewer, in several sweeps"
            )
    first = {key: values[0] for key, values in varied.items()}
    others = ({**first, key: value} for key, values in varied.items() for value in values[1:])
    for chosen in (first, *others):
        yield fixed + [f"{key}={value}" for key, value in chosen.items()]


def _values(override: Override) -> Iterator[str]:
    value = override.value()
    if isinstance(value, IntervalSweep):
        yield from (str(value.start), str(value.end))
    else:
        yield from islice(override.sweep_string_iterator(), MOST_VALUES + 1)


def hydra_settings(overrides: Sequence[Override], run: str, direction: Direction | None) -> list[str]:
    """Overrides by which each job gets a folder of its own, and optuna the direction of the jobs' figure.

    run: of the configuration.  Raises ValueError where optuna is asked of a script that has no such figure.
    """
    given = {str(override.key_or_group): override for override in overrides}
    settings = []
    if not names_folders(overrides):
        fixed = ["run", *(key for key, override in given.items() if not override.is_sweep_override())]
        quoted = "'" + run.replace("'", r"\'") + "'"
        # both: an experiment that is varied may name another run
        settings += [f"{key}={quoted}" for key in ("hydra.sweep.dir", "run")]
        settings.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]")
    if "hydra/sweeper" in given and given["hydra/sweeper"].value() == "optuna":
        if direction is None:
            raise ValueError("this script has no figure for optuna to improve; search, retrain and meta_train have one")
        settings.append(f"hydra.sweeper.direction={direction}")
    return settings


@contextmanager
def unheard_by_jobs(overrides: Sequence[str]) -> Iterator[None]:
    """Let jobs that a launcher runs in other processes hear no Ctrl-C: this process ends, and they follow."""
    key = "hydra/launcher="
    if not any(override.startswith(key) and override != f"{key}basic" for override in overrides):
        yield
        return
    os.environ[LAUNCHER] = str(os.getpid())
    start_tracker()
    with unheard_by_children():
        yield


@dataclass(frozen=True)
class Job:
    """The job of a sweep that this process runs.

    varied: what tells it from the sweep's other jobs, as a file name.
    shared: the folder of them all, where they lie in one.
    """

    number: int
    varied: str
    shared: str
    launcher: str
    is_tuned: bool

    @classmethod
    def present(cls) -> Job:
        """As Hydra knows it."""
        hydra = HydraConfig.get()
        fixed = set(hydra.job.config.override_dirname.exclude_keys)
        task = OverridesParser.create().parse_overrides(list(hydra.overrides.task))
        return cls(
            number=int(hydra.job.num),
            varied=job_name(override for override in task if override.key_or_group not in fixed),
            shared=str(hydra.sweep.dir),
            launcher=str(hydra.launcher["_target_"]),
            is_tuned=hydra.sweeper["_target_"] == SWEEPERS["optuna"],
        )

    def check(self, devices: int, lacks_figure: str | None) -> None:
        """Refuse, by a ValueError, what this job cannot do in its sweep.

        devices: Fabric would start other processes than the first by repeating the whole sweep.
        lacks_figure: what to set for a figure that optuna could improve, where there is none.
        """
        if devices > 1 and self.launcher != LAUNCHERS["submitit_slurm"]:
            raise ValueError(
                f"a job of a sweep runs in one process, found fabric.devices={devices}; hydra/launcher=submitit_slurm "
                "starts several (hydra.launcher.tasks_per_node)"
            )
        if self.is_tuned and lacks_figure:
            raise ValueError(f"optuna needs a figure to improve; {lacks_figure}")

    def draw_no_bars_over_others(self) -> None:
        """Jobs side by side share a terminal: lines that name the job, as in a file."""
        if self.launcher != LAUNCHERS["basic"]:
            os.environ["TTY_COMPATIBLE"] = "0"  # of rich

    def end_with_launcher(self) -> None:
        """Stop at the next step once the process that shares out joblib's jobs has ended, as it does at a signal."""
        if self.launcher == LAUNCHERS["joblib"] and not is_follower():
            follow(int(os.environ[LAUNCHER]), end=lambda: os.kill(os.getpid(), signal.SIGTERM))

    def folder(self, run: str) -> str:
        """Inside `run` by what is varied; `run` itself where that differs from job to job."""
        return str(Path(run) / self.varied) if self.shared == run and self.varied else run
