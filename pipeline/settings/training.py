"""Settings of what trains weights, and of training from scratch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from pipeline.options.recipes import RECIPES
from pipeline.settings.attack import AttackSettings
from pipeline.settings.base import (
    BelowOne,
    Channels,
    Count,
    CountOrZero,
    Layers,
    NotNegative,
    OneOf,
    Positive,
    Settings,
    Split,
    UpToOne,
)


class WeightOptimizerSettings(Settings):
    """What trains weights, of the supernet and of derived networks."""

    name: Literal["sgd", "adamw", "learned"] = Field("sgd", description="sgd, adamw, or one that is itself trained")
    theta: str | None = Field(
        None, min_length=1, description="meta-parameters of learned: a shipped name or a theta.safetensors"
    )
    learning_rate: Positive = Field(
        0.025, description="at the start; a cosine lowers it over the epochs; not of learned"
    )
    momentum: UpToOne = Field(0.9, description="momentum of sgd")
    betas: tuple[BelowOne, BelowOne] = Field((0.9, 0.999), description="betas of adamw")
    weight_decay: NotNegative = Field(3e-4, description="weight decay of all weights; not of learned")
    clip: Positive | None = Field(5.0, description="largest norm of the gradient; null for no clipping")

    @model_validator(mode="after")
    def _theta_is_of_a_learned_optimizer(self) -> Self:
        if self.name == "learned" and self.theta is None:
            raise ValueError("weight_optimizer.name=learned needs weight_optimizer.theta: a shipped name, or a file")
        if self.name != "learned" and self.theta is not None:
            raise ValueError(f"weight_optimizer.theta goes with name=learned; {self.name} has none")
        return self


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
    label_smoothing: BelowOne = Field(
        0.0,
        description="part of a label that all classes share where the weights learn it: in every cross entropy of the "
        "recipe (trades: of clean images, mart: within its boosted one), not in attacks; 0.1 to 0.4 are common",
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
    def _what_is_smoothed_is_learned(self) -> Self:
        if self.label_smoothing > 0 and not RECIPES[self.recipe].smooths:
            raise ValueError(
                f"retrain.label_smoothing={self.label_smoothing:g} is of a cross entropy of labels, which "
                f"recipe={self.recipe} does not take; use 0"
            )
        return self

    @model_validator(mode="after")
    def _awp_has_epochs(self) -> Self:
        if self.awp_gamma > 0 and self.awp_warmup >= self.epochs:
            raise ValueError(
                f"retrain.awp_warmup={self.awp_warmup} leaves none of {self.epochs} epochs for AWP; use a smaller one"
            )
        return self
