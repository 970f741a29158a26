"""Settings of the bi-level search."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

import search_space
from pipeline.options.guards import GUARD_RULES
from pipeline.settings.base import (
    BelowOne,
    Channels,
    Count,
    CountOrZero,
    Layers,
    NotNegative,
    Number,
    OneOf,
    Positive,
    Settings,
    Split,
    UpToOne,
)
from search_space.supernet.relaxation_choices import OPERATION_WEIGHTS, RelaxationChoices


class RelaxationSettings(Settings):
    """How alphas become the weights of a mixture, and what may be random in it."""

    operations: Annotated[str, OneOf(OPERATION_WEIGHTS)] = Field(
        "softmax", description="weights of an edge's operations"
    )
    normalised_edges: bool = Field(
        False, description="weights of a node's edges too: softmax of an alpha an edge (PC-DARTS)"
    )
    zero_one: NotNegative = Field(0.0, description="sigmoid: weight of FairDARTS's zero-one loss; 10 as published")
    beta_decay: NotNegative = Field(
        0.0, description="weight of beta-DARTS's loss on the alphas at the end of the search; grows from 0 to it"
    )
    auxiliary_skip: NotNegative = Field(
        0.0, description="added to skip_connect, falling to 0 over the search; 1 as published (DARTS-)"
    )
    dropout: BelowOne = Field(0.0, description="probability that an operation of an edge is left out of a step")
    sampled_operations: Count | None = Field(
        None, description="operations of an edge that take part in a step, at least 2; null for all"
    )
    sampled_edges: Count | None = Field(None, description="edges of a node that take part in a step; null for all")
    temperature: tuple[Positive, Positive] = Field(
        (10.0, 0.1), description="gumbel: at the start and the end of the search, in a line between"
    )
    paths: Count | None = Field(
        None,
        description="cells drawn by the alphas in one of their steps and run one by one, while the weights train on "
        "cells of their own (parametric_odds); null for a mixture of all operations",
    )
    parametric_odds: Positive = Field(
        1.0,
        description="paths: in the cells that weights train on, how many times as likely an operation with weights is "
        "as one without; 1 draws uniformly",
    )

    @model_validator(mode="after")
    def _a_relaxation_can_be_built(self) -> Self:
        RelaxationChoices(**dict(self))
        return self

    def build(self) -> search_space.Relaxation:
        """The relaxation of these settings."""
        return search_space.Relaxation(**dict(self))


class DiagnosticsSettings(Settings):
    """The largest eigenvalue of the validation loss's Hessian in alpha, measured once an epoch."""

    iterations: CountOrZero = Field(
        10, description="products of the power iteration at most; 0 measures none, as with search.relaxation.paths"
    )
    images: Count = Field(
        16, description="images of the loss, of those that train alphas; each takes what three of a step take in memory"
    )


class GuardSettings(Settings):
    """What is done when the search collapses."""

    action: Literal["none", "stop", "rollback"] = Field(
        "none", description="stop: end with earlier alphas; rollback: go on from them with more weight decay"
    )
    rule: Annotated[str, OneOf(GUARD_RULES)] = Field("eigenvalue", description="by what a search has collapsed")
    window: Count = Field(5, description="eigenvalue: epochs of the mean, and from one mean to the other")
    ratio: Split = Field(0.75, description="eigenvalue: collapsed when the earlier mean is below this part of it")
    most_skips: CountOrZero = Field(2, description="skips: collapsed when the normal cell has more")
    decay_factor: Annotated[Number, Field(ge=1)] = Field(
        10.0, description="rollback: the weight decay of weights is multiplied by it each time (DARTS-ADA)"
    )

    @property
    def reads_eigenvalue(self) -> bool:
        """Whether it watches, and by the eigenvalue."""
        return self.action != "none" and "eigenvalue" in GUARD_RULES[self.rule].sign


class ImplicitSettings(Settings):
    """The linear system behind an implicit gradient of alpha: (Hessian + weight decay + damping) x = v."""

    iterations: Count = Field(5, description="Hessian-vector products for each of accuracy and robustness")
    damping: NotNegative = Field(10.0, description="added to the Hessian in the weights, to make it positive definite")
    step: Positive | None = Field(None, description="neumann: step size; null is the learning rate of the weights")


class SelectionSettings(Settings):
    """The last choice of a search, between its likeliest cells."""

    strengths: Literal["alphas", "perturbation"] = Field(
        "alphas",
        description="by what cells are derived and drawn: the alphas, or how much worse the supernet gets without each "
        "operation at the end (DARTS-PT), which alphas.safetensors then has as the last epoch's",
    )
    candidates: Count = Field(
        1, description="cells drawn from the alphas' probabilities inside the bounds; 1 takes the likeliest untried"
    )
    pool: Count | None = Field(
        None,
        description="cells drawn from the alphas, of which the candidates are the best in the supernet, as "
        "pareto.adapt_epochs, held_back and attack say; null draws no more than candidates",
    )
    proposals: Literal["supernet", "predictor"] = Field(
        "supernet",
        description="which cells of the pool are candidates: the best in the supernet, or one after another those that "
        "a Gaussian process expects most of, by the supernet's judgement, parameters and what was trained before",
    )
    epochs: Count = Field(10, description="epochs for which each candidate is trained, by the recipe of retraining")
    finalists: Count = Field(
        1, description="best of the candidates, which go on for the rest of retrain.epochs; 1 for no such round"
    )
    measure: Literal["held_back_accuracy", "training_accuracy"] = Field(
        "held_back_accuracy",
        description="which accuracy of candidates counts: the best on held-back images, or the mean on the batches of "
        "training, as metrics.jsonl has it, in the last half of the steps",
    )
    held_back: Split = Field(0.3, description="part of the training set that is held back from candidates")

    @model_validator(mode="after")
    def _candidates_are_of_the_pool(self) -> Self:
        if self.pool is not None and self.pool < self.candidates:
            raise ValueError(
                f"search.selection.pool={self.pool} is less than search.selection.candidates={self.candidates}"
            )
        return self

    @model_validator(mode="after")
    def _a_predictor_has_a_pool_and_one_round(self) -> Self:
        if self.proposals == "predictor" and (self.pool is None or self.candidates == 1 or self.finalists > 1):
            raise ValueError(
                "search.selection.proposals=predictor needs a search.selection.pool, two candidates or more, and one "
                f"finalist; pool, candidates and finalists are {self.pool}, {self.candidates} and {self.finalists}"
            )
        return self

    @model_validator(mode="after")
    def _finalists_are_candidates(self) -> Self:
        if self.finalists > self.candidates:
            raise ValueError(
                f"search.selection.finalists={self.finalists} is more than "
                f"search.selection.candidates={self.candidates}"
            )
        return self


class SearchSettings(Settings):
    """The bi-level search."""

    channels: Channels = Field(16, description="channels of the supernet's first cell")
    layers: Layers = Field(8, description="cells of the supernet")
    derived_channels: Channels = Field(36, description="channels of the network to be derived, whose size is bounded")
    derived_layers: Layers = Field(20, description="cells of the network to be derived")
    epochs: Count = Field(50, description="passes over the images that train weights")
    warm_up: CountOrZero = Field(
        0, description="first epochs, of `epochs`, in which the weights train alone (15 of 50 in PC-DARTS)"
    )
    batch_size: Count = Field(64, description="images of a step, over all processes")
    order: Literal["first", "unrolled", "neumann", "cg"] = Field(
        "first", description="gradient of alpha: weights fixed, after one step (DARTS), or at a minimum (implicit)"
    )
    hessian: Literal["exact", "finite_difference"] = Field("exact", description="Hessian-vector product; not of first")
    implicit: ImplicitSettings = ImplicitSettings()
    adversarial_fraction: UpToOne = Field(1.0, description="weight of attacked images in the training loss of weights")
    alpha_split: Split = Field(
        0.5, description="part of the training set that trains alphas; weights train on the rest"
    )
    final_rate: UpToOne = Field(0.04, description="learning rate at the end of the cosine, as a part of the first")
    alpha_learning_rate: Positive = Field(3e-4, description="learning rate of Adam on the alphas")
    alpha_betas: tuple[BelowOne, BelowOne] = Field((0.5, 0.999), description="betas of Adam on the alphas")
    alpha_weight_decay: NotNegative = Field(1e-3, description="weight decay of Adam on the alphas")
    partial_channels: Count = Field(
        1, description="1 / this part of the channels goes through the operations (PC-DARTS); must divide channels"
    )
    recompute: bool = Field(False, description="compute each cell again in the backward pass: less memory, more time")
    relaxation: RelaxationSettings = RelaxationSettings()
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    guard: GuardSettings = GuardSettings()
    selection: SelectionSettings = SelectionSettings()

    @model_validator(mode="after")
    def _alphas_train_after_the_warm_up(self) -> Self:
        if self.warm_up >= self.epochs:
            raise ValueError(f"search.warm_up={self.warm_up} leaves no epoch of search.epochs={self.epochs} for alphas")
        return self

    @model_validator(mode="after")
    def _channels_have_parts(self) -> Self:
        if self.channels % self.partial_channels:
            raise ValueError(
                f"search.partial_channels={self.partial_channels} does not divide search.channels={self.channels}"
            )
        relaxation = self.relaxation
        if self.partial_channels > 1 and (
            not OPERATION_WEIGHTS[relaxation.operations].sums_to_one or relaxation.auxiliary_skip or relaxation.dropout
        ):
            raise ValueError(
                "search.partial_channels weighs what passes an edge by the sum of its operations' weights, which "
                "sigmoids, an auxiliary skip and dropout change; use another relaxation"
            )
        return self

    @model_validator(mode="after")
    def _recomputation_saves_memory(self) -> Self:
        if self.recompute and self.order != "first" and self.hessian == "exact":
            raise ValueError(
                "search.recompute saves nothing beside exact second derivatives, which record the whole backward pass; "
                "use search.hessian=finite_difference or search.order=first"
            )
        return self

    @model_validator(mode="after")
    def _single_paths_have_no_mixture(self) -> Self:
        if self.relaxation.paths is not None:
            refused = {
                f"search.order={self.order}": self.order != "first",
                f"search.partial_channels={self.partial_channels}": self.partial_channels > 1,
                f"search.recompute={self.recompute}": self.recompute,
                "search.guard.rule=eigenvalue": self.guard.reads_eigenvalue,
            }
            for setting, is_refused in refused.items():
                if is_refused:
                    raise ValueError(
                        f"{setting} is for a mixture that alphas are differentiated through; search.relaxation.paths="
                        f"{self.relaxation.paths} draws single cells instead"
                    )
        return self

    @model_validator(mode="after")
    def _a_perturbation_has_a_mixture_of_operations(self) -> Self:
        relaxation = self.relaxation
        if self.selection.strengths == "perturbation" and (relaxation.paths or relaxation.normalised_edges):
            raise ValueError(
                "search.selection.strengths=perturbation leaves single operations out of a mixture; it does not fit "
                "search.relaxation.paths and normalised_edges"
            )
        return self

    @model_validator(mode="after")
    def _a_guard_has_what_it_reads(self) -> Self:
        if self.guard.reads_eigenvalue and not self.diagnostics.iterations:
            raise ValueError(
                "search.guard.rule=eigenvalue reads the eigenvalue: give search.diagnostics.iterations, such as 20"
            )
        return self
