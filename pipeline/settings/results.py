"""Settings of what follows a search: retraining, evaluation, export, comparison and the Pareto front."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from pipeline.settings.base import (
    BelowOne,
    Channels,
    Epsilon,
    Layers,
    NotNegative,
    Positive,
    Range,
    Settings,
    Split,
    UpToOne,
)
from pipeline.settings.problem import AttackSettings
from search_space.published import PUBLISHED


class RetrainSettings(Settings):
    """Training of a derived or published network from scratch."""

    channels: Channels = Field(36, description="of the network's first cell; not used when parameters is given")
    parameters: PositiveInt | None = Field(None, description="choose the channels for about this many parameters")
    layers: Layers = Field(20, description="cells of the network")
    epochs: PositiveInt = Field(600, description="passes over the training images")
    batch_size: PositiveInt = Field(96, description="images of a step, over all processes")
    final_rate: UpToOne = Field(0.0, description="learning rate at the end of the cosine, as a part of the first")
    auxiliary_weight: NotNegative = Field(0.4, description="weight of the auxiliary head's loss; 0 for no head")
    drop_path: BelowOne = Field(0.2, description="its probability in the last epoch")
    adversarial: bool = Field(True, description="train on attacked images (Madry et al. 2018)")
    attack: AttackSettings = Field(
        AttackSettings(steps=10), description="that of training, and of choosing the checkpoint"
    )
    held_back: Split = Field(0.1, description="part of the training set that chooses the checkpoint")
    select_every: PositiveInt = Field(1, description="epochs from one judgement on the held-back images to the next")


AttackName = Literal["fgsm", "pgd-20", "pgd-100", "apgd-ce", "apgd-t", "cw", "square", "autoattack"]


class EvaluateSettings(Settings):
    """Accuracy under named attacks, on the test images."""

    attacks: tuple[AttackName, ...] = Field(("fgsm", "pgd-20", "autoattack"), description="run one by one")
    eps: Epsilon = Field(8 / 255, description="Linf radius; images are in [0, 1]")
    cw_radius: Positive = Field(0.5, description="L2 radius within which cw counts as a success")

    @field_validator("attacks")
    @classmethod
    def _each_once(cls, attacks: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(attacks)) != len(attacks):
            raise ValueError(f"each attack is named once, found {list(attacks)}")
        return attacks

    images: PositiveInt | None = Field(None, description="number of test images, balanced over classes; null for all")
    batch_size: PositiveInt = Field(250, description="images attacked at once")


class ExportSettings(Settings):
    """Forms in which the result leaves."""

    formats: tuple[Literal["darts", "onnx"], ...] = Field(
        ("darts", "onnx"), description="darts: Python text; onnx: network"
    )


class ComparisonSettings(Settings):
    """Searched cells beside random and published ones, retrained by one recipe."""

    searches: PositiveInt = Field(3, description="searches, with seeds that count up from seed")
    random: Annotated[int, Field(ge=2)] = Field(10, description="random cells inside the bounds of the search")
    published: tuple[str, ...] = Field(
        ("DARTS_V2", "PC_DARTS_cifar", "PDARTS", "ADVRUSH", "RACL"),
        description="published cells, with the channels that come nearest to the searched cells' parameters",
    )
    seeds: PositiveInt = Field(3, description="retrainings of searched and published cells, seeds count up from seed")
    random_seeds: PositiveInt = Field(1, description="retrainings of each random cell, seeds count up from seed")
    processes: PositiveInt | None = Field(None, description="retrainings at once; null for one a core")
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
    points: Annotated[int, Field(ge=2)] = Field(6, description="number of points; not used where they are listed")
    bounds: Annotated[tuple[Range, ...], Field(min_length=1)] | None = Field(
        None, description="parameters, macs: [lower, upper] of each point; null shares out what can be reached"
    )
    preferences: Annotated[tuple[tuple[Positive, ...], ...], Field(min_length=1)] | None = Field(
        None,
        description="preferences: of each point, in the order of objectives.names; null for accuracy to robustness "
        "from 10:1 to 1:10",
    )
    epochs: PositiveInt = Field(5, description="of the alphas to each point, from where the search ended")
    weights: Literal["frozen", "trained"] = Field(
        "frozen", description="what the supernet's weights do meanwhile; trained: as in the search"
    )
    alpha_learning_rate: Positive | None = Field(None, description="null is search.alpha_learning_rate")
    adapt_epochs: NonNegativeInt = Field(
        2, description="of the supernet's weights in a point's cell alone, before it is judged there"
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
