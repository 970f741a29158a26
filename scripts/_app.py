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
from typing import Annotated, Any, Literal, get_args, get_origin

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined
from yaml import YAMLError

from pipeline.interruption import Interrupted, handled_by, stop_now
from pipeline.settings import Experiment

CONF = Path(__file__).resolve().parent.parent / "conf"
REFUSED = 2  # exit status: nothing was done
STOPPED = 1  # exit status: a figure stopped being finite on the way, or the machine did not have what it takes
INTERRUPTED = 75  # exit status: EX_TEMPFAIL of sysexits.h, by which a scheduler may queue the same command again

FLAGS = ("-m", "--multirun", "-h", "--help")  # Hydra's others read configurations from elsewhere, one of them a pickle
RUNS_CODE = ("hydra.callbacks", "hydra.job_logging.root", "hydra.hydra_logging.root")
PLUGINS = ("hydra.launcher._target_", "hydra.sweeper._target_")
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
# of PyTorch on the CPU, on CUDA, and of cuDNN and cuBLAS
NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|ALLOC_FAILED", re.IGNORECASE)
DEAD_WORKER = re.compile(r"DataLoader worker \(pid.*\) (is killed|exited unexpectedly)")
LONGEST_SHOWN = 200  # characters of a value in a message

ConfigStore.instance().store(name="settings", node=Experiment().model_dump(mode="json"))


class Refused(Exception):  # noqa: N818 - said of a configuration, not of a fault
    """A configuration that cannot be used; the message says why and what is allowed."""


def run_app(
    stage: Callable[[Experiment], None],
    description: str,
    *defaults: str,
    one_process: bool = False,
    when_out_of_memory: str = "close what else runs on this machine",
) -> None:
    """Run a stage with the configuration that the command line asks for.

    defaults: overrides that come before the user's own.  one_process: refuse fabric.devices above 1.
    when_out_of_memory: what the user is told to do then.
    A configuration that cannot be used is refused before any work, on standard error and with exit status 2;
    HYDRA_FULL_ERROR=1 shows where an error was raised.
    """
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        overrides = [*defaults, *(argument for argument in arguments if not argument.startswith("-"))]
        _or_exit(lambda: print(explain(description, overrides)))
        return
    _or_exit(lambda: _check([*defaults, *arguments]))
    sys.argv[1:1] = defaults

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def app(config: DictConfig) -> None:
        _or_exit(lambda: stage(_fitting(validated(config), one_process)), when_out_of_memory)

    app()


def _check(arguments: Sequence[str]) -> None:
    """Raise Refused for what cannot be used; of a sweep each of its values is composed, and each job checked later."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    unknown = [flag for flag in flags if flag.partition("=")[0] not in FLAGS]
    if unknown:
        raise Refused(f"unknown flag {unknown[0]}; expected one of {', '.join(FLAGS)}, or key=value")
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    if flags:
        for chosen in _choices(overrides):
            _composed(chosen)
    else:
        compose_experiment(overrides)


def _choices(overrides: Sequence[str]) -> Iterator[list[str]]:
    """The overrides that are no sweep, alone and with each value of those that are."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise Refused(_reason(str(error))) from error
    fixed = [str(override.input_line) for override in parsed if not override.is_sweep_override()]
    yield fixed
    for override in parsed:
        if override.is_sweep_override():
            yield from ([*fixed, f"{override.get_key_element()}={value}"] for value in override.sweep_string_iterator())


def _fitting(experiment: Experiment, one_process: bool) -> Experiment:
    if one_process and experiment.fabric.devices > 1:
        raise Refused(
            f"this script runs in one process; fabric.devices={experiment.fabric.devices} is for search and retrain"
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
        except RecursionError:
            raise Refused("a configuration is nested too deeply") from None
    plugins = (key for key in PLUGINS if not str(OmegaConf.select(config, key)).startswith("hydra"))
    for key in (*plugins, *(key for key in RUNS_CODE if OmegaConf.select(config, key))):
        raise Refused(f"{key}: a configuration may not name code that Hydra would run")
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
    lines += ["", "Numbers may be fractions (attack.eps=8/255). -m sweeps over lists (seed=0,1,2); see hydra.cc."]
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
        return STOPPED, f"stopped: out of memory; {when_out_of_memory} ({_first_line(error)})"
    if isinstance(error, BrokenProcessPool) or (isinstance(error, RuntimeError) and DEAD_WORKER.search(str(error))):
        return STOPPED, f"stopped: a worker process died, perhaps for want of memory ({_first_line(error)})"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return REFUSED, f"error: {_cut(str(error.filename))}: {error.strerror}"
    if isinstance(error, Refused | ValueError) and _is_ours(error):
        return REFUSED, f"error: {error}"
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _is_ours(error: BaseException) -> bool:
    """Whether this project raised it, and so meant it to be read; a library's own ValueError is a bug of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    raised_in = Path(frames[-1].filename).resolve()
    return raised_in.is_relative_to(CONF.parent) and "site-packages" not in raised_in.parts


def _reason(message: str, overrides: Sequence[str] = ()) -> str:
    """Hydra's message as one line; an unknown key gets the keys there are, and a group its options."""
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
