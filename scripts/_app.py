"""What the scripts share: composing the configuration, refusing a wrong one in plain words, and --help."""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import _sweep
import hydra
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined
from yaml import YAMLError

from pipeline.faults import first_line
from pipeline.interruption import Interrupted, handled_by, stop_now
from pipeline.settings import Experiment

CONF = Path(__file__).resolve().parent.parent / "conf"
REFUSED = 2  # exit status: nothing was done
STOPPED = 1  # exit status: a figure stopped being finite on the way, or the machine did not have what it takes
INTERRUPTED = 75  # exit status: EX_TEMPFAIL of sysexits.h, by which a scheduler may queue the same command again

HELP = {"-h", "--help"}
FLAGS = (
    *sorted(_sweep.FLAGS),
    *sorted(HELP),
)  # Hydra's others read configurations from elsewhere, one of them a pickle
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
# of PyTorch on the CPU, on CUDA, and of cuDNN and cuBLAS
NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|ALLOC_FAILED", re.IGNORECASE)
LOST_PEER = re.compile(r"Connection (closed|reset) by peer|Broken pipe|NCCL communicator was aborted")
DEAD_WORKER = re.compile(r"DataLoader worker \(pid.*\) (is killed|exited unexpectedly)")
LONGEST_SHOWN = 200  # characters of a value in a message

ConfigStore.instance().store(name="settings", node=Experiment().model_dump(mode="json"))


class Refused(Exception):  # noqa: N818 - said of a configuration, not of a fault
    """A configuration that cannot be used; the message says why and what is allowed."""


def run_app(
    stage: Callable[[Experiment], float | None],
    description: str,
    *defaults: str,
    one_process: bool = False,
    direction: _sweep.Direction | None = None,
    lacks_figure: Callable[[Experiment], str | None] = lambda experiment: None,
    when_out_of_memory: str = "close what else runs on this machine",
) -> None:
    """Run a stage with the configuration that the command line asks for; with -m, once for each job of a sweep.

    stage: returns the figure that settings may be chosen by, if it has one.  direction: in which it gets better.
    lacks_figure: what to set where it has none.
    defaults: overrides that come before the user's own.  one_process: refuse fabric.devices above 1.
    when_out_of_memory: what the user is told to do then.
    A configuration that cannot be used is refused before any work, on standard error and with exit status 2;
    HYDRA_FULL_ERROR=1 shows where an error was raised.
    """
    arguments = sys.argv[1:]
    overrides = [*defaults, *(argument for argument in arguments if not argument.startswith("-"))]
    if HELP & set(arguments):
        _or_exit(lambda: print(explain(description, overrides)))
        return
    is_sweep = bool(_sweep.FLAGS & set(arguments))
    _or_exit(lambda: _check_flags(arguments))
    if is_sweep:
        _or_exit(lambda: _prepare_sweep(overrides, direction))
    else:
        _or_exit(lambda: compose_experiment(overrides))
        sys.argv[1:] = overrides

    def work(experiment: Experiment) -> float | None:
        return stage(_fitting(experiment, one_process))

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def app(config: DictConfig) -> float | None:
        if is_sweep:
            return _job(config, work, lacks_figure, when_out_of_memory)
        _or_exit(lambda: work(validated(config)), when_out_of_memory)
        return None

    app()


def _check_flags(arguments: Sequence[str]) -> None:
    unknown = [flag for flag in arguments if flag.startswith("-") and flag not in FLAGS]
    if unknown:
        raise Refused(f"unknown flag {unknown[0]}; expected one of {', '.join(FLAGS)}, or key=value")


def _prepare_sweep(overrides: Sequence[str], direction: _sweep.Direction | None) -> None:
    """Check jobs with each value of a sweep, and tell Hydra where they write. Raises Refused."""
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            parsed = _sweep.parsed(overrides, GlobalHydra.instance().config_loader())
            jobs = list(_sweep.some_jobs(parsed))
    except HydraException as error:
        raise Refused(_reason(str(error))) from error
    configs = [_composed(job) for job in jobs]
    runs = [run for run in map(_run_of_job, configs) if run is not None]
    if _sweep.names_folders(parsed) and len(set(runs)) < len(runs):
        raise Refused(f"run={runs[0]} is the folder of several jobs; name what is varied in it, or nothing at all")
    run = cast("dict[str, Any]", OmegaConf.to_container(configs[0], resolve=False))["run"]
    sys.argv[1:] = ["--multirun", *_sweep.hydra_settings(parsed, run, direction), *overrides]
    _sweep.let_scripts_be_found(Path(__file__).parent)


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
    work: Callable[[Experiment], float | None],
    lacks_figure: Callable[[Experiment], str | None],
    when_out_of_memory: str,
) -> float | None:
    """One job of a sweep. Where it fails it says so, and leaves the others alone; a signal ends them all."""
    job = _sweep.Job.present()
    try:
        with handled_by(stop_now):
            experiment = validated(config)
            job.check(experiment.fabric.devices, lacks_figure(experiment))
            experiment = experiment.model_copy(update={"run": job.folder(experiment.run)})
            job.draw_no_bars_over_others()
            _sweep.say(f"job {job.number}: {experiment.run}")
            return work(experiment)
    except (Interrupted, Exception) as error:
        found = ending(error, when_out_of_memory)
        if found is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        status, message = found
        _sweep.say(f"job {job.number}: {message}")
        if isinstance(error, Interrupted):
            sys.exit(status)
        raise _sweep.JobFailed(f"job {job.number} failed") from None


def _fitting(experiment: Experiment, one_process: bool) -> Experiment:
    if one_process and experiment.fabric.devices > 1:
        raise Refused(
            f"this script runs in one process; fabric.devices={experiment.fabric.devices} is for search, retrain and "
            "evaluate"
        )
    return experiment


def compose_experiment(overrides: Sequence[str] = ()) -> Experiment:
    """The experiment that overrides describe. Raises Refused."""
    return validated(_composed(overrides))


def _composed(overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            config = compose("config", overrides=list(overrides), return_hydra_config=True)
        except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
            raise Refused(_reason(str(error), overrides)) from error
        except (AssertionError, AttributeError) as error:  # OmegaConf's, of a mapping where a plain value is
            raise Refused(f"an override does not fit what it is put into: {_reason(str(error))}") from error
        except RecursionError:
            raise Refused("a configuration is nested too deeply") from None
    _sweep.check_plugins(config)
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def validated(config: DictConfig) -> Experiment:
    """Settings from a composed configuration. Raises Refused."""
    try:
        return Experiment.model_validate(OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise Refused(_reason(str(error))) from error
    except ValidationError as error:
        raise Refused(_describe_all(error)) from error


def explain(description: str, overrides: Sequence[str]) -> str:
    """The text of --help: groups and their options, then every key with its present value and meaning."""
    experiment = compose_experiment(overrides)
    lines = [
        description,
        "",
        "usage: python " + " ".join([sys.argv[0], "[group=option]... [key=value]..."]),
        "",
        "Groups:",
    ]
    groups = sorted(path for path in CONF.iterdir() if path.is_dir())
    lines += [f"  {group.name}: " + ", ".join(sorted(o.stem for o in group.glob("*.yaml"))) for group in groups]
    lines += ["", "Keys (value; meaning):"]
    for key, value, meaning in _keys(experiment):
        lines.append(f"  {key}={value}")
        lines.append(f"      {meaning}")
    lines += ["", "Numbers may be fractions (attack.eps=8/255). -m sweeps over lists (seed=0,1,2): docs/sweeps.md."]
    return "\n".join(lines)


def _keys(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _shown(value), f"{field.description} ({_type(field.annotation)})"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(_shown(item) for item in value) + "]"
    return "null" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _type(annotation: Any) -> str:
    """A type in words: "number or null", "one of sgd, adamw", "list of ..."."""
    kind, parts = get_origin(annotation), get_args(annotation)
    if kind is Annotated:
        return _type(parts[0])
    if kind is Literal:
        return "one of " + ", ".join(map(str, parts))
    if kind is dict:
        return "names with values: " + _type(parts[1])
    if kind is tuple:
        return "list: " + ", ".join(_type(part) for part in parts if part is not Ellipsis)
    if parts:
        return " or ".join(_type(part) for part in parts)
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
    return names.get(annotation, str(annotation))


def _or_exit(work: Callable[[], Any], when_out_of_memory: str = "") -> None:
    """Do the work; what a user can mend ends the process with one line and a status of its own."""
    try:
        with handled_by(stop_now):
            work()
    except (Interrupted, Exception) as error:
        found = ending(error, when_out_of_memory)
        if found is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        status, message = found
        print(message, file=sys.stderr)
        sys.exit(status)


def ending(error: BaseException, when_out_of_memory: str) -> tuple[int, str] | None:
    """Exit status and line for what a user or the machine did; None for what is a fault of this project."""
    if isinstance(error, Interrupted):
        # lightning-fabric kills the first process when another one of the run does not end in 0
        status = 0 if int(os.environ.get("LOCAL_RANK", "0")) else INTERRUPTED
        return status, f"interrupted by {error}; the same command goes on from the last checkpoint"
    if isinstance(error, FloatingPointError):
        return STOPPED, f"stopped: {error}"
    if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
        where = error.filename or "a file"
        return STOPPED, f"stopped: {where}: {error.strerror}; the same command goes on from what was written before"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and NO_MEMORY.search(str(error))):
        return STOPPED, f"stopped: out of memory; {when_out_of_memory} ({first_line(error)})"
    if isinstance(error, BrokenProcessPool) or (isinstance(error, RuntimeError) and DEAD_WORKER.search(str(error))):
        return STOPPED, f"stopped: a worker process died, perhaps for want of memory ({first_line(error)})"
    if isinstance(error, RuntimeError) and LOST_PEER.search(str(error)):
        return STOPPED, f"stopped: another process of this run ended ({first_line(error)})"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return REFUSED, f"error: {_cut(str(error.filename))}: {error.strerror}"
    if isinstance(error, Refused | ValueError) and _is_ours(error):
        return REFUSED, f"error: {error}"
    return None


def _is_ours(error: BaseException) -> bool:
    """Whether this project raised it, and so meant it to be read; a library's own ValueError is a bug of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    raised_in = Path(frames[-1].filename).resolve()
    return raised_in.is_relative_to(CONF.parent) and "site-packages" not in raised_in.parts


def _reason(message: str, overrides: Sequence[str] = ()) -> str:
    """Hydra's message as one line; unknown keys get those there are, groups their options, launchers their extra."""
    missing = re.search(r"Could not find 'hydra/(launcher|sweeper)/(\w+)'", message)
    if missing and missing.group(2) in _sweep.EXTRAS:
        kind, name = missing.groups()
        return f"hydra/{kind}={name} is not installed; pip install -e '.[{_sweep.EXTRAS[name]}]'"
    unknown = re.search(r"(?:Could not override|Error merging override) '?([\w.@/]+)", message)
    if unknown:
        return unknown_key(unknown.group(1).split("=")[0])
    if message.startswith("Config group override must be"):
        return "; ".join(_no_options(overrides))
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    keys = [line.removeprefix("full_key: ") + ":" for line in lines if line.startswith("full_key: ")]
    kept = [
        line for line in lines if not line.startswith(("Config search path", "provider=", "full_key", "object_type"))
    ]
    return " ".join([*keys, *kept])


def _no_options(overrides: Sequence[str]) -> Iterator[str]:
    """Of each override whose key is a group, or nothing, what is allowed there."""
    for override in overrides:
        key, _, value = override.partition("=")
        options = sorted(path.stem for path in (CONF / key).glob("*.yaml")) if key else []
        if not key:
            yield f"{override}: expected group=option or key=value"
        elif options and value not in options:
            yield f"{override}: expected one of {', '.join(options)}"


def unknown_key(key: str) -> str:
    """What to say of a key that does not exist."""
    if key.startswith("hydra."):
        return f"unknown key {key} of Hydra's own settings; +{key}=... adds one that a launcher passes on"
    known = [name for name, _, _ in _keys(Experiment())]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    parent = key.rpartition(".")[0]
    siblings = [name for name in known if name.rpartition(".")[0] == parent] or known
    hint = f"; did you mean {near[0]}?" if near else "."
    return f"unknown key {key}{hint} Known here: {', '.join(siblings)}"


def _describe_all(error: ValidationError) -> str:
    """All that is wrong in one line; what is wrong with several keys alike, as with one that others take over, once."""
    keys: dict[str, list[str]] = {}
    for item in error.errors():
        key, message = _describe(item)
        keys.setdefault(message, []).append(key)
    return "; ".join(", ".join(of) + ": " + message if any(of) else message for message, of in keys.items())


def _describe(item: Any) -> tuple[str, str]:
    """The key, empty where the message names it, and the message."""
    key, given = ".".join(str(part) for part in item["loc"]), item["input"]
    if item["type"] == "extra_forbidden":
        return "", unknown_key(key)
    plain = {
        "tuple_type": "expected a list, such as [a,b]",
        "missing": "a value is missing here",
        "model_type": f"this is a group of keys: {key}.<key>=..., or an option of a group (see --help)",
        "too_long": "too many values",
    }
    message = plain.get(item["type"], item["msg"].removeprefix("Value error, "))
    if item["type"] == "value_error" and isinstance(given, dict):  # said of a group of keys
        return ("" if message.startswith(key) else key), message
    return key, message if given is PydanticUndefined else f"{message}, found {_cut(repr(given))}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
