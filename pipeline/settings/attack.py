"""Settings of attacks inside search and training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from attacks.registry import TRAINING_ATTACKS
from pipeline.settings.base import (
    Count,
    Epsilon,
    OneOf,
    Settings,
)


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
