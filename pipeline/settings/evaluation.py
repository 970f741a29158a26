"""Settings of what is done with a trained network: evaluation and export."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from attacks.registry import EVALUATION_ATTACKS
from pipeline.settings.base import (
    Count,
    CountOrZero,
    OneOf,
    Positive,
    Settings,
)

AttackName = Annotated[str, OneOf(EVALUATION_ATTACKS)]


CorruptionName = Literal["gaussian_noise", "shot_noise", "gaussian_blur", "brightness", "contrast", "jpeg"]


class EvaluateSettings(Settings):
    """Accuracy under named attacks, on the test images."""

    attacks: tuple[AttackName, ...] = Field(("fgsm", "pgd-20", "autoattack"), description="run one by one")
    eps: Positive = Field(8 / 255, description="radius in norm; images are in [0, 1]")
    norm: Literal["Linf", "L2"] = Field("Linf", description="norm in which perturbations are bounded")
    restarts: Count = Field(
        1, description="random starts, of which any may break an image; fgsm and cw have none, autoattack its own"
    )
    cw_radius: Positive = Field(
        0.5, description="L2 radius within which cw counts as a success; with norm=L2 it is eps"
    )
    sweep: tuple[Positive, ...] = Field((), description="also measure accuracy under sweep_attack at these radii")
    sweep_attack: Annotated[str, OneOf(EVALUATION_ATTACKS, where="sweeps")] = Field(
        "pgd-20", description="attack of the sweep"
    )
    checks: bool = Field(False, description="look for signs of gradient masking, and say whether to believe the rest")
    surrogate: str | None = Field(
        None, description="checks: run folder whose network transfers its attack; null trains a small one"
    )
    corruptions: tuple[CorruptionName, ...] = Field(
        (), description="also measure accuracy on images corrupted at five severities (Hendrycks & Dietterich 2019)"
    )
    model: str | None = Field(
        None, description="package.module:factory, a module of your own: it is imported and called; null: of the run"
    )
    model_arguments: dict[str, bool | int | float | str | None] | None = Field(
        None, description="model: keyword arguments of its factory, {name: value}"
    )
    weights: str | None = Field(None, description="model: its weights, a .safetensors file; null keeps the factory's")
    models: tuple[str, ...] = Field(
        (), description="run folders or package.module:factory, at least two: how attacks transfer from each to each"
    )
    transfer_attack: Annotated[str, OneOf(EVALUATION_ATTACKS, where="transfers")] = Field(
        "pgd-20", description="models: what is transferred"
    )
    images: Count | None = Field(None, description="number of test images, balanced over classes; null for all")
    batch_size: Count = Field(250, description="images attacked at once")
    draws: Count = Field(
        10,
        ge=2,
        description="passes of a network that draws at random, of which means are measured and attacked",
    )
    replace: bool = Field(
        False, description="begin robustness.json or transfer.json anew; the old file is kept beside it under a number"
    )
    starts: CountOrZero = Field(
        0,
        description="autoattack: perturbations kept in adversarial/ that are tried on each image before its parts "
        "(Liu et al. 2022); what they fool is added to what the parts find",
    )
    verify: bool = Field(
        False, description="measure nothing: check the adversarial examples behind the figures of robustness.json again"
    )

    @field_validator("attacks", "sweep", "corruptions", "models")
    @classmethod
    def _each_once(cls, values: tuple[str | float, ...], info: ValidationInfo) -> tuple[str | float, ...]:
        if len(set(values)) != len(values):
            noun = "radius" if info.field_name == "sweep" else str(info.field_name).removesuffix("s")
            raise ValueError(f"each {noun} is named once")
        return values

    @model_validator(mode="after")
    def _radii_and_attacks_are_of_the_norm(self) -> Self:
        if self.norm == "Linf" and max(self.eps, *self.sweep, 0) > 1:
            raise ValueError(
                f"evaluate.eps and sweep are radii in Linf, at most 1, found {max(self.eps, *self.sweep, 0)}; "
                "pixels are in [0, 1], so 8 of 255 levels are 8/255"
            )
        used = {
            *self.attacks,
            *([self.sweep_attack] if self.sweep else []),
            *([self.transfer_attack] if self.models else []),
        }
        if self.norm == "L2" and "fgsm" in used:
            raise ValueError("fgsm is an attack in Linf; with evaluate.norm=L2 choose others, such as pgd-20")
        return self

    @model_validator(mode="after")
    def _models_are_named_for_what_they_do(self) -> Self:
        if self.model is None and (self.weights is not None or self.model_arguments is not None):
            raise ValueError("evaluate.weights and model_arguments belong to evaluate.model=package.module:factory")
        if self.models and (len(self.models) < 2 or self.model is not None):
            raise ValueError("evaluate.models are two or more, and go without evaluate.model, which is evaluated alone")
        if self.verify and (self.models or self.replace):
            raise ValueError("evaluate.verify checks figures that are there; leave evaluate.models and .replace out")
        if self.surrogate is not None and not self.checks:
            raise ValueError("evaluate.surrogate is used by evaluate.checks=true")
        return self


ExportForm = Literal["json", "darts", "fair_darts", "nasbench201", "svg", "pdf", "safetensors", "onnx", "torch_export"]


class PushSettings(Settings):
    """Where a trained network goes in the layout of a hub of models."""

    repository: str | None = Field(
        None, min_length=1, max_length=200, description="of the hub, as user/name; null uploads nothing"
    )
    folder: str | None = Field(None, min_length=1, description="where the files are written; null: hub/ in `run`")
    private: bool = Field(True, description="a repository that is made is seen by its owners alone")


class ExportSettings(Settings):
    """Forms in which the result leaves."""

    formats: tuple[ExportForm, ...] | None = Field(
        None,
        description="of the cell (the first six) and of the trained network; null for all that fit, but json and svg, "
        "which the search writes, and pdf",
    )
    images: Count = Field(
        256, description="onnx, torch_export: they are checked on at most so many test images, clean and attacked"
    )

    @field_validator("formats")
    @classmethod
    def _names_one(cls, formats: tuple[ExportForm, ...] | None) -> tuple[ExportForm, ...] | None:
        if formats is not None and not formats:
            raise ValueError("expected at least one form, or null")
        return formats
