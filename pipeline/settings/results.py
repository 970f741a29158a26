"""Settings of what follows a search: retraining, evaluation, export, comparison and the Pareto front."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from attacks.registry import EVALUATION_ATTACKS
from pipeline.options.recipes import RECIPES
from pipeline.settings.base import (
    AtLeastTwo,
    BelowOne,
    Channels,
    Count,
    CountOrZero,
    Layers,
    NotNegative,
    OneOf,
    Positive,
    Processes,
    Range,
    Settings,
    Split,
    UpToOne,
    Weight,
)
from pipeline.settings.problem import AttackSettings
from search_space.cells.published import PUBLISHED


class RetrainSettings(Settings):
    """Training of a derived or published network from scratch."""

    channels: Channels = Field(
        36, description="channels of the network's first cell; not used when parameters is given"
    )
    parameters: Count | None = Field(None, description="choose the channels for about this many parameters")
    layers: Layers = Field(20, description="cells of the network")
    epochs: Count = Field(600, description="passes over the training images")
    batch_size: Count = Field(96, description="images of a step, over all processes")
    final_rate: UpToOne = Field(0.0, description="learning rate at the end of the cosine, as a part of the first")
    rate_interval: Literal["epoch", "step"] = Field(
        "epoch", description="after what the cosine lowers the learning rate; step where epochs are few"
    )
    auxiliary_weight: NotNegative = Field(0.4, description="weight of the auxiliary head's loss; 0 for no head")
    drop_path: BelowOne = Field(0.2, description="its probability in the last epoch")
    recipe: Annotated[str, OneOf(RECIPES)] = Field("pgd_at", description="how it is trained")
    beta: NotNegative | None = Field(
        None, description="trades, mart: weight of the divergence under attack; null is 6 and 5, as published"
    )
    replays: Count = Field(8, description="free: steps on each batch; they count as passes over the images")
    attack: AttackSettings = Field(
        AttackSettings(steps=10),
        description="attack of training, by its name with pgd_at and mart; pgd of its steps chooses robust checkpoints",
    )
    awp_gamma: NotNegative = Field(
        0.0, description="AWP: largest change of a weight tensor, relative to its norm; 0.005 as published, 0 for none"
    )
    awp_warmup: CountOrZero = Field(0, description="AWP: epochs without it at the start")
    average_decay: BelowOne = Field(
        0.0, description="decay of the mean weights that are judged and kept; 0.999 is common, 0 for the last weights"
    )
    held_back: Split = Field(0.1, description="part of the training set that chooses the checkpoint")
    select_every: Count = Field(1, description="epochs from one judgement on the held-back images to the next")
    patience: Count | None = Field(
        None, description="stop after this many judgements without a better one; null trains all epochs"
    )
    check_overfitting: bool = Field(
        False, description="judge under the attack of training too, and say where that alone is resisted"
    )

    @model_validator(mode="after")
    def _overfitting_has_two_attacks(self) -> Self:
        trained = RECIPES[self.recipe].attack_name(self.attack.name)
        if self.check_overfitting and trained in (None, "pgd"):
            others = [name for name, recipe in RECIPES.items() if recipe.attack not in (None, "given")]
            raise ValueError(
                f"retrain.check_overfitting sets the attack of training beside pgd, for recipes {', '.join(others)}; "
                f"recipe={self.recipe} trains with {trained or 'no attack'}"
            )
        return self

    @model_validator(mode="after")
    def _awp_has_epochs(self) -> Self:
        if self.awp_gamma > 0 and self.awp_warmup >= self.epochs:
            raise ValueError(
                f"retrain.awp_warmup={self.awp_warmup} leaves none of {self.epochs} epochs for AWP; use a smaller one"
            )
        return self


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
        if self.surrogate is not None and not self.checks:
            raise ValueError("evaluate.surrogate is used by evaluate.checks=true")
        return self


ExportForm = Literal["json", "darts", "fair_darts", "nasbench201", "svg", "safetensors", "onnx", "torch_export"]


class ExportSettings(Settings):
    """Forms in which the result leaves."""

    formats: tuple[ExportForm, ...] | None = Field(
        None,
        description="of the cell (the first five) and of the trained network; null for all that fit, but json and svg, "
        "which the search writes",
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


class ComparisonSettings(Settings):
    """Searched cells beside random and published ones, retrained by one recipe."""

    searches: Count = Field(3, description="searches, with seeds that count up from seed")
    random: AtLeastTwo = Field(10, description="random cells inside the bounds of the search")
    published: tuple[str, ...] = Field(
        ("DARTS_V2", "PC_DARTS_cifar", "PDARTS", "ADVRUSH", "RACL"),
        description="published cells, with the channels that come nearest to the searched cells' parameters",
    )
    seeds: Count = Field(3, description="retrainings of searched and published cells, seeds count up from seed")
    random_seeds: Count = Field(1, description="retrainings of each random cell, seeds count up from seed")
    random_searches: CountOrZero | None = Field(
        None,
        description="last choices between random cells, as many as a search has candidates; null for one a search",
    )
    processes: Processes | None = Field(None, description="retrainings at once; null for one a core")
    results: str = Field("benchmarks/results", min_length=1, description="folder of the table and the pictures")

    @field_validator("published")
    @classmethod
    def _are_known_and_named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in PUBLISHED]
        if unknown or len(set(names)) != len(names):
            raise ValueError(f"expected names of published cells, each once: {', '.join(PUBLISHED)}")
        return names


class ParetoSettings(Settings):
    """A walk along the Pareto front, from one trained supernet; and how a supernet judges, of comparisons too."""

    walk: Literal["parameters", "macs", "preferences"] = Field(
        "parameters", description="what differs from point to point: bounds of one size, or preferences"
    )
    points: AtLeastTwo = Field(6, description="number of points; not used where they are listed")
    bounds: Annotated[tuple[Range, ...], Field(min_length=1)] | None = Field(
        None, description="parameters, macs: [lower, upper] of each point; null shares out what can be reached"
    )
    preferences: Annotated[tuple[tuple[Weight, ...], ...], Field(min_length=1)] | None = Field(
        None,
        description="preferences: of each point, in the order of objectives.names; null for accuracy to robustness "
        "from 10:1 to 1:10",
    )
    epochs: Count = Field(5, description="epochs of the alphas to each point, from where the search ended")
    weights: Literal["frozen", "trained"] = Field(
        "frozen", description="what the supernet's weights do meanwhile; trained: as in the search"
    )
    alpha_learning_rate: Positive | None = Field(
        None, description="learning rate of the alphas; null for search.alpha_learning_rate"
    )
    adapt_epochs: CountOrZero = Field(
        2, description="epochs of the supernet's weights in a point's cell alone, before it is judged there"
    )
    held_back: Split = Field(0.5, description="part of the images of the alphas that judges points and trains none")
    attack: AttackSettings = Field(AttackSettings(steps=10), description="under which the supernet judges a point")
    published: tuple[str, ...] = Field((), description="published cells that are judged beside the points")
    retrain: bool = Field(False, description="also retrain and evaluate every point, and let that judge it")

    @model_validator(mode="after")
    def _what_is_listed_is_walked(self) -> Self:
        if self.bounds is not None and self.walk == "preferences":
            raise ValueError("pareto.bounds are of pareto.walk=parameters or macs; walk=preferences has none")
        if self.preferences is not None and self.walk != "preferences":
            raise ValueError(f"pareto.preferences are of pareto.walk=preferences; walk={self.walk} has none")
        unknown = [name for name in self.published if name not in PUBLISHED]
        if unknown or len(set(self.published)) != len(self.published):
            raise ValueError(f"pareto.published: expected published cells, each once: {', '.join(PUBLISHED)}")
        return self
