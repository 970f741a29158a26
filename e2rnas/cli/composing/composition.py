"""Compose a configuration: the options of groups by Hydra, once in a process, and on top of them plain values."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from functools import lru_cache

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from e2rnas.cli import command_line
from e2rnas.cli.command_line import SEARCH_PATH
from e2rnas.cli.composing import groups
from e2rnas.cli.composing.config_errors import Refused, reason
from e2rnas.cli.composing.groups import CONF
from e2rnas.cli.sweeps import sweeps
from pipeline.settings import Experiment

ConfigStore.instance().store(name="settings", node=Experiment().model_dump(mode="json"))
groups.store()


def composed(overrides: Sequence[str]) -> DictConfig:
    """Compose a configuration that has not been checked. Raises Refused.

    Hydra takes a third of a second for its lists of defaults; a plain value such as search.epochs=3 changes none of
    them. What cannot be put on top is left to Hydra, which says why.
    """
    quickly = _composed_on_top(overrides)
    return _composed_by_hydra(overrides) if quickly is None else quickly


def _composed_on_top(overrides: Sequence[str]) -> DictConfig | None:
    """Put plain values on top of the options of groups; None where that is not all there is to it."""
    try:
        parsed = command_line.parsed(overrides)
    except OverrideParseException:
        return None
    if not all(_sets_one_thing(override) for override in parsed):
        return None
    options = tuple(str(override.input_line) for override in parsed if not _is_value(override))
    config: DictConfig = pickle.loads(_with_options(options))  # noqa: S301 - of this process's own memory
    OmegaConf.set_struct(config, True)  # as Hydra does, so that unknown keys are errors
    try:
        for override in filter(_is_value, parsed):
            OmegaConf.update(config, str(override.key_or_group), override.value(), merge=True)
    except (OmegaConfBaseException, AssertionError, AttributeError, ValueError, RecursionError):
        return None
    OmegaConf.set_struct(config, None)
    return config


def _sets_one_thing(override: Override) -> bool:
    """False of what depends on its place among the others, or on files of the user's own."""
    return (
        override.type is OverrideType.CHANGE
        and override.package is None
        and not override.is_sweep_override()
        and override.key_or_group != SEARCH_PATH
        and (_is_value(override) or not isinstance(override.value(), dict))
    )


def _is_value(override: Override) -> bool:
    """False of an option of a group, and of Hydra's own settings."""
    key = str(override.key_or_group)
    return "/" not in key and key.partition(".")[0] != "hydra" and key not in _groups()


@lru_cache(maxsize=1)
def _groups() -> frozenset[str]:
    return frozenset(groups.groups())


@lru_cache(maxsize=32)
def _with_options(overrides: tuple[str, ...]) -> bytes:
    """Return the configuration in the form that is quickest to copy: an eighth of the time of copy.deepcopy."""
    return pickle.dumps(_composed_by_hydra(overrides))


def _composed_by_hydra(overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"), warnings.catch_warnings():
        warnings.filterwarnings("error", message=f"provider={SEARCH_PATH}", category=UserWarning)
        try:
            config = compose("config", overrides=list(overrides), return_hydra_config=True)
        except OverrideParseException as error:
            raise Refused(command_line.unreadable(error.override)) from error
        except UserWarning as warning:
            raise Refused(f"{SEARCH_PATH}: {str(warning).partition(', ')[2]}") from warning
        except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
            raise Refused(reason(str(error), overrides)) from error
        except (AssertionError, AttributeError) as error:  # OmegaConf's, of a mapping where a plain value is
            raise Refused(f"an override does not fit what it is put into: {reason(str(error))}") from error
        except RecursionError:
            raise Refused("a configuration is nested too deeply") from None
    sweeps.check_plugins(config)
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
