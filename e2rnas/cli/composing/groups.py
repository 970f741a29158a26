"""The groups of the command line: files of conf/, and the options of registries, which need no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from attacks.registry import TRAINING_ATTACKS
from mgda.registry import BALANCES
from on_demand import Option
from pipeline.options.loggers import LOGGERS
from pipeline.options.recipes import RECIPES
from search_space.supernet.relaxation_choices import OPERATION_WEIGHTS

CONF = Path(__file__).resolve().parents[3] / "conf"


@dataclass(frozen=True)
class RegistryGroup:
    """A group whose options are those of a registry: `recipe=mart` sets retrain.recipe, and what goes with it.

    package: where its settings stand.  setting: the one that names the option.
    """

    package: str
    setting: str
    options: Mapping[str, Option]

    def values(self, name: str) -> dict[str, Any]:
        """Return the settings of an option."""
        return {self.setting: name, **self.options[name].settings}

    def keys(self) -> Iterator[str]:
        """Dotted keys of the settings that some option has."""
        yield from (f"{self.package}.{key}" for key in {key for name in self.options for key in self.values(name)})


OF_REGISTRIES: Mapping[str, RegistryGroup] = {
    "attack": RegistryGroup("attack", "name", TRAINING_ATTACKS),
    "logger": RegistryGroup("logger", "name", LOGGERS),
    "balance": RegistryGroup("objectives.balance", "name", BALANCES),
    "recipe": RegistryGroup("retrain", "recipe", RECIPES),
    "relaxation": RegistryGroup("search.relaxation", "operations", OPERATION_WEIGHTS),
}


def store() -> None:
    """Give Hydra the options of registries."""
    for group, registry in OF_REGISTRIES.items():
        for name in registry.options:
            ConfigStore.instance().store(
                group=group, name=name, node=registry.values(name), package=registry.package, provider="e2rnas"
            )


def groups() -> list[str]:
    """All groups, in alphabetical order."""
    return sorted({path.name for path in CONF.iterdir() if path.is_dir()} | OF_REGISTRIES.keys())


def options(group: str) -> list[str]:
    """The options of a group, in alphabetical order; none of what is no group."""
    found = {path.stem for path in (CONF / group).glob("*.yaml")} if group else set()
    return sorted(found | (OF_REGISTRIES[group].options.keys() if group in OF_REGISTRIES else set()))
