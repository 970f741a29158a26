"""Settings of what alphas are trained for, and of how objectives are balanced."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, create_model, model_validator

from mgda.registry import BALANCES
from pipeline.options.objectives import OBJECTIVES, ObjectiveOption
from pipeline.settings.base import (
    BelowOne,
    OneOf,
    Positive,
    Range,
    Settings,
    Weight,
)

ObjectiveName = Annotated[str, OneOf(OBJECTIVES)]


class BalanceSettings(Settings):
    """From one gradient per objective to one direction (mgda)."""

    name: Annotated[str, OneOf(BALANCES)] = Field("mgda", description="what makes one direction of the gradients")
    normalisation: Literal["none", "l2"] = Field("l2", description="scale of the gradients before; l2 is length 1")
    cagrad_c: BelowOne = Field(0.5, description="cagrad: radius around the mean gradient, relative to its length")
    nash_mtl_max_norm: Positive = Field(1.0, description="nash_mtl: longest direction")


SIZES = tuple(name for name, objective in OBJECTIVES.items() if objective.is_size)


def _preference(objective: ObjectiveOption) -> Any:
    """The type and default of how much an objective counts."""
    when = ", while its bound is broken" if objective.is_size else ""
    return Weight, Field(1.0, description=f"ratio in which objectives fall, or weight of the sum{when}")


_Preferences: Any = create_model(
    "_Preferences", __base__=Settings, **{name: _preference(objective) for name, objective in OBJECTIVES.items()}
)


class PreferenceSettings(_Preferences):
    """How much each objective counts beside the others, by its name."""


class ObjectiveSettings(Settings):
    """What the alphas are trained for, and how the objectives are balanced."""

    names: tuple[ObjectiveName, ...] = Field(
        ("accuracy", "robustness"), description="accuracy, robustness, and parameters and macs where they are bounded"
    )
    parameters: Range = Field(
        (None, None), description="[lower, upper] of the derived network; null leaves a side open"
    )
    macs: Range = Field((None, None), description="[lower, upper] MACs of the derived network for one image")
    macs_convention: Literal["conv_linear_macs", "thop_macs"] = Field(
        "conv_linear_macs", description="convolutions and classifier alone, or thop's count with batch norm and pooling"
    )
    balance: BalanceSettings = BalanceSettings()
    preferences: PreferenceSettings = PreferenceSettings()

    def preferred(self) -> dict[str, float]:
        """The preferences that differ from 1, by objective."""
        preferences: dict[str, float] = self.preferences.model_dump()
        return {name: value for name, value in preferences.items() if value != 1}

    @model_validator(mode="after")
    def _preferences_are_of_objectives_and_count(self) -> Self:
        preferred = self.preferred()
        for name in preferred.keys() - set(self.names):
            raise ValueError(f"objectives.preferences.{name} is given but {name} is not among objectives.names")
        knowing = [name for name, balance in BALANCES.items() if "preferences" in balance.takes]
        if preferred and self.balance.name not in knowing:
            raise ValueError(
                f"balance={self.balance.name} knows no objectives.preferences; use one of {', '.join(knowing)}"
            )
        return self

    @model_validator(mode="after")
    def _bounds_and_names_agree(self) -> Self:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"objectives.names holds at least one objective, each once; found {list(self.names)}")
        if all(OBJECTIVES[name].is_size for name in self.names):
            losses = " or ".join(name for name, objective in OBJECTIVES.items() if not objective.is_size)
            raise ValueError(f"objectives.names needs {losses}; bounds alone do not train an architecture")
        for name in SIZES:
            lower, upper = getattr(self, name)
            if name in self.names and lower is None and upper is None:
                raise ValueError(f"objectives.names has {name}: give objectives.{name}=[lower, upper], one may be null")
            if name not in self.names and (lower, upper) != (None, None):
                raise ValueError(f"objectives.{name} is bounded but {name} is not among objectives.names")
            if lower is not None and upper is not None and lower > upper:
                raise ValueError(f"objectives.{name}: lower bound {lower:,.0f} is above upper bound {upper:,.0f}")
        return self
