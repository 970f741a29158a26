"""Settings of what is searched for: images, search space, objectives, threat model, and where the work runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, create_model, model_validator

import search_space
from attacks.registry import TRAINING_ATTACKS
from mgda.registry import BALANCES
from pipeline.options.objectives import OBJECTIVES, ObjectiveOption
from pipeline.settings.base import (
    BelowOne,
    Count,
    Epsilon,
    Nodes,
    OneOf,
    Pixels,
    Positive,
    Processes,
    ProcessesOrZero,
    Range,
    Settings,
    Weight,
)
from search_space.cells.choices import DARTS_OPERATIONS, SpaceChoices
from search_space.cells.families import FAMILIES
from search_space.cells.genotype import OPERATION_NAMES

HOW_IMAGES_ARE_READ = ("streaming", "workers")
"""Keys of DataSettings on which no result depends."""


class DataSettings(Settings):
    """Which images, and how they are augmented in training."""

    name: str | None = Field(None, description="name of the set in results; null for the last part of the path")
    source: Literal["digits", "huggingface"] = Field(
        "digits", description="digits of scikit-learn, or a Hugging Face set"
    )
    path: str | None = Field(None, description="huggingface: a local folder or the name of a set on the hub")
    configuration: str | None = Field(None, description="huggingface: the set's configuration, where it has several")
    train_split: str = Field("train", description="huggingface: the split to train on")
    test_split: str = Field("test", description="huggingface: the split that evaluation alone reads")
    image_column: str | None = Field(None, description="huggingface: null takes the only image column")
    label_column: str | None = Field(None, description="huggingface: null takes the only class label column")
    limit: Count | None = Field(None, description="train on a subset of this many images, balanced over classes")
    test_limit: Count | None = Field(None, description="keep this many test images, balanced over classes")
    streaming: Literal["auto", True, False] = Field(
        "auto",
        description="huggingface: true leaves images on disk and decodes each batch as it is needed, false keeps them "
        "decoded in memory, auto streams a split above 2 GiB; the results are the same",
    )
    workers: ProcessesOrZero = Field(
        2,
        description="streaming: processes that decode ahead of what is needed; 0 decodes in the one that trains",
    )
    crop_padding: Pixels = Field(0, description="augmentation: random crop after padding by this many pixels")
    flip: bool = Field(False, description="augmentation: mirror half of the images")
    cutout: Pixels = Field(0, description="augmentation: grey square of this many pixels a side; 0 for none")

    @property
    def set_name(self) -> str:
        """The name of the set in results."""
        return "digits" if self.source == "digits" else self.name or Path(self.path or "").name

    @model_validator(mode="after")
    def _path_belongs_to_huggingface(self) -> Self:
        if (self.source == "huggingface") != (self.path is not None):
            raise ValueError("data.path names a folder or hub set and goes with data=huggingface, and only with it")
        if self.streaming is True and self.source != "huggingface":
            raise ValueError(f"data.streaming=true reads a Hugging Face set; {self.source} are in memory")
        if self.train_split == self.test_split:
            raise ValueError(
                f"data.train_split and data.test_split are both {self.test_split}: nothing would be held out"
            )
        return self


OperationName = Literal["none", *OPERATION_NAMES]  # type: ignore[valid-type]
EdgeOperations = tuple[tuple[OperationName, ...], ...]


class SpaceSettings(Settings):
    """The cells that a search chooses from."""

    family: Annotated[str, OneOf(FAMILIES)] = Field("darts", description="what cells have in common")
    nodes: Nodes = Field(4, description="intermediate nodes of a cell")
    operations: tuple[OperationName, ...] = Field(DARTS_OPERATIONS, description="what an edge may hold")
    normal: EdgeOperations | None = Field(
        None, description="what each edge of the normal cell may hold, node by node; null for all operations"
    )
    reduction: EdgeOperations | None = Field(None, description="the same of the reduction cell")

    @model_validator(mode="after")
    def _a_space_can_be_built(self) -> Self:
        _ = self.inputs
        return self

    @property
    def inputs(self) -> int:
        """States of a cell that come from outside. Raises ValueError where no space is like this."""
        return SpaceChoices(**dict(self)).inputs

    def build(self) -> search_space.SearchSpace:
        """The search space of these settings."""
        return search_space.SearchSpace(**dict(self))


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


class AttackSettings(Settings):
    """An attack inside search or retraining, Linf, through torchattacks."""

    name: Annotated[str, OneOf(TRAINING_ATTACKS)] = Field("pgd", description="which attack it is")
    eps: Epsilon = Field(8 / 255, description="largest change of a pixel; images are in [0, 1]")
    step: Epsilon | None = Field(None, description="change of a pixel in one step of pgd; null is eps / 4")
    steps: Count = Field(7, description="number of steps of pgd")
    statistics: Literal["running", "batch"] = Field("running", description="what BatchNorm uses while attacked")

    @model_validator(mode="after")
    def _a_step_stays_in_the_ball(self) -> Self:
        if self.step is not None and self.step > self.eps:
            raise ValueError(f"a step of {self.step:.4g} leaves the ball of eps={self.eps:.4g}; null is eps / 4")
        return self


class SearchAttackSettings(AttackSettings):
    """The attack inside the search."""

    carry_over: bool = Field(
        False, description="pgd: start where the image's attack of the epoch before ended (Zheng et al. 2020)"
    )
    reset_every: Count | None = Field(
        10, description="carry_over: epochs from one random start to the next; null for the first epoch alone"
    )

    @model_validator(mode="after")
    def _what_is_carried_over_is_of_pgd(self) -> Self:
        if self.carry_over and self.name != "pgd":
            raise ValueError(
                f"attack.carry_over goes on with steps of pgd, not of {self.name}; use attack.name=pgd attack.steps=1"
            )
        return self


class FabricSettings(Settings):
    """Where the work runs (Lightning Fabric)."""

    accelerator: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto takes CUDA where there is one")
    devices: Processes = Field(1, description="processes, one a device, which share every batch")
    strategy: Literal["auto", "ddp"] = Field("auto", description="how processes are started")
    synchronised_statistics: bool = Field(
        False, description="batch norm in training takes the batches of all processes together, not each its own share"
    )
    threads: Processes | None = Field(None, description="threads of each process on the CPU; null leaves it to PyTorch")
    precision: Literal["32-true", "bf16-mixed"] = Field("32-true", description="precision of the arithmetic")
