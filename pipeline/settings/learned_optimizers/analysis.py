"""Settings of the analysis of an optimizer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from learned_optimizers import ARCHITECTURES
from learned_optimizers.tasks import TASK_FAMILIES
from pipeline.settings.base import AtLeastTwo, Count, OneOf, Seed, Settings

Argument = bool | int | float | str | tuple[float, ...] | None


class AnalyseSettings(Settings):
    """Which optimizer is taken apart, and on which tasks."""

    optimizer: str = Field(
        "SGD",
        min_length=1,
        description="class of torch.optim, a shipped learned optimizer, a theta.safetensors, or package.module:factory",
    )
    arguments: dict[str, Argument] | None = Field(
        None, description="of the class or factory, {name: value}, such as {lr: 0.3, momentum: 0.9}"
    )
    architecture: Annotated[str, OneOf(ARCHITECTURES)] | None = Field(
        None, description="refuse a learned optimizer of another architecture; null takes any"
    )
    family: Annotated[str, OneOf(TASK_FAMILIES)] = Field("quadratics_5", description="of the tasks that it trains")
    tasks: Count = Field(8, description="trainings, each of a task of its own")
    task_seed: Seed = Field(1, description="random seed of the tasks; shipped optimizers were trained on those of 0")
    steps: AtLeastTwo = Field(100, description="steps of a training")

    @model_validator(mode="after")
    def _a_factory_has_no_architecture(self) -> AnalyseSettings:
        if self.architecture is not None and ":" in self.optimizer:
            raise ValueError("analyse.architecture is of a learned optimizer; a factory has none")
        return self
